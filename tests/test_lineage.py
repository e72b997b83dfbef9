"""The lineage from Postgres to points and marts: what a run does after nothing, after edits, after deletes."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import polars as pl
import psycopg
import pyarrow as pa
import pytest
from lineage_world import (
    ACCOUNTS,
    ALSO_LABELLED,
    BRANDS,
    FIRST,
    LABELLED,
    LAST,
    LONG_TEXT,
    SHARED_TEXT,
    TOPICS,
    Report,
    Snapshot,
    World,
    assert_same,
    first_labels,
    loaded_world,
    owners,
    world_name,
)

from assets.corpus import CHUNKS, DECISIONS
from assets.embeddings import VECTORS
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS, QUARANTINE
from assets.marts import CREATORS, MARTS, POSTS_BY_DAY
from assets.raw import SOURCE
from assets.transforms.corpus import point_id
from assets.transforms.source_schema import POSTS, account_bucket, with_bucket
from assets.verticals import TAGS, THRESHOLDS
from resources.embedded import EmbeddedStack
from resources.environments import bucket_count
from resources.raw_store import Manifest, RawStoreResource

NOW = "updated_at = clock_timestamp()"
EDITED = [f"{account}/{number}" for account in (*ACCOUNTS[4:6], *ACCOUNTS[6:9]) for number in (0, 1)]
"""Ten posts, of two accounts of bucket 0 and three of bucket 1; the last two get one text."""
DELETED = [f"{ACCOUNTS[5]}/2", f"{ACCOUNTS[6]}/2", f"{ACCOUNTS[7]}/2"]
DELETED_ACCOUNT = ACCOUNTS[9]
MOVED = f"{FIRST}/1"
COPY, COPIED_TEXT = f"{LAST}/copy", f"{FIRST} talks about {TOPICS[0]}, part 0"
UNUSABLE = "post-without-account"


@pytest.fixture
def world(stack: EmbeddedStack, request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return loaded_world(stack).clone(world_name(request.node.nodeid), tmp_path)


@dataclass(frozen=True)
class Changed:
    """A world after edits and one run."""

    world: World
    report: Report
    embedded: dict[str, int]
    before: Snapshot
    after: Snapshot


@pytest.fixture(scope="module")
def changed(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Changed:
    world = loaded_world(stack).clone(world_name("changed"), tmp_path_factory.mktemp("changed"))
    before = world.snapshot()
    edit(world)
    report = world.run_well()
    return Changed(world, report, world.embedded_texts, before, world.snapshot())


def new_text(post: str) -> str:
    return "Now about marmalade, twice" if post in EDITED[-2:] else f"Now about marmalade in {post}"


def edit(world: World) -> None:
    with world.source() as connection:
        for post in EDITED:
            connection.execute(
                f"UPDATE posts SET text = %s, {NOW} WHERE post_id = %s".encode(), (new_text(post), post)
            )
        deleted = f"deleted_at = clock_timestamp(), {NOW}"
        connection.execute(f"UPDATE posts SET {deleted} WHERE post_id = ANY(%s)".encode(), (DELETED,))
        connection.execute(f"UPDATE accounts SET {deleted} WHERE account_id = %s".encode(), (DELETED_ACCOUNT,))
        connection.execute(f"UPDATE posts SET account_id = %s, {NOW} WHERE post_id = %s".encode(), (LAST, MOVED))
        insert = "INSERT INTO posts (post_id, account_id, network, posted_at, text, likes, updated_at) VALUES "
        values = "(%s, %s, 'youtube', '2024-02-20', %s, 1, clock_timestamp())"
        connection.execute((insert + values).encode(), (COPY, LAST, COPIED_TEXT))
        connection.execute((insert + values).encode(), (UNUSABLE, None, "Nobody's"))


def test_a_first_run_carries_every_row_to_its_tables(stack: EmbeddedStack) -> None:
    world = loaded_world(stack)
    found = world.snapshot()
    assert found.tables["lake/accounts"]["account_id"].to_list() == sorted(ACCOUNTS)
    assert found.tables["lake/posts"].height == 61
    assert found.tables["lake/testimonials"].height == 3
    quarantined = found.tables["quarantine/rows"].row(0, named=True)
    assert found.tables["quarantine/rows"].height == 1
    assert quarantined["source_table"], quarantined["row_key"] == ("testimonials", "testimonial-3")
    assert quarantined["reason"] == "rating is outside 1 to 5"
    reasons = dict(found.tables["corpus/decisions"]["dropped_because"].value_counts().iter_rows())
    assert reasons == {None: 58, "account_unknown": 1, "duplicate": 1, "empty": 1}
    chunks = found.tables["corpus/cippus_text"]
    assert chunks.filter(pl.col("post_id") == f"{ACCOUNTS[1]}/4").height == 2
    assert chunks.height == 59
    assert set(found.points) == set(chunks["point_id"])
    assert found.tables["mart/creators"].height == 12
    assert found.tables["mart/creators"]["posts"].sum() == found.tables["mart/posts_by_day"]["posts"].sum() == 60
    assert found.tables["mart/posts_by_day"]["likes"].sum() == 180
    assert found.tables["vertical/tags"].height > 0
    for spec in MARTS:
        bodies = [body for key, body in found.files.items() if f"/{spec.name.removeprefix('mart/')}/" in key]
        rows = sum(pl.read_csv(body, infer_schema=False).height for body in bodies)
        assert rows == found.tables[spec.name].height > 0


def test_arrays_timestamps_and_numbers_arrive_as_they_were(stack: EmbeddedStack) -> None:
    world = loaded_world(stack)
    post = world.table(LAKE_POSTS).row(by_predicate=pl.col("post_id") == f"{FIRST}/0", named=True)
    assert post["hashtags"] == ["a", "b"]
    assert (post["likes"], post["comments"], post["views"], post["shares"]) == (3, 2, 90, 1)
    assert post["posted_at"] == datetime(2024, 2, 1, 8, tzinfo=timezone.utc)
    assert post["media_url"] is None
    assert world.table(LAKE_TESTIMONIALS)["rating"].to_list() == [5, None, 1]


def test_a_second_run_without_changes_only_looks(world: World) -> None:
    objects, versions, points = world.objects(), world.versions(), world.points()
    report = world.run_well()
    assert not world.embedder.embedded
    assert {key: (found["inserted"], found["updated"], found["deleted"]) for key, found in report.assets.items()} == (
        dict.fromkeys(report.assets, (0, 0, 0))
    )
    assert report.counts("qdrant/cippus_text")["upserted"] == 0
    assert world.versions() == versions
    assert world.objects() == objects
    assert world.points() == points


def test_exactly_the_new_texts_are_embedded(changed: Changed) -> None:
    assert changed.embedded == {new_text(post): 1 for post in EDITED}
    assert len(changed.embedded) == 9
    assert changed.report.counts("embedding/cippus_text")["embedded"] == 9


def test_only_changed_points_are_upserted(changed: Changed) -> None:
    counts = changed.report.counts("qdrant/cippus_text")
    assert counts["upserted"] == len(EDITED) + 1, "the edited ones and the copy"
    gone = {point_id(f"{DELETED_ACCOUNT}/{number}", 0) for number in range(5)} | {point_id(it, 0) for it in DELETED}
    assert changed.before.points.keys() - changed.after.points.keys() == gone
    assert changed.after.points.keys() - changed.before.points.keys() == {point_id(COPY, 0)}
    assert counts["points_deleted"] == len(gone)
    for post in EDITED:
        assert changed.after.points[point_id(post, 0)][0] != changed.before.points[point_id(post, 0)][0]


def test_search_finds_the_edits_and_no_deleted_account(changed: Changed) -> None:
    found = changed.world.search("marmalade")
    with_it = {account.account_id for account in found if any("marmalade" in hit.text for hit in account.evidence)}
    assert with_it == {post.split("/")[0] for post in EDITED}
    assert DELETED_ACCOUNT not in {account.account_id for account in found}
