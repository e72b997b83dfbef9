"""Three sources, one lake: the same rows from any of them, and switches between them."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from assets.lake import LAKE_TABLES
from pipelines.automation.sensors.exports import landed_ids
from pipelines.samples.rds_export import write_export
from resources.local_stack import EmbeddedStack
from resources.raw.store import EXPORT, RawStoreResource
from resources.sources.postgres import PostgresResource
from resources.sources.postgres_errors import SourceTimeoutError
from resources.sources.redshift import STAGING
from tests.fakes.redshift_server import running
from tests.worlds.lineage import World
from tests.worlds.lineage_rows import ACCOUNTS, FIRST, LAST
from tests.worlds.loaded import empty_world
from tests.worlds.snapshot import assert_same_tables
from tests.worlds.sources import BUCKETS, NOW, assert_lake_is_the_database, from_redshift, lake, redshift


@pytest.fixture(scope="module")
def seeded(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that was landed from its Postgres; not to be changed."""
    world = empty_world(stack, "landed_from_postgres", tmp_path_factory.mktemp("seeded"))
    world.run_well("raw", "lake", buckets=BUCKETS)
    return world


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


class Uncounting(PostgresResource):
    """A source that is asked for its newest rows in vain."""

    def count_ahead(self, table: str, along: str, mark: datetime) -> int:
        raise SourceTimeoutError(f"{table} is too large to be counted along {along} from {mark}.")


def test_a_window_has_landed_whether_or_not_rows_ahead_can_be_counted(world: World) -> None:
    landed = replace(world, source_resource=Uncounting(dsn=world.dsn)).run_well("raw").counts("raw/posts")
    assert landed["windows"] == 1
    assert "ahead_of_clock" not in landed
    assert world.run_well("raw").counts("raw/posts")["ahead_of_clock"] == 0


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
