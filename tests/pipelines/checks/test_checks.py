"""Every asset check passes on what a run leaves, and fails on the faults that it promises to find."""

import random
from collections.abc import Iterator

import pytest
from dagster import AssetCheckResult, DagsterInstance

from assets.corpus import CHUNKS, DECISIONS
from assets.framework.verdicts import Held
from assets.lake import LAKE_POSTS
from pipelines.checks.evaluation import is_outdated, judge
from resources.delta.state import LedgerResource
from resources.local_stack import EmbeddedStack
from resources.settings import bucket_count
from tests.worlds.check_results import BY_NAME, evaluate, evaluate_all, resources_of
from tests.worlds.fault_catalogue import CATALOGUE
from tests.worlds.fault_catalogue.declaration import FaultRow
from tests.worlds.faults import lost
from tests.worlds.lineage import World
from tests.worlds.loaded import loaded_world, world_name

OF_A_CLUSTER = {
    f"qdrant/promotion:{name}" for name in ("nodes_present", "shards_active", "replicas_equal", "versions_equal")
}
ADVICE = {
    "quarantine/rows:dropped_files_taken",
    *("raw/accounts:all_rows_read", "raw/posts:all_rows_read", "raw/testimonials:all_rows_read"),
    "raw/accounts:mark_is_recent",
    *("raw/accounts:contract_holds", "raw/posts:contract_holds"),
    "qdrant/promotion:newest_is_served",
    "search/retrieval_quality:hybrid_is_not_worse",
    *(name for name, check in BY_NAME.items() if check.advises),
}
"""Checks that advise, and do not fail a build."""
WITHOUT_ROWS = {
    *("mart/spend:rows_as_written", "mart/spend:values_possible"),
    *("summary/model_summaries:rows_as_written", "summary/model_summaries:nothing_waits"),
    *("summary/model_testimonials:rows_as_written", "summary/model_testimonials:no_brand_waits"),
    "summary/model_testimonials:claims_cite_live_testimonials",
    "summary/model_testimonials:every_brand_has_claims_or_a_reason",
    "summary/model_testimonials:testimonials_carry_the_claims",
    *("vertical/model_tags:rows_as_written", "vertical/model_tags:nothing_waits"),
}
"""Checks of tables that are empty in this world."""


def _sample() -> list[FaultRow]:
    """One fault of each kind of check; `make bench NAME=faults` injects all."""
    rng, by_kind = random.Random(20), dict[str, list[FaultRow]]()  # noqa: S311
    for row in CATALOGUE:
        by_kind.setdefault(row.check.partition(":")[2], []).append(row)
    return [rng.choice(rows) for rows in by_kind.values()]


