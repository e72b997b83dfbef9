"""What breaks the contract of a source: retyped, added and lost columns, frozen tables."""

import polars as pl

from assets.lake import LAKE_TABLES
from assets.transforms.source.schema import SOURCE_TABLES
from pipelines.samples.rds_export import write_export
from resources.raw.store import RawStoreResource
from tests.worlds.lineage import World
from tests.worlds.lineage_rows import FIRST
from tests.worlds.snapshot import assert_same_tables
from tests.worlds.sources import BUCKETS


def quarantined(world: World) -> dict[str, str]:
    """Key → reason, of the rows set aside when they were cast."""
    files = [
        pl.read_parquet(world.s3.get(item.key) or b"") for item in world.s3.list_objects("landing/quarantine/cast-")
    ]
    return {row["row_key"]: row["reason"] for frame in files for row in frame.to_dicts()}


def test_retyped_columns_are_cast_value_by_value_and_losses_are_set_aside(world: World) -> None:
    world.execute("ALTER TABLE posts ALTER likes TYPE numeric USING likes + 0.0")
    world.execute("ALTER TABLE posts ALTER posted_at TYPE text USING posted_at::text")
    world.execute("UPDATE posts SET likes = 2.5 WHERE post_id = %s", f"{FIRST}/0")
    world.execute("UPDATE posts SET posted_at = 'infinity' WHERE post_id = %s", f"{FIRST}/1")
    report = world.run_well("raw", "lake", buckets=BUCKETS)
    expected = {
        f"{FIRST}/0": "likes cannot be read as int64",
        f"{FIRST}/1": "posted_at cannot be read as timestamp[us, tz=UTC]",
    }
    assert quarantined(world) == expected
    assert report.counts("raw/posts")["quarantined"] == 2
    held = world.table(LAKE_TABLES["posts"])
    assert held.height == 61 - 2
    assert held["likes"].to_list() == [3 if account != "stranger" else 0 for account in held["post_id"].str.slice(0, 8)]


def test_added_columns_travel_where_the_policy_evolves_and_are_left_out_where_it_discards(world: World) -> None:
    for table in ("posts", "accounts"):
        world.execute(
            f"ALTER TABLE {table} ADD reach bigint DEFAULT 7, ADD price numeric(6,2) DEFAULT 1.50, ADD uid uuid "
            "DEFAULT '00000000-0000-4000-8000-000000000000', ADD seal bytea DEFAULT '\\xff'"
        )
    world.execute("ALTER TABLE posts DROP media_url")
    world.run_well("raw", "lake", buckets=BUCKETS)
    store = RawStoreResource(s3=world.s3)

    def landed(table: str, source: str = "postgres") -> pl.DataFrame:
        window = store.newest(source, table)
        assert window is not None
        return store.read(window.files).sort(SOURCE_TABLES[table].key)

    posts = landed("posts")
    assert posts.columns == [*SOURCE_TABLES["posts"].schema.names, "price", "reach", "uid", "account_bucket"]
    assert posts.select("price", "reach", "uid").row(0) == ("1.50", 7, "00000000-0000-4000-8000-000000000000")
    assert posts["media_url"].null_count() == posts.height == 61
    assert landed("accounts").columns == [*SOURCE_TABLES["accounts"].schema.names, "account_bucket"]
    write_export(world.dsn, world.s3, "exports/", "nightly")
    world.run_well("raw", "lake", buckets=BUCKETS, export_id="nightly")
    assert_same_tables({"posts": landed("posts", "rds_export")}, {"posts": posts})


def test_a_frozen_table_and_a_lost_key_stop_before_a_row_is_read(world: World) -> None:
    world.execute("ALTER TABLE testimonials ADD approved boolean")
    world.execute("ALTER TABLE posts DROP updated_at")
    report = world.run("raw")
    assert not report.success
    said = "\n".join(report.errors)
    assert "testimonials, policy freeze: approved (boolean) was added. No row was read: declare the change" in said
    assert "posts, policy evolve: updated_at is gone. No row was read" in said
    assert {key for key in report.assets if key.startswith("raw/")} == {"raw/accounts"}
    assert not list(world.s3.list_objects("raw/posts/"))
