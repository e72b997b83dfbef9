"""Three sources, one lake: the same rows from any of them, switches between them, and what breaks the contract."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from assets.lake import LAKE_TABLES
from assets.transforms.source.schema import SOURCE_TABLES
from pipelines.automation.sensors.exports import landed_ids
from pipelines.samples.rds_export import write_export
from resources.local_stack import EmbeddedStack
from resources.raw.store import EXPORT, RawStoreResource
from resources.sources.postgres import PostgresResource
from resources.sources.postgres_errors import SourceTimeoutError
from resources.sources.redshift import STAGING, RedshiftResource
from tests.fakes.redshift_server import Redshift, running
from tests.worlds.lineage import ACCOUNTS, FIRST, LAST, World, assert_same_tables, empty_world, world_name

BUCKETS = (0, 7)
NOW = "updated_at = clock_timestamp()"


@pytest.fixture
def world(stack: EmbeddedStack, request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return empty_world(stack, world_name(request.node.nodeid), tmp_path)


@pytest.fixture(scope="module")
def seeded(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that was landed from its Postgres; not to be changed."""
    world = empty_world(stack, "landed_from_postgres", tmp_path_factory.mktemp("seeded"))
    world.run_well("raw", "lake", buckets=BUCKETS)
    return world


def redshift(world: World, warehouse: Redshift) -> RedshiftResource:
    return RedshiftResource(
        s3=world._unused_s3(),
        endpoint_url=warehouse.url,
        workgroup="creators",
        database="dev",
        poll_seconds=0.001,
        lag_seconds=0.001,
    )


@contextmanager
def from_redshift(world: World) -> Iterator[World]:
    """The world, with a warehouse that has the same rows as its source."""
    with running(world.dsn, world.s3) as warehouse:
        yield replace(world, source_resource=redshift(world, warehouse))


def lake(world: World) -> dict[str, pl.DataFrame]:
    return world.tables([spec.name for spec in LAKE_TABLES.values()])


def assert_lake_is_the_database(world: World) -> None:
    """Row for row, but for rows that cannot be used."""
    for name, table in SOURCE_TABLES.items():
        columns = ", ".join(table.schema.names)
        with world.source() as connection:
            rows = connection.execute(f"SELECT {columns} FROM {name}".encode()).fetchall()
        held = world.table(LAKE_TABLES[name]).drop("account_bucket")
        expected = pl.DataFrame(rows, schema=held.schema, orient="row").sort(table.key)
        if name == "testimonials":
            expected = expected.filter(pl.col("rating").is_between(1, 5) | pl.col("rating").is_null())
        assert_same_tables({name: held.sort(table.key)}, {name: expected})


@pytest.mark.parametrize("kind", ["redshift", "batches", "flat"])
def test_the_same_rows_from_any_source_give_the_same_lake(seeded: World, tmp_path: Path, kind: str) -> None:
    world = World(f"landed_{kind}", tmp_path, seeded.stack)
    world.s3.client.create_bucket(Bucket=world.s3.bucket)
    if kind == "redshift":
        with running(seeded.dsn, world.s3) as warehouse:
            replace(world, source_resource=redshift(world, warehouse)).run_well("raw", "lake", buckets=BUCKETS)
        assert not list(world.s3.list_objects(STAGING))
    else:
        write_export(seeded.dsn, world.s3, "exports/", "nightly", batched=kind == "batches", rows_a_file=7)
        world.run_well("raw", "lake", buckets=BUCKETS, export_id="nightly")
    assert_same_tables(lake(world), lake(seeded))
    assert lake(world)["lake/posts"].height == 61


def change(world: World, number: int) -> None:
    """Insert, update, delete softly and move rows."""
    first, second, third = (f"{account}/{number % 5}" for account in ACCOUNTS[:3])
    world.execute(f"UPDATE posts SET text = text || ' {number}', {NOW} WHERE post_id = %s", first)
    world.execute(f"UPDATE posts SET deleted_at = now(), {NOW} WHERE post_id = %s", second)
    world.execute(f"UPDATE posts SET account_id = %s, {NOW} WHERE post_id = %s", LAST, third)
    world.execute(
        "INSERT INTO posts (post_id, account_id, network, hashtags, likes, updated_at) "
        "VALUES (%s, %s, 'x', ARRAY['a', NULL, 'b \"c\"'], %s, clock_timestamp())",
        f"new-{number}", FIRST, number,
    )  # fmt: skip
    world.execute(
        f"UPDATE accounts SET followers = followers + {number}, {NOW} WHERE account_id = %s", ACCOUNTS[number]
    )


