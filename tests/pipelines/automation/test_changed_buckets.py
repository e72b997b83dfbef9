"""The sensor of changed buckets: runs for those whose lake data changed, and one across buckets when they succeeded."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from dagster import DagsterInstance, DagsterRunStatus
from hypothesis import given
from hypothesis import strategies as st

from assets.framework.verdicts import Held
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts.tables import TOTALLING
from pipelines.automation.sensors import buckets as module
from pipelines.automation.sensors.buckets import FIRST_STAGES, Outcome, Progress, begun, changed_buckets, step
from resources.delta.state import Entry, LedgerResource
from resources.delta.table import WHOLE, LakeResource, TableSpec
from resources.local_stack import EmbeddedStack
from resources.s3.client import S3Resource
from resources.settings import Environment, bucket_count
from tests.worlds.lineage_rows import FIRST
from tests.worlds.loaded import loaded_world, world_name
from tests.worlds.sensors import Sensing
from tests.worlds.snapshot import assert_same

THEN = datetime(2026, 3, 1, tzinfo=UTC)
SUCCESS, FAILURE = DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE
NOTHING = Outcome(frozenset(), frozenset())


@pytest.fixture
def sensing(s3: S3Resource) -> Iterator[Sensing]:
    unused = S3Resource(**s3.model_dump())
    with DagsterInstance.ephemeral() as instance:
        resources = {"lake": LakeResource(s3=unused), "ledger": LedgerResource(s3=unused)}
        yield Sensing(changed_buckets, instance, resources)


@pytest.fixture
def ledger(s3: S3Resource) -> LedgerResource:
    return LedgerResource(s3=s3)


def add(lake: LakeResource, spec: TableSpec, bucket: int, key: str) -> None:
    row = {spec.key[0]: key, "account_bucket": bucket, "updated_at": THEN}
    blank = dict.fromkeys(spec.schema.names)
    lake.append(spec, pl.DataFrame([{**blank, **row}], schema=spec.polars_schema))


def bring_up_to_date(lake: LakeResource, ledger: LedgerResource, *buckets: int) -> None:
    """What the first stages of a bucket's run leave in the ledger."""
    for stage in FIRST_STAGES:
        for bucket, inputs in stage.input_fingerprints(lake, buckets).items():
            ledger.record(stage.name, bucket, Entry(inputs, "out"))


def buckets_of(request: Any) -> str:
    return str(request.tags[module.BUCKETS_TAG])


def test_changed_buckets_then_what_is_made_of_all(sensing: Sensing, lake: LakeResource, ledger: LedgerResource) -> None:
    assert sensing.tick() == []
    assert sensing.said == ["The lake is empty."]
    add(lake, LAKE_ACCOUNTS, 0, "a")
    [first] = sensing.tick(is_stored=False)
    assert sensing.tick() == []  # the same tick again
    assert first.job_name == "bucket"
    assert sensing.tick() == []
    assert sensing.said[-1].endswith("is running.")
    bring_up_to_date(lake, ledger, *range(bucket_count()))
    sensing.end(first)
    [across] = sensing.tick()
    assert (across.job_name, across.tags["dagster/asset_partition_range_end"]) == ("across_buckets", "7")
    assert sensing.tick() == []
    assert sensing.said[-1] == "The lake has not changed."

    add(lake, LAKE_POSTS, 5, "p")
    add(lake, LAKE_TESTIMONIALS, 2, "t")
    [second] = sensing.tick()
    assert buckets_of(second) == "2,5"
    assert second.tags["dagster/asset_partition_range_start"] == "2"
    assert second.tags["dagster/asset_partition_range_end"] == "5"


def test_in_production_a_bucket_is_a_run_and_a_tick_asks_for_some(
    sensing: Sensing, lake: LakeResource, ledger: LedgerResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "environment", lambda: Environment.PRODUCTION)
    monkeypatch.setattr(module, "RUNS_A_TICK", 5)
    add(lake, LAKE_ACCOUNTS, 0, "a")
    asked = [request for _ in range(3) for request in sensing.tick()]
    assert [request.partition_key for request in asked] == [str(bucket) for bucket in range(8)]
    assert [buckets_of(request) for request in asked] == [str(bucket) for bucket in range(8)]
    assert len({request.run_key for request in asked}) == 8
    assert {request.tags["cippus/writes"] for request in asked} == {f"bucket {bucket}" for bucket in range(8)}


