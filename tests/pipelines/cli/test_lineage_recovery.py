"""The lineage on late and stale rows, new labels, and tables and points that were damaged: one run puts all right."""

from dataclasses import asdict, replace
from datetime import UTC, datetime

import polars as pl
import psycopg
import pyarrow as pa

from assets.lake import LAKE_POSTS
from assets.quarantine import QUARANTINE
from assets.transforms.source.schema import POSTS, with_bucket
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import Manifest, RawStoreResource
from resources.settings import bucket_count
from resources.sources.postgres import SOURCE
from tests.worlds.lineage import DESCRIPTIONS, World
from tests.worlds.lineage_edits import EDITED, NOW
from tests.worlds.lineage_rows import (
    ALSO_LABELLED,
    BRANDS,
    FIRST,
    LABELLED,
    LAST,
    first_labels,
)

STALE = datetime(2024, 1, 1, tzinfo=UTC)


def test_a_row_of_a_transaction_that_commits_late_is_not_lost(world: World) -> None:
    insert = "INSERT INTO posts (post_id, account_id, network, text, updated_at) VALUES (%s, %s, 'youtube', %s, now())"
    with psycopg.connect(world.dsn) as late:
        late.execute(insert.encode(), ("late", FIRST, "Committed late"))
        world.execute(insert, "meanwhile", FIRST, "Committed meanwhile")
        world.run_well("raw", "lake")
        assert not {"late", "meanwhile"} & set(world.table(LAKE_POSTS)["post_id"])
        late.commit()
    world.run_well("raw", "lake")
    assert {"late", "meanwhile"} <= set(world.table(LAKE_POSTS)["post_id"])


def test_a_stale_version_of_a_row_does_not_win(world: World) -> None:
    before = world.table(LAKE_POSTS)
    land_window(world, [(f"{FIRST}/0", FIRST), (f"{FIRST}/1", LAST)])
    report = world.run_well("lake")
    assert report.counts("lake/posts")["windows"] == 1
    assert world.table(LAKE_POSTS).equals(before)


def test_a_post_that_moved_back_stays_where_it_is_when_its_other_bucket_catches_up(world: World) -> None:
    """A run of one bucket alone merges a window that another bucket has left behind."""
    before = world.table(LAKE_POSTS)
    land_window(world, [(f"{FIRST}/1", LAST)])
    report = world.run_well("lake", buckets=(1, 1))
    assert report.counts("lake/posts")["windows"] == 1
    assert world.table(LAKE_POSTS).equals(before)


def land_window(world: World, stale_posts: list[tuple[str, str]]) -> None:
    """Land a window of posts that are older than the lake's: (post_id, account_id)."""
    rows = [
        {"post_id": post, "account_id": account, "network": "youtube", "text": "stale", "updated_at": STALE}
        for post, account in stale_posts
    ]
    store = RawStoreResource(s3=world.s3)
    newest = store.newest(SOURCE, "posts")
    assert newest is not None
    number, upper, count = newest.number + 1, newest.upper, bucket_count()
    with store.writer(SOURCE, "posts", number, count) as writer:
        writer.add(with_bucket(POSTS, pa.Table.from_pylist(rows, POSTS.schema), count))
        store.complete(Manifest(SOURCE, "posts", number, upper, upper, count, writer.finish()))


