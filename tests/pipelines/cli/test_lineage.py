"""The lineage from Postgres to points and marts: what a run does after nothing, after edits, after deletes."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.lake import LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts.creators import CREATORS
from assets.marts.operations import SPEND
from assets.marts.tables import MARTS
from assets.quarantine import QUARANTINE
from assets.summaries.accounts import SUMMARIES
from assets.transforms.text.corpus import point_id
from assets.transforms.verticals.scoring import by_vertical
from assets.verticals.scores import SCORES
from assets.verticals.taggers import current_methods
from resources.catalogues import load_verticals
from resources.local_stack import EmbeddedStack
from tests.worlds.governor_launcher import governor_config
from tests.worlds.lineage import World
from tests.worlds.lineage_edits import (
    COPIED_TEXT,
    COPY,
    DELETED,
    DELETED_ACCOUNT,
    EDITED,
    MOVED,
    NOW,
    UNUSABLE,
    edit,
    new_text,
)
from tests.worlds.lineage_rows import (
    ACCOUNTS,
    FIRST,
    LAST,
    owners,
)
from tests.worlds.loaded import loaded_world, world_name
from tests.worlds.report import Report
from tests.worlds.snapshot import Snapshot, assert_same_tables


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