def test_one_failed_bucket_does_not_stop_the_rest(sensing: Sensing, lake: LakeResource, ledger: LedgerResource) -> None:
    add(lake, LAKE_ACCOUNTS, 0, "a")
    bring_up_to_date(lake, ledger, *range(8))
    add(lake, LAKE_ACCOUNTS, 3, "b")
    [request] = sensing.tick()
    bring_up_to_date(lake, ledger, 3)  # it failed behind its first stage
    sensing.end(request, FAILURE)
    [without] = sensing.tick()
    assert without.job_name == "across_buckets"
    assert sensing.tick() == []
    assert sensing.said[-1] == "Bucket 3 failed. Repeat its run; the others are done."
    sensing.repeat(request, DagsterRunStatus.STARTED)
    assert sensing.tick() == []
    assert sensing.said[-1] == "Bucket 3 is running."
    sensing.repeat(request, FAILURE)
    add(lake, LAKE_POSTS, 6, "p")
    [both] = sensing.tick()
    assert buckets_of(both) == "3,6"  # the bucket that failed is asked for again with the next change
    sensing.end(both, FAILURE)
    [without] = sensing.tick()
    sensing.end(without)
    sensing.repeat(both, SUCCESS)
    [across] = sensing.tick()
    assert [without.job_name, across.job_name] == ["across_buckets"] * 2, "once more with the buckets that failed"
    assert sensing.tick() == []


def test_a_bucket_that_a_check_holds_back_is_not_asked_for_until_it_passes(
    sensing: Sensing, lake: LakeResource, ledger: LedgerResource
) -> None:
    for bucket in (0, 1, 2):
        add(lake, LAKE_POSTS, bucket, f"post-{bucket}")
    Held(lake, ledger).replace(LAKE_POSTS, "keys_unique", range(8), [1])
    bring_up_to_date(lake, ledger, *range(3, 8))
    [request] = sensing.tick()
    assert buckets_of(request) == "0,2"
    sensing.end(request)
    [across] = sensing.tick()
    assert across.job_name == "across_buckets"
    bring_up_to_date(lake, ledger, 0, 2)
    assert sensing.tick() == []
    Held(lake, ledger).replace(LAKE_POSTS, "keys_unique", range(8), [])
    [request] = sensing.tick()
    assert buckets_of(request) == "1"


def test_a_lake_that_a_whole_run_has_seen_asks_for_nothing(
    sensing: Sensing, lake: LakeResource, ledger: LedgerResource
) -> None:
    add(lake, LAKE_ACCOUNTS, 0, "a")
    bring_up_to_date(lake, ledger, *range(8))
    ledger.record(TOTALLING.name, WHOLE, Entry(TOTALLING.input_fingerprints(lake, [WHOLE])[WHOLE], "out"))
    assert sensing.tick() == []
    assert sensing.said == ["The lake has not changed."]


@pytest.mark.parametrize("cursor", [None, "", "{", "null", "[]", '{"due": 1}', '{"due": ["x"]}', '{"more": 1}'])
def test_a_cursor_that_cannot_be_read_is_none(cursor: str | None) -> None:
    assert Progress.read(cursor) == Progress()


def test_a_lake_that_is_again_as_it_was_is_request_id_again() -> None:
    """Dagster skips a request whose key it knows, and the runs of then did not see what came between."""
    asked = []
    progress = Progress()
    for state in ("A", "B", "A"):
        progress = begun(progress, state, [0], set(), is_current=False)
        found = step(progress, Outcome(frozenset(), frozenset()), None)
        [request] = found.run_requests or []
        asked.append((request.run_key, request.tags[module.LAKE_TAG]))
        across = step(Progress.read(found.cursor), Outcome(frozenset({0}), frozenset()), None)
        asked += [(again.run_key, "across") for again in across.run_requests or []]
        progress = Progress.read(across.cursor)
    assert len(asked) == len(set(asked)) == 6


