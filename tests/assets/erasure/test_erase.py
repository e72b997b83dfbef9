"""After an erasure the world is as if the account had never existed, wherever an attempt was killed."""

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import pytest
from dagster import DagsterInstance
from deltalake import DeltaTable

from assets.embeddings import VECTORS
from assets.erasure.erase import UnknownAccountError, erase, look
from assets.erasure.receipt import Receipt
from assets.labels.gold import GOLD
from assets.quarantine import QUARANTINE
from assets.transforms.text.corpus import content_hash
from resources.delta.purge import LOG
from resources.local_stack import EmbeddedStack
from tests.worlds.check_results import evaluate_all
from tests.worlds.crash_runner import Child, crash_runner
from tests.worlds.erasure import (
    AUDIENCE,
    CANARIES,
    ECHOED_TEXT,
    ERASED,
    MOMENTS,
    MOVED_IN,
    MOVED_OUT,
    NEIGHBOUR,
    OF_LABELS,
    erasing,
    erasures,
    haunted_world,
    leave_an_upload_unfinished,
    snapshot,
    without_the_account,
)
from tests.worlds.lineage import World
from tests.worlds.lineage_rows import (
    ACCOUNTS,
    LABELLED,
    LAST,
    SHARED_TEXT,
)
from tests.worlds.loaded import world_name
from tests.worlds.snapshot import Snapshot, assert_same

TEXTS = tuple(CANARIES.values())


@dataclass(frozen=True)
class Erased:
    """A world after the erasure, its receipt, and the expected snapshot."""

    world: World
    receipt: Receipt
    expected: Snapshot