def test_new_labels_change_thresholds_and_tags_and_embed_nothing(world: World) -> None:
    before = world.snapshot()
    unusable = [
        ("post", f"{FIRST}/0", "astral_projection", True),
        ("post", "unknown-post", ALSO_LABELLED, True),
        ("brand", BRANDS[0], ALSO_LABELLED, True),
        ("post", None, ALSO_LABELLED, True),
    ]
    world.drop_labels("second", [*first_labels(ALSO_LABELLED), *unusable])
    report = world.run_well("label", "quarantine", "vertical", "qdrant")
    after = world.snapshot()
    assert world.embedder.embedded == dict.fromkeys(DESCRIPTIONS, 1), "no post; and descriptions once a run"
    fitted = [shown.tables["vertical/thresholds"].filter("fitted")["vertical"].to_list() for shown in (before, after)]
    assert fitted == [[LABELLED] * 2, sorted([LABELLED, ALSO_LABELLED] * 2)]
    of_accounts = (pl.col("vertical") == ALSO_LABELLED) & (pl.col("item_kind") == "account")
    was, tagged = (set(shown.tables["vertical/tags"].filter(of_accounts)["item_id"]) for shown in (before, after))
    assert tagged
    assert tagged != was
    counts = report.counts("qdrant/cippus_text")
    assert (counts["upserted"], counts["points_deleted"]) == (0, 0)
    assert counts["payloads_set"] > 0
    found = {account.account_id for account in world.search("talks about", ALSO_LABELLED)}
    assert found == tagged
    rejects = after.tables[QUARANTINE.name].filter(pl.col("source_table") == "labels")
    assert sorted(rejects["reason"]) == [
        "a label column is missing",
        "item is not in the lake",
        "item_kind is neither post nor account",
        "vertical is not in the catalogue",
    ]
    assert [report.counts(f"label/{name}")["quarantined"] for name in ("votes", "gold")] == [2, 2]


def test_points_that_were_lost_are_restored_without_embedding(world: World) -> None:
    before = world.points()
    with world.qdrant.open() as index:
        index.delete(list(before)[:7])
    report = world.run_well("qdrant")
    assert world.points() == before
    assert report.counts("qdrant/cippus_text")["upserted"] == 7
    assert not world.embedder.embedded


def test_a_run_with_another_number_of_buckets_writes_nothing(world: World) -> None:
    store = RawStoreResource(s3=world.s3)
    newest = store.newest(SOURCE, "posts")
    assert newest is not None
    key = f"raw/posts/source={SOURCE}/manifests/{newest.number:012d}.json"
    world.s3.put_json(key, asdict(replace(newest, bucket_count=newest.bucket_count * 2)))
    world.execute(f"UPDATE posts SET text = 'other', {NOW} WHERE post_id = %s", EDITED[0])
    before = world.objects()
    report = world.run()
    assert not report.success
    assert any("CIPPUS_BUCKETS is 8: set it to 16" in error for error in report.errors)
    assert {k: v for k, v in world.objects().items() if "posts" in k} == {
        k: v for k, v in before.items() if "posts" in k
    }


def test_a_collection_with_as_many_points_but_others_is_brought_back(world: World) -> None:
    before = world.points()
    with world.qdrant.open() as index:
        lost, retagged = index.retrieve(sorted(before)[:2])
        index.delete([lost.id])
        index.upsert([replace(lost, id="00000000-0000-0000-0000-000000000001")])
        index.set_payload([(retagged.id, {**retagged.payload, "payload_digest": 1})])
    assert world.points() != before
    report = world.run_well("qdrant")
    assert world.points() == before
    assert report.counts("qdrant/cippus_text")["upserted"] == 1
    assert world.embedded_texts == {}


def test_points_of_no_bucket_or_several_are_put_right_by_a_run_of_all_buckets(world: World) -> None:
    before = world.points()
    with world.qdrant.open() as index:
        several, none, other = index.retrieve(sorted(before)[:3])
        for point, buckets in ((several, [0, 1, 2]), (none, None)):
            index.set_payload([(point.id, {**point.payload, "account_bucket": buckets})])
        payload = {**other.payload, "account_bucket": [0, 1]}
        index.upsert([replace(other, id="00000000-0000-0000-0000-000000000001", payload=payload)])
    world.run_well("qdrant")
    assert world.points().keys() - before.keys(), "while some buckets are not looked at, it may be of theirs"
    report = world.run_well("qdrant", buckets=(0, 7))
    assert world.points() == before
    counts = report.counts("qdrant/cippus_text")
    assert (counts["points_deleted"], counts["orphaned_deleted"]) == (0, 1)
    assert world.embedded_texts == {}


def test_equal_rejects_are_one_row_with_their_number(world: World) -> None:
    twice = pl.DataFrame({"post_id": ["p", "p"], "text": ["same", "same"], "reason": ["too odd", "too odd"]})
    assert QuarantineResource(s3=world.s3).land("test", "posts", "post_id", twice) == 2
    world.run_well("quarantine")
    [row] = world.table(QUARANTINE).filter(pl.col("reason") == "too odd").to_dicts()
    assert (row["row_key"], row["copies"]) == ("p", 2)