@dataclass
class Model:
    """A lake by bucket: its version, those that a first stage, a whole run and a run across buckets have seen."""

    lake: list[int]
    first: list[int]
    brought: list[int]
    runs_a_tick: int | None
    across: list[int] = field(default_factory=list)
    running: dict[str, list[int]] = field(default_factory=dict)
    succeeded: dict[str, set[int]] = field(default_factory=dict)
    failed: dict[str, set[int]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    progress: Progress = field(default_factory=Progress)

    def tick(self) -> None:
        done, bad = (of.get(self.progress.request_id, set()) for of in (self.succeeded, self.failed))
        if str(self.lake) != self.progress.lake:
            stale = [number for number, held in enumerate(self.lake) if held > self.first[number]]
            self.progress = begun(self.progress, str(self.lake), stale, done, is_current=False)
            done, bad = set(), set()
        found = step(self.progress, Outcome(frozenset(done), frozenset(bad)), self.runs_a_tick)
        self.progress = Progress.read(found.cursor)
        for request in found.run_requests or []:
            if request.job_name == "across_buckets":
                behind = {number for number, held in enumerate(self.lake) if self.brought[number] != held}
                assert behind <= bad - done, "what is made of all buckets waits for those that have not failed"
                assert request.run_key not in self.keys, "Dagster would skip it"
                self.keys.add(request.run_key or "")
                self.across = [*self.brought]
            else:
                started = self.running.setdefault(request.tags[module.LAKE_TAG], [])
                started += [int(bucket) for bucket in buckets_of(request).split(",")]

    def end(self, *, is_success: bool) -> None:
        state = next(iter(self.running), None)
        for bucket in self.running.pop(state or "", []):
            (self.succeeded if is_success else self.failed).setdefault(state or "", set()).add(bucket)
            self.first[bucket] = self.lake[bucket]
            self.brought[bucket] = self.lake[bucket] if is_success else self.brought[bucket]


@given(
    st.integers(1, 10),
    st.sampled_from([None, 1, 3]),
    st.lists(st.tuples(st.sampled_from(["change", "tick", "succeed", "fail"]), st.integers(0, 9)), max_size=40),
)
def test_every_change_is_run_and_followed_by_a_run_across(
    buckets: int, runs_a_tick: int | None, events: list[tuple[str, int]]
) -> None:
    model = Model([1] * buckets, [0] * buckets, [0] * buckets, runs_a_tick)
    for kind, bucket in events:
        if kind == "change":
            model.lake[bucket % buckets] += 1
        elif kind == "tick":
            model.tick()
        else:
            model.end(is_success=kind == "succeed")
    model.lake[0] += 1
    for _ in range(buckets + 4):
        model.tick()
        while model.running:
            model.end(is_success=True)
    assert model.across == model.brought == model.lake
    assert len(model.progress.written()) < 10_000


def test_the_cursor_of_a_thousand_buckets_is_short() -> None:
    full = Progress("f" * 32, tuple(range(512)), tuple(range(512, 1024)), "e" * 32)
    assert len(full.written()) < 10_000
    assert Progress.read(full.written()) == full


def test_a_changed_bucket_ends_as_the_whole_lineage_would_have_it(
    stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Extraction, the bucket's run and the run across buckets leave what one run of everything leaves."""
    parts = loaded_world(stack).clone(world_name("parts"), tmp_path_factory.mktemp("parts"))
    parts.execute("UPDATE posts SET text = 'Baking', updated_at = clock_timestamp() WHERE post_id = %s", f"{FIRST}/0")
    parts.run_well(job_name="extraction")
    whole, before = parts.clone(world_name("whole"), tmp_path_factory.mktemp("whole")), parts.objects()
    parts.run_well(job_name="bucket", buckets=(0, 0))
    parts.run_well(job_name="across_buckets")
    whole.run_well()
    assert_same(parts.snapshot(), whole.snapshot())
    changed = {key for key, etag in parts.objects().items() if before.get(key) != etag}
    texts = {key for key in changed if key.startswith(("corpus/", "embedding/")) and "account_bucket=" in key}
    assert texts
    assert all("account_bucket=0" in key for key in texts)