@pytest.fixture(scope="module")
def world(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world that every fault below is taken back from."""
    return loaded_world(stack).clone(world_name("checks"), tmp_path_factory.mktemp("checks"))


@pytest.fixture(scope="module")
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as made:
        yield made


def test_every_check_has_faults_and_the_catalogue_is_large() -> None:
    assert {row.check for row in CATALOGUE} == BY_NAME.keys()
    assert len({(row.check, row.name) for row in CATALOGUE}) == len(CATALOGUE) >= 120


def test_checks_pass_on_what_a_run_leaves(world: World, instance: DagsterInstance) -> None:
    found = evaluate_all(world, instance)
    assert {name for name, result in found.items() if result is None} == {*OF_A_CLUSTER, *WITHOUT_ROWS}, (
        "nothing to see"
    )
    assert {name: result.description for name, result in found.items() if result and not result.passed} == {}


@pytest.mark.parametrize("row", [pytest.param(row, id=f"{row.check} {row.name}") for row in _sample()])
def test_check_fails_on_fault(world: World, instance: DagsterInstance, row: FaultRow) -> None:
    with row.inject(world):
        found = evaluate(world, row.check, instance=instance)
    assert found is not None
    assert not found.passed
    assert found.severity.value == ("WARN" if row.check in ADVICE else "ERROR")


def _judged(world: World, name: str, *, reads_everything: bool = False, buckets: range | None = None) -> dict[str, int]:
    """Return the metadata of a check that is evaluated as in a run."""
    verdict = judge(BY_NAME[name], resources_of(world), buckets or range(bucket_count()), reads_everything)
    assert verdict is not None
    return verdict.metadata


def test_a_bucket_that_passed_is_read_again_only_when_it_changed(world: World) -> None:
    name, bad = "corpus/decisions:every_post_decided", world.table(DECISIONS)["account_bucket"][0]
    _judged(world, name)
    assert _judged(world, name) == {"buckets_read": 0, "buckets_unchanged": 2}
    assert _judged(world, name, reads_everything=True)["buckets_read"] == 2
    assert _judged(world, name, buckets=range(1, 2)) == {"buckets_read": 0, "buckets_unchanged": 1}
    with lost(DECISIONS)(world):
        first = judge(BY_NAME[name], resources_of(world), range(bucket_count()), False)
        again = judge(BY_NAME[name], resources_of(world), range(bucket_count()), False)
    assert first is not None
    assert again is not None
    assert [first.bad, again.bad] == [[bad], [bad]], "a failure is not remembered as a pass"
    assert first.metadata["buckets_read"] == 1
    assert _judged(world, name)["buckets_read"] == 0, "the contents are again those that passed"


def test_a_bad_bucket_is_held_until_it_passes_or_changes(world: World) -> None:
    name, ledger = "lake/posts:keys_unique", LedgerResource(s3=world.s3)
    bad = world.table(LAKE_POSTS)["account_bucket"][0]
    row = next(row for row in CATALOGUE if row.check == name and row.name == "row repeated")
    with row.inject(world):
        found = evaluate(world, name)
        assert Held(world.lake, ledger).read([LAKE_POSTS]) == {LAKE_POSTS.name: {bad: "keys_unique"}}
    assert found is not None
    assert not getattr(found, "blocking", True), "the other bucket goes on"
    assert Held(world.lake, ledger).read([LAKE_POSTS]) == {}, "the contents that failed are gone"
    evaluate(world, name)
    assert not any(identity.startswith("lake/posts/") for identity in ledger.taken("held"))


def test_a_bucket_behind_its_inputs_is_not_compared(world: World) -> None:
    """After an extraction, and before the bucket's own run, the corpus lacks what the lake has."""
    bad = world.table(LAKE_POSTS)["account_bucket"][0]
    with lost(LAKE_POSTS)(world):
        entry = LedgerResource(s3=world.s3).entries(DECISIONS.name, [bad])[bad]
        assert is_outdated(world.lake, entry, bad)
        metadata = _judged(world, "corpus/decisions:every_post_decided", reads_everything=True)
        for name in ("mart/content:periods_match_lake", "mart/posts_by_day:totals_match_lake"):
            assert evaluate(world, name) is None, "totals of buckets rightly lack what one bucket was not computed from"
    assert metadata["buckets_behind"] == 1
    with lost(CHUNKS)(world):
        assert evaluate(world, "vertical/scores:every_item_scored", reads_everything=True) is not None


def test_a_check_that_looks_at_nothing_is_not_a_pass(world: World) -> None:
    assert judge(BY_NAME["lake/posts:keys_unique"], resources_of(world), range(5, 6)) is None
    for name in OF_A_CLUSTER:
        assert evaluate(world, name) is None


def test_a_repeated_check_result_names_the_buckets(world: World) -> None:
    row = next(row for row in CATALOGUE if row.check == "lake/posts:keys_unique" and row.name == "row misplaced")
    with row.inject(world):
        found = evaluate(world, row.check)
    assert found is not None
    assert "Buckets: 2." in (found.description or "")
    assert isinstance(evaluate(world, row.check), AssetCheckResult)
