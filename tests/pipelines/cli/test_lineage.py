"""The lineage from Postgres to points and marts: what a run does after nothing, after edits, after deletes."""

import re
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import psycopg
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

from assets.lake import LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts.creators import CREATORS
from assets.marts.operations import SPEND
from assets.marts.tables import MARTS
from assets.quarantine import QUARANTINE
from assets.summaries.accounts import SUMMARIES
from assets.transforms.source.schema import POSTS, with_bucket
from assets.transforms.text.corpus import point_id
from assets.transforms.verticals.scoring import by_vertical
from assets.verticals.scores import SCORES
from assets.verticals.taggers import current_methods
from resources.catalogues import load_verticals
from resources.local_stack import EmbeddedStack
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import Manifest, RawStoreResource
from resources.settings import bucket_count
from resources.sources.postgres import SOURCE
from tests.worlds.governor_launcher import governor_config
from tests.worlds.lineage import (
    ACCOUNTS,
    ALSO_LABELLED,
    BRANDS,
    DESCRIPTIONS,
    FIRST,
    LABELLED,
    LAST,
    TOPICS,
    Report,
    Snapshot,
    World,
    assert_same_tables,
    first_labels,
    loaded_world,
    owners,
    world_name,
)

NOW = "updated_at = clock_timestamp()"
EDITED = [f"{account}/{number}" for account in (*ACCOUNTS[4:6], *ACCOUNTS[6:9]) for number in (0, 1)]
"""Ten posts, of two accounts of bucket 0 and three of bucket 1; those of TWINS get one text."""
TWINS = (f"{ACCOUNTS[7]}/1", f"{ACCOUNTS[8]}/1")
DELETED = [f"{ACCOUNTS[5]}/2", f"{ACCOUNTS[6]}/2", f"{ACCOUNTS[7]}/2"]
DELETED_ACCOUNT = ACCOUNTS[9]
MOVED = f"{FIRST}/1"
COPY, COPIED_TEXT = f"{LAST}/copy", f"{FIRST} talks about {TOPICS[0]}, part 0"
UNUSABLE = "post-without-account"
STALE = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def world(stack: EmbeddedStack, request: pytest.FixtureRequest, tmp_path: Path) -> World:
    return loaded_world(stack).clone(world_name(request.node.nodeid), tmp_path)


@dataclass(frozen=True)
class Changed:
    """A world after edits and one run behind a request governor, as users have it."""

    world: World
    report: Report
    embedded: dict[str, int]
    before: Snapshot
    after: Snapshot