def test_a_switch_of_source_loses_and_doubles_nothing(world: World) -> None:
    rows = {}

    def step(number: int, source: Callable[[World], AbstractContextManager[World]], export_id: str = "") -> None:
        if export_id:
            write_export(world.dsn, world.s3, "exports/", export_id, batched=number % 2 == 0)
        with source(world) as at:
            report = at.run_well("raw", "lake", buckets=BUCKETS, export_id=export_id)
        rows[number] = report.counts("raw/posts")["rows"]
        assert_lake_is_the_database(world)
        change(world, number + 1)

    step(0, nullcontext)
    step(1, from_redshift)
    step(2, nullcontext)
    step(3, nullcontext, "one")
    step(4, from_redshift)
    # A switch costs what changed since: four posts were changed or made before each of these, or twice or thrice that.
    assert (rows[1], rows[2], rows[4]) == (4, 8, 12)
    store = RawStoreResource(s3=world.s3)
    assert store.sources("posts") == ["postgres", "rds_export", "redshift"]
    [window] = store.manifests("rds_export", "posts")
    assert (window.kind, window.origin) == (EXPORT, "one")


def test_what_a_whole_export_lacks_is_deleted_where_that_is_proven_and_comes_back(world: World) -> None:
    ages = (100.0, 3.0, 0.5, 0.0)
    for account, hours in zip(ACCOUNTS, ages, strict=False):
        world.execute(
            "UPDATE posts SET updated_at = now() - %s * interval '1 hour' WHERE account_id = %s", hours, account
        )
    world.run_well("raw", "lake", buckets=BUCKETS)
    lost = [f"{account}/0" for account in ACCOUNTS[: len(ages)]]
    world.execute("DELETE FROM posts WHERE post_id = ANY(%s)", lost)
    world.execute("DELETE FROM testimonials")
    write_export(world.dsn, world.s3, "exports/", "nightly")
    report = world.run_well("raw", "lake", buckets=BUCKETS, export_id="nightly")

    def standing() -> list[bool]:
        held = world.table(LAKE_TABLES["posts"]).filter(pl.col("post_id").is_in(lost))
        is_standing = dict(zip(held["post_id"], held["deleted_at"].is_null(), strict=True))
        return [is_standing[post] for post in lost]

    # The export has rows of this minute, so it is of this minute, less an hour for what may not have been committed.
    assert standing() == [False, False, True, True]
    assert (report.counts("raw/posts")["windows"], report.counts("raw/posts")["vanished"]) == (1, 2)
    # That a table is empty proves nothing: AWS may as well have failed to see its rows.
    assert world.table(LAKE_TABLES["testimonials"])["deleted_at"].null_count() == 3
    before = world.objects()
    again = world.run_well("raw", "lake", buckets=BUCKETS, export_id="nightly")
    assert (again.counts("raw/posts")["windows"], again.counts("lake/posts")["inserted"]) == (0, 0)
    assert world.objects() == before
    world.execute("INSERT INTO posts (post_id, account_id, network, updated_at) VALUES (%s, 'a', 'x', now())", lost[0])
    world.run_well("raw", "lake", buckets=BUCKETS)
    assert standing() == [True, False, True, True]


def test_a_copied_snapshot_deletes_nothing_that_came_after_the_original(world: World) -> None:
    """The export here says that it was taken now: the time of the copy. Its rows say that it is older."""
    world.execute("UPDATE posts SET updated_at = now() - interval '100 hours'")
    world.execute("UPDATE posts SET updated_at = '2099-01-01' WHERE post_id = %s", f"{FIRST}/0")
    write_export(world.dsn, world.s3, "exports/", "copy")
    world.execute(
        "INSERT INTO posts (post_id, account_id, network, updated_at) "
        "VALUES ('between', %s, 'x', now() - interval '2 hours')", FIRST,
    )  # fmt: skip
    world.run_well("raw", "lake", buckets=BUCKETS)
    report = world.run_well("raw", "lake", buckets=BUCKETS, export_id="copy")
    assert report.counts("raw/posts")["vanished"] == 0
    assert world.table(LAKE_TABLES["posts"]).filter(post_id="between")["deleted_at"].to_list() == [None]