@pytest.fixture(scope="module")
def haunted(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> World:
    return haunted_world(stack, tmp_path_factory.mktemp("haunted"))


@pytest.fixture(scope="module")
def erased(haunted: World, stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> Erased:
    world = haunted.clone(world_name("erased"), tmp_path_factory.mktemp("erased"))
    leave_an_upload_unfinished(world)
    receipt = erase(erasing(world), ERASED, TEXTS)
    return Erased(world, receipt, without_the_account(stack, tmp_path_factory.mktemp("unhaunted")))


@pytest.fixture
def again(erased: Erased, request: pytest.FixtureRequest, tmp_path: Path) -> World:
    """The erased world, to be changed."""
    return erased.world.clone(world_name(request.node.nodeid), tmp_path)


def test_the_world_is_as_if_the_account_had_never_been(erased: Erased) -> None:
    assert_same(snapshot(erased.world), erased.expected)


def test_every_canary_is_found_before_and_nothing_after(erased: Erased) -> None:
    before, after = erased.receipt.found_before, erased.receipt.found_after
    assert before.canaries == set(TEXTS)
    stages = {"raw", "lake", "corpus", "label", "landing", "quarantine", "vertical", "summary", "mart", "quicksight"}
    assert {*stages, "index"} <= set(before.by_layer())
    kinds = {kind for place in before.places.values() for kind in place}
    assert kinds == {"account", "post", "testimonial", "handle", "canary"}
    assert any("_change_data/" in place for place in before.places)
    assert any("compacted" in place for place in before.places)
    assert any("/wal/" in place for place in before.places)
    assert after is not None
    assert not after.places
    assert erased.receipt.is_clean


def test_the_receipt_says_what_went_where(erased: Erased) -> None:
    removed = erased.receipt.to_json()["removed"]
    posts = 5  # five of its own, less one that moved out, and one that moved in
    assert {layer: figures["rows"] for layer, figures in removed.items() if "rows" in figures} == {
        "raw/accounts": 1,
        "raw/posts": 8,
        "raw/testimonials": 2,
        "landing/labels": 2,
        "landing/judgements": 2,
        "search/judgements": 2,
        "landing/audience": 1,
        "landing/handed": 2,
        "audience/reports": 2,
        "audience/demographics": 2,
        "lake/accounts": 1,
        "lake/posts": posts,
        "lake/testimonials": 1,
        "landing/quarantine": 1,
        "corpus/decisions": posts,
        "corpus/cippus_text": posts,
        "corpus/terms": removed["corpus/terms"]["rows"],
        "embedding/cippus_text": removed["embedding/cippus_text"]["rows"],
        "label/gold": 2,
        "label/votes": 2,
        **{name: removed[name]["rows"] for name in OF_LABELS if name in removed},
        "quarantine/rows": 1,
        "vertical/held_out": removed["vertical/held_out"]["rows"],
        "vertical/mistakes": removed["vertical/mistakes"]["rows"],
        "vertical/scores": removed["vertical/scores"]["rows"],
        "vertical/tags": removed["vertical/tags"]["rows"],
        "summary/account_summaries": 1,
        "mart/audiences": 2,
        "mart/content": removed["mart/content"]["rows"],
        "mart/content_by_bucket": removed["mart/content_by_bucket"]["rows"],
        "mart/creator_days": 2,
        "mart/creators": 1,
        "mart/data_quality": 1,
        "mart/testimonials": 1,
    }
    assert removed["llm/answers"] == {"answers": 2}
    assert [key for key in erased.world.objects() if key.startswith("llm/answers/")] == [
        "llm/answers/summary/other.json"
    ]
    assert removed["qdrant"] == {"points": posts, "generations": 1}
    assert removed["object versions"] == {"uploads": 1}
    assert all(figures.get("files", 1) > 0 for figures in removed.values())


def test_receipt_and_tombstone_hold_no_contents(erased: Erased) -> None:
    kept = [erased.world.s3.get(key) or b"" for key in erased.world.objects() if key.startswith("erasure/")]
    assert len(kept) == 3
    for secret in (ERASED, ERASED.title(), f"{ERASED}/0", MOVED_IN, "testimonial-2", *TEXTS):
        assert not any(secret.encode() in body or json.dumps(secret).encode()[1:-1] in body for body in kept)


def test_vectors_that_others_need_stay_and_no_others(haunted: World, erased: Erased) -> None:
    copies = haunted.table(VECTORS).filter(pl.col("content_hash") == content_hash(ECHOED_TEXT))
    assert sorted(copies["account_bucket"]) == [0, 1]
    held = set(erased.world.table(VECTORS).select("account_bucket", "content_hash").iter_rows())
    assert (1, content_hash(SHARED_TEXT)) in held
    assert (0, content_hash(SHARED_TEXT)) not in held
    assert (0, content_hash(f"{ERASED} talks about telescope, part 2")) in held
    assert content_hash(ECHOED_TEXT) not in {text for _, text in held}, "another bucket's copy, which nobody needs"
    assert NEIGHBOUR in set(erased.world.tables(["corpus/cippus_text"])["corpus/cippus_text"]["post_id"])


def test_a_post_that_moved_to_another_account_stays_with_it(erased: Erased) -> None:
    posts = erased.world.tables(["lake/posts"])["lake/posts"]
    assert posts.filter(pl.col("post_id") == MOVED_OUT)["account_id"].to_list() == [LAST]
    assert MOVED_IN not in posts["post_id"]


def test_tables_have_no_past(erased: Erased) -> None:
    objects = erased.world.objects()
    tables = {key.partition(LOG)[0] for key in objects if LOG in key}
    assert len(tables) > 10
    for folder in tables:
        table = DeltaTable(erased.world.s3.uri(folder), storage_options=erased.world.s3.delta_options)
        named = {f"{folder}/{path}" for path in pl.DataFrame(table.get_add_actions())["path"]}
        under = {key for key in objects if key.startswith(f"{folder}/")}
        log = {key for key in under if "/_delta_log/" in key}
        assert under - log == named
        at = f"{folder}/_delta_log/{table.version():020d}"
        assert log == {f"{at}.json", f"{at}.checkpoint.parquet", f"{folder}/_delta_log/_last_checkpoint"}


def test_the_checks_pass(erased: Erased) -> None:
    """But for the one that warns of the file that this world dropped where no stage reads it."""
    with DagsterInstance.ephemeral() as instance:
        found = evaluate_all(erased.world, instance)
    failed = [name for name, result in found.items() if result and not result.passed]
    assert failed == ["quarantine/rows:dropped_files_taken"]


def test_a_dropped_csv_keeps_the_others_lines(erased: Erased) -> None:
    lines = (erased.world.s3.get(AUDIENCE) or b"").split(b"\r\n")
    assert lines == [b"account_id;handle;share", f"{ACCOUNTS[3]};{ACCOUNTS[3].title()};12,5".encode(), b""]


def test_erasing_again_removes_nothing_and_a_run_only_looks(again: World) -> None:
    objects = again.objects()
    receipt = erase(erasing(again), ERASED, TEXTS)
    assert receipt.to_json()["removed"] == {}
    assert receipt.attempt == 2
    again.run_well()
    assert not again.embedder.embedded
    found = again.objects()
    new = found.keys() - objects.keys()
    assert [key.split("/")[:2] for key in new] == [["erasure", "receipts"]]
    assert {key: etag for key, etag in found.items() if key in objects} == objects


def test_a_generation_that_an_attempt_did_not_rebuild_is_found(again: World) -> None:
    """Its log and segments may hold deleted points, which no engine shows."""
    parts = replace(erasing(again), update_tables=lambda: None, update_index=lambda: None)  # all is settled
    terms = parts.terms(ERASED, TEXTS)
    assert not look(parts, terms).places
    parts.erasures.begin(terms.subject, parts.generations())
    [(place, kinds)] = look(parts, terms).places.items()
    assert place.startswith("qdrant/cippus_text_v")
    assert kinds == {"generation": 1}
    assert erase(parts, ERASED, TEXTS).is_clean


def test_it_is_never_extracted_again(again: World, erased: Erased) -> None:
    with again.source() as connection:
        for table in ("accounts", "posts", "testimonials"):
            statement = f"UPDATE {table} SET updated_at = clock_timestamp() WHERE account_id = %s"
            connection.execute(statement.encode(), (ERASED,))
    objects = again.objects()
    report = again.run_well()
    counts = {table: report.counts(f"raw/{table}")["erased"] for table in ("accounts", "posts", "testimonials")}
    assert counts == {"accounts": 1, "posts": 5, "testimonials": 2}
    assert again.objects() == objects
    assert not again.embedder.embedded


def test_labels_that_come_later_are_left_out(again: World) -> None:
    before = again.tables([GOLD.name, QUARANTINE.name])
    labels = [("account", ERASED, LABELLED, True), ("post", f"{ERASED}/0", LABELLED, True)]
    again.drop_labels("later", [*labels, ("post", "of-nobody", LABELLED, True)])
    assert again.run_well("label", "quarantine").counts("label/votes")["erased"] == 2
    after = again.tables([GOLD.name, QUARANTINE.name])
    assert after[GOLD.name].equals(before[GOLD.name])
    new = after[QUARANTINE.name].join(before[QUARANTINE.name], on=QUARANTINE.key, how="anti", nulls_equal=True)
    assert new["row_key"].to_list() == ["of-nobody"]
    parts = erasing(again)
    assert look(parts, parts.terms(ERASED, ())).under("") == ["landing/labels/later.parquet"]


def test_a_place_that_cannot_be_searched_keeps_the_erasure_incomplete(again: World) -> None:
    key = f"landing/labels/{ERASED}.7z"
    again.s3.put(key, b"7z\xbc\xaf\x27\x1c")
    receipt = erase(erasing(again), ERASED, TEXTS)
    assert not receipt.is_clean
    assert receipt.to_json()["not_searched"] == {key: "it is a 7z archive, which cannot be opened"}
    filed = [again.s3.get(name) or b"" for name in again.objects() if name.startswith("erasure/receipts/")]
    assert any(b'"landing/labels/\\u2026.7z": "it is a 7z' in body for body in filed), "a name is masked in the file"
    assert not any(ERASED.encode() in body for body in filed)


def test_an_unknown_account_is_refused_and_nothing_is_written(again: World) -> None:
    objects = again.objects()
    with pytest.raises(UnknownAccountError, match=r"Nothing of account 'creator' is stored"):
        erase(erasing(again), "creator")
    with pytest.raises(UnknownAccountError, match=r"Nothing of account 'creator' is stored"):
        erase(erasing(again), "creator", ["talks about"])  # another's text, and no account
    assert again.objects() == objects


def test_an_account_can_be_erased_before_it_comes(again: World) -> None:
    erase(erasing(again), "creator-ahead", ahead=True)
    with again.source() as connection:
        connection.execute(
            b"INSERT INTO accounts SELECT 'creator-ahead', network, handle, display_name, bio, followers, country, "
            b"language, created_at, clock_timestamp(), NULL FROM accounts LIMIT 1"
        )
    assert again.run_well("raw").counts("raw/accounts")["erased"] == 1
    assert erasures(again).tombstones().accounts_among(["creator-ahead", ERASED, LAST]) == {"creator-ahead", ERASED}


@pytest.fixture(scope="module")
def child(stack: EmbeddedStack) -> Iterator[Child]:
    with crash_runner(stack) as run:
        yield run


def test_killed_again_and_again_it_ends_with_everything_gone(
    child: Child, haunted: World, erased: Erased, tmp_path: Path
) -> None:
    world = haunted.clone(world_name("erasure-killed"), tmp_path)
    for what, (pattern, nth) in MOMENTS.items():
        assert child(world, pattern, nth, ERASED) == -signal.SIGKILL, what
    assert child(world, "never", 1, ERASED) == 0
    assert_same(snapshot(world), erased.expected)
    receipt = erase(erasing(world), ERASED, TEXTS)
    assert not receipt.found_before.places
    assert receipt.to_json()["removed"] == {}
    assert receipt.attempt == len(MOMENTS) + 2