@pytest.fixture(scope="module")
def changed(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Changed:
    clone = loaded_world(stack).clone(world_name("changed"), tmp_path_factory.mktemp("changed"))
    world = replace(clone, governor=governor_config())
    before = world.snapshot()
    edit(world)
    report = world.run_well()
    return Changed(world, report, world.embedded_texts, before, world.snapshot())


def new_text(post: str) -> str:
    return "Now about marmalade, twice" if post in TWINS else f"Now about marmalade in {post}"


def edit(world: World) -> None:
    with world.source() as connection:
        for post in EDITED:
            connection.execute(f"UPDATE posts SET text = %s, {NOW} WHERE post_id = %s".encode(), (new_text(post), post))
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
    quarantined = found.tables[QUARANTINE.name].row(0, named=True)
    assert found.tables[QUARANTINE.name].height == 1
    assert (quarantined["source_table"], quarantined["row_key"]) == ("testimonials", "testimonial-3")
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
        assert rows == found.tables[spec.name].height > (-1 if spec is SPEND else 0)


def test_arrays_timestamps_and_numbers_arrive_as_they_were(stack: EmbeddedStack) -> None:
    world = loaded_world(stack)
    post = world.table(LAKE_POSTS).row(by_predicate=pl.col("post_id") == f"{FIRST}/0", named=True)
    assert post["hashtags"] == ["a", "b"]
    assert (post["likes"], post["comments"], post["views"], post["shares"]) == (3, 2, 90, 1)
    assert post["posted_at"] == datetime(2024, 2, 1, 8, tzinfo=UTC)
    assert post["media_url"] is None
    assert world.table(LAKE_TESTIMONIALS)["rating"].to_list() == [5, None, 1]


def test_a_second_run_without_changes_only_looks(world: World, changed: Changed) -> None:
    objects, versions, points = world.objects(), world.versions(), world.points()
    report = world.run_well()
    assert report.assets.keys() == changed.report.assets.keys(), "the assets that Dagster runs"
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
    assert counts["upserted"] == len(EDITED) + 2, "the edited ones, the copy and the moved one"
    gone = {point_id(f"{DELETED_ACCOUNT}/{number}", 0) for number in range(5)} | {point_id(it, 0) for it in DELETED}
    assert changed.before.points.keys() - changed.after.points.keys() == gone
    assert changed.after.points.keys() - changed.before.points.keys() == {point_id(COPY, 0)}
    assert counts["points_deleted"] == len(gone) + 1, "the moved one leaves its old bucket"
    for post in EDITED:
        assert changed.after.points[point_id(post, 0)][0] != changed.before.points[point_id(post, 0)][0]


def test_search_finds_the_edits_and_no_deleted_account(changed: Changed) -> None:
    found = changed.world.search("marmalade")
    with_it = {account.account_id for account in found if any("marmalade" in hit.text for hit in account.evidence)}
    assert with_it == {post.split("/")[0] for post in EDITED}
    assert DELETED_ACCOUNT not in {account.account_id for account in found}


def test_tables_and_marts_show_edits_and_deletes(changed: Changed) -> None:
    tables = changed.after.tables
    texts = dict(tables["corpus/cippus_text"].filter(pl.col("chunk_no") == 0).select("post_id", "text").iter_rows())
    assert {post: texts[post] for post in EDITED} == {post: new_text(post) for post in EDITED}
    assert not texts.keys() & {*DELETED, *(f"{DELETED_ACCOUNT}/{number}" for number in range(5))}
    assert DELETED_ACCOUNT not in set(tables["mart/creators"]["account_id"])
    assert DELETED_ACCOUNT not in set(tables["summary/account_summaries"]["account_id"])
    assert DELETED_ACCOUNT not in set(tables["vertical/tags"]["account_id"])
    live = 60 - len(DELETED) - 5 + 1
    assert tables["mart/creators"]["posts"].sum() == tables["mart/posts_by_day"]["posts"].sum() == live
    csv = b"".join(body for key, body in changed.after.files.items() if "/creators/" in key)
    assert FIRST.encode() in csv
    assert DELETED_ACCOUNT.encode() not in csv


def test_tags_follow_the_edited_texts(changed: Changed) -> None:
    post = pl.col("item_id").is_in(EDITED)
    names = [vertical.name for vertical in load_verticals()]
    before, after = (
        shown.tables["vertical/scores"].filter(post).sort("item_id") for shown in (changed.before, changed.after)
    )
    assert before["item_id"].equals(after["item_id"])
    assert all(was != now for was, now in zip(before["scores"].to_list(), after["scores"].to_list(), strict=True))
    rows = changed.after.tables["vertical/thresholds"].iter_rows()
    thresholds = {(kind, name, method): at for kind, name, method, at, *_ in rows}
    every = by_vertical(changed.after.tables["vertical/scores"].lazy(), names).drop_nulls("score").collect()
    due = {
        (row["item_kind"], row["item_id"], row["vertical"])
        for row in every.iter_rows(named=True)
        if row["score"] >= thresholds.get((row["item_kind"], row["vertical"], row["method"]), 2)
    }
    assert {tag[1:3] + tag[4:5] for tag in changed.after.tables["vertical/tags"].iter_rows()} == due != set()


def test_scores_and_summaries_that_stand_are_those_that_would_be_made(changed: Changed, tmp_path: Path) -> None:
    posts = changed.after.tables["corpus/cippus_text"]["post_id"].n_unique()
    assert changed.report.counts("vertical/taggers")["methods_fitted"] == len(current_methods())
    assert changed.report.counts("vertical/scores")["posts_scored"] == posts, "taggers of other texts score all anew"
    touched = {post.split("/")[0] for post in (*EDITED, *DELETED, COPY)} | {FIRST, LAST}
    assert changed.report.counts("summary/account_summaries")["accounts_summarised"] <= len(touched)
    world = changed.world.clone(world_name("made anew"), tmp_path)
    for spec in (SCORES, SUMMARIES):
        world.lake.delete_where(spec, "account_bucket >= 0")
    report = world.run_well("vertical", "summary")
    assert report.counts("vertical/scores")["posts_scored"] == posts
    assert_same_tables(world.tables([SCORES.name, SUMMARIES.name]), changed.after.tables)


def test_while_the_taggers_stand_only_new_texts_are_scored(world: World) -> None:
    """Every account of the world has labels, so the taggers are fitted on all its posts: this one has none."""
    [newcomer] = owners("newcomer-", 0, 1)
    with world.source() as connection:
        account = "INSERT INTO accounts (account_id, network, updated_at) VALUES (%s, 'youtube', clock_timestamp())"
        connection.execute(account.encode(), (newcomer,))
        post = "INSERT INTO posts (post_id, account_id, network, posted_at, text, updated_at) VALUES "
        for number in range(3):
            values = "(%s, %s, 'youtube', '2024-02-20', %s, clock_timestamp())"
            text = f"{newcomer} shows part {number} of a kiln"
            connection.execute((post + values).encode(), (f"{newcomer}/{number}", newcomer, text))
    before = world.table(SCORES)
    assert fitted_and_scored(world.run_well()) == (0, 3)
    after = world.table(SCORES)
    of_newcomer = pl.col("account_id") == newcomer
    assert after.filter(of_newcomer)["item_id"].n_unique() == 4, "three posts and the account"
    assert_frame_equal(after.filter(~of_newcomer), before)
    world.execute(f"UPDATE posts SET text = 'Now about marmalade', {NOW} WHERE post_id = %s", f"{newcomer}/1")
    assert fitted_and_scored(world.run_well()) == (0, 1)
    stood = world.tables([SCORES.name])
    world.lake.delete_where(SCORES, "account_bucket >= 0")
    assert fitted_and_scored(world.run_well("vertical"))[1] > 3
    assert_same_tables(world.tables([SCORES.name]), stood)


def fitted_and_scored(report: Report) -> tuple[int, int]:
    """How many methods a run fitted, and how many posts it scored."""
    fitted = report.counts("vertical/taggers").get("methods_fitted", 0)
    return fitted, report.counts("vertical/scores")["posts_scored"]


def test_a_text_that_another_bucket_embedded_is_copied(changed: Changed) -> None:
    assert COPIED_TEXT not in changed.embedded
    assert changed.report.counts("embedding/cippus_text")["copied"] == 2, "the copied text, and the moved post's"
    vectors, chunks = changed.after.tables["embedding/cippus_text"], changed.after.tables["corpus/cippus_text"]
    [copied] = chunks.filter(pl.col("post_id") == COPY)["content_hash"]
    held = vectors.filter(pl.col("content_hash") == copied)
    assert held["account_bucket"].to_list() == [0, 1]
    assert held["vector"][0].to_list() == held["vector"][1].to_list()


def test_a_post_whose_account_changes_bucket_moves(changed: Changed) -> None:
    for name in ("lake/posts", "corpus/decisions", "corpus/cippus_text"):
        rows = changed.after.tables[name].filter(pl.col("post_id") == MOVED)
        assert rows.select("account_id", "account_bucket").rows() == [(LAST, 1)], name
    with changed.world.qdrant.open() as index:
        [point] = index.retrieve([point_id(MOVED, 0)])
        assert (point.payload["account_id"], point.payload["account_bucket"]) == (LAST, 1)


def test_a_row_that_cannot_be_used_is_quarantined_with_its_reason(changed: Changed) -> None:
    rows = changed.after.tables[QUARANTINE.name].filter(pl.col("source_table") == "posts")
    assert rows.select("row_key", "reason").rows() == [(UNUSABLE, "account_id is missing")]
    assert "Nobody's" in rows["row_json"][0]
    assert UNUSABLE not in set(changed.after.tables["lake/posts"]["post_id"])
    assert changed.report.counts("lake/posts")["quarantined"] == 1
    assert changed.report.counts(QUARANTINE.name)["reason: account_id is missing"] == 1


def test_an_account_that_is_undeleted_comes_back_without_embedding(changed: Changed, tmp_path: Path) -> None:
    world = changed.world.clone(world_name("undeleted"), tmp_path)
    world.execute(f"UPDATE accounts SET deleted_at = NULL, {NOW} WHERE account_id = %s", DELETED_ACCOUNT)
    report = world.run_well()
    assert not world.embedded_texts
    assert report.counts("embedding/cippus_text")["embedded"] == 0
    points, again = world.points(), [point_id(f"{DELETED_ACCOUNT}/{number}", 0) for number in range(5)]
    assert points == {**changed.after.points} | {point: changed.before.points[point] for point in again}
    was, is_now = (
        rows.filter(pl.col("account_id") == DELETED_ACCOUNT)
        for rows in (changed.before.tables["mart/creators"], world.table(CREATORS))
    )
    moving = [name for name in was.columns if name in {"as_of", "posts_per_week"} or re.search(r"_\d+d", name)]
    assert is_now.drop(moving).equals(was.drop(moving)), "all but windows of days"


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