@pytest.mark.parametrize("is_quiet", [False, True])
def test_an_export_that_lands_after_a_later_one_brings_nothing_back(world: World, is_quiet: bool) -> None:
    """Its run failed first and was executed again, or ids sort otherwise: export-10 before export-9."""
    post, late = f"{FIRST}/0", f"{FIRST}/1"
    write_export(world.dsn, world.s3, "exports/", "export-9")
    world.execute("DELETE FROM posts WHERE post_id = %s", post)
    if not is_quiet:
        world.execute(f"UPDATE posts SET text = 'later', {NOW} WHERE post_id = %s", late)
    write_export(world.dsn, world.s3, "exports/", "export-10")
    world.run_well("raw", "lake", buckets=BUCKETS, export_id="export-10")
    before, objects = lake(world), world.objects()
    report = world.run_well("raw", "lake", buckets=BUCKETS, export_id="export-9")
    assert report.counts("raw/posts")["superseded"] == 1
    assert post not in set(lake(world)["lake/posts"]["post_id"])
    assert_same_tables(lake(world), before)
    landed = {key for key in world.objects().keys() - objects.keys() if key.startswith("raw/posts/")}
    assert landed == {"raw/posts/source=rds_export/manifests/000000000002.json"}, "a window without files"
    assert {"export-9", "export-10"} <= landed_ids(RawStoreResource(s3=world.s3)), "neither is asked for again"
    write_export(world.dsn, world.s3, "exports/", "export-11")
    again = world.run_well("raw", "lake", buckets=BUCKETS, export_id="export-11")
    assert "superseded" not in again.counts("raw/posts")


def test_what_vanished_between_two_exports_that_are_merged_together_does_not_stand(world: World) -> None:
    world.execute("UPDATE posts SET updated_at = now() - interval '3 hours'")
    lost = f"{FIRST}/0"
    write_export(world.dsn, world.s3, "exports/", "export-1")
    world.run_well("raw", buckets=BUCKETS, export_id="export-1")
    world.execute("DELETE FROM posts WHERE post_id = %s", lost)
    world.execute(f"UPDATE posts SET {NOW} WHERE post_id = %s", f"{FIRST}/1")
    write_export(world.dsn, world.s3, "exports/", "export-2")
    report = world.run_well("raw", "lake", buckets=BUCKETS, export_id="export-2")
    assert report.counts("raw/posts")["vanished"] == 1
    assert world.table(LAKE_TABLES["posts"]).filter(pl.col("deleted_at").is_not_null())["post_id"].to_list() == [lost]


def test_an_empty_table_of_an_export_does_not_say_from_when_it_is(world: World) -> None:
    world.execute("DELETE FROM testimonials")
    write_export(world.dsn, world.s3, "exports/", "copy")
    world.execute(
        "INSERT INTO testimonials (testimonial_id, brand, updated_at) "
        "VALUES ('between', 'b', now() - interval '2 hours')"
    )
    world.run_well("raw", "lake", buckets=BUCKETS, export_id="copy")
    world.run_well("raw", "lake", buckets=BUCKETS)
    assert world.table(LAKE_TABLES["testimonials"])["testimonial_id"].to_list() == ["between"]


def quarantined(world: World) -> dict[str, str]:
    """Key → reason, of the rows set aside when they were cast."""
    files = [
        pl.read_parquet(world.s3.get(item.key) or b"") for item in world.s3.list_objects("landing/quarantine/cast-")
    ]
    return {row["row_key"]: row["reason"] for frame in files for row in frame.to_dicts()}


class Uncounting(PostgresResource):
    """A source that is asked for its newest rows in vain."""

    def count_ahead(self, table: str, along: str, mark: datetime) -> int:
        raise SourceTimeoutError(f"{table} is too large to be counted along {along} from {mark}.")


def test_a_window_has_landed_whether_or_not_rows_ahead_can_be_counted(world: World) -> None:
    landed = replace(world, source_resource=Uncounting(dsn=world.dsn)).run_well("raw").counts("raw/posts")
    assert landed["windows"] == 1
    assert "ahead_of_clock" not in landed
    assert world.run_well("raw").counts("raw/posts")["ahead_of_clock"] == 0


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


def test_a_column_that_posts_gained_travels_into_the_lake_and_stays_through_rewrites(world: World) -> None:
    """Posts evolve; accounts discard, so the same column of theirs is left out."""
    world.run_well("raw", "lake", buckets=BUCKETS)
    for table in ("posts", "accounts"):
        world.execute(f"ALTER TABLE {table} ADD COLUMN saves bigint")
    world.execute(f"UPDATE posts SET saves = 7, {NOW} WHERE post_id = %s", f"{FIRST}/0")
    world.execute(f"UPDATE accounts SET saves = 7, {NOW} WHERE account_id = %s", FIRST)
    world.run_well("raw", "lake", buckets=BUCKETS)
    world.execute(f"UPDATE posts SET text = 'Edited', {NOW} WHERE post_id = %s", f"{FIRST}/1")
    world.run_well("raw", "lake", buckets=BUCKETS)
    posts = world.lake.scan(LAKE_TABLES["posts"]).select("post_id", "saves").collect()
    assert posts.filter(pl.col("saves").is_not_null()).rows() == [(f"{FIRST}/0", 7)]
    assert "saves" not in world.lake.scan(LAKE_TABLES["accounts"]).collect_schema()
    assert_lake_is_the_database(world)
