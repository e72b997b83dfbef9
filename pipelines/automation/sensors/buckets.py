"""The sensor of changed buckets: request a run for each, then one across buckets when all have succeeded."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    RunRequest,
    RunsFilter,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)

from assets.corpus import DECIDING
from assets.framework.incremental import Stage
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts import LISTING_TESTIMONIALS, TOTALLING
from assets.partitions import BUCKETS
from pipelines.automation.sensors.reachability import skipped_while_unreachable
from pipelines.jobs.asset_jobs import ACROSS_BUCKETS, BUCKET, WRITES_TAG, all_buckets, bucket_range
from resources.delta.state import LedgerResource
from resources.delta.table import WHOLE, LakeResource, fingerprint
from resources.settings import Environment, environment

RUNS_A_TICK = 16
LAKE_TAG, BUCKETS_TAG = "cippus/lake", "cippus/buckets"
FIRST_STAGES = (DECIDING, LISTING_TESTIMONIALS)
"""Together, these stages read every lake table, and nothing else."""
_ENDED_BADLY = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
_INTERVAL_SECONDS = 60


@dataclass(frozen=True)
class Progress:
    """The sensor's cursor, about 5 bytes per bucket.

    ``lake``: the state of the lake that runs are requested for.
    ``due``: buckets whose run is not requested yet.
    ``running``: buckets whose run was requested, and has not succeeded yet.
    ``across``: the state of the lake that the run across buckets was last requested for.
    ``turn``: the number of changes of the lake so far.
    """

    lake: str = ""
    due: tuple[int, ...] = ()
    running: tuple[int, ...] = ()
    across: str = ""
    turn: int = 0

    @property
    def asked_for(self) -> str:
        """The id of the requests. The turn makes it new when the lake returns to an earlier state."""
        return f"{self.lake}.{self.turn}"

    @classmethod
    def read(cls, cursor: str | None) -> "Progress":
        """Parse a cursor. Without a readable cursor, start anew: runs of unchanged buckets do nothing."""
        try:
            found = cls(**json.loads(cursor or ""))
            due, running = (tuple(int(bucket) for bucket in part) for part in (found.due, found.running))
            return cls(str(found.lake), due, running, str(found.across), int(found.turn))
        except (ValueError, TypeError):
            return cls()

    def written(self) -> str:
        """Return the progress as a cursor."""
        return json.dumps(asdict(self), separators=(",", ":"))


@dataclass(frozen=True)
class Outcome:
    """The buckets whose runs, requested for one state of the lake, succeeded or failed."""

    succeeded: frozenset[int]
    failed: frozenset[int]

    @classmethod
    def of(cls, instance: DagsterInstance, lake: str) -> "Outcome":
        """Read the outcome from run tags. A re-executed run has the same tags, so its success counts."""
        runs = instance.get_runs(RunsFilter(tags={LAKE_TAG: lake}))
        buckets = {status: set[int]() for status in DagsterRunStatus}
        for run in runs:
            buckets[run.status].update(int(bucket) for bucket in run.tags.get(BUCKETS_TAG, "").split(",") if bucket)
        succeeded = buckets[DagsterRunStatus.SUCCESS]
        under_way = set().union(*(found for status, found in buckets.items() if status not in _ENDED_BADLY))
        failed = set().union(*(buckets[status] for status in _ENDED_BADLY)) - under_way
        return cls(frozenset(succeeded), frozenset(failed))


_NOTHING = Outcome(frozenset(), frozenset())


@sensor(
    jobs=[BUCKET, ACROSS_BUCKETS],
    minimum_interval_seconds=_INTERVAL_SECONDS,
    description="Starts a run for each account bucket whose lake data changed, then one across all buckets.",
)
@skipped_while_unreachable
def changed_buckets(
    context: SensorEvaluationContext, lake: LakeResource, ledger: LedgerResource
) -> SensorResult | SkipReason:
    """Read three tables' logs. Read the ledger, one entry per bucket, only when the lake has changed."""
    progress, state = Progress.read(context.cursor), lake_state(lake)
    if state is None:
        return SkipReason("The lake is empty.")
    outcome = Outcome.of(context.instance, progress.asked_for) if progress.running else _NOTHING
    if state != progress.lake:
        stale = stale_buckets(lake, ledger)
        progress = begun(progress, state, stale, outcome.succeeded, is_current=across_is_current(lake, ledger))
        outcome = _NOTHING
    return step(progress, outcome, RUNS_A_TICK if environment() is Environment.PRODUCTION else None)


def lake_state(lake: LakeResource) -> str | None:
    """Return a fingerprint of the lake and of the rules of FIRST_STAGES, or None for an empty lake."""
    held = [lake.contents(spec) for spec in (LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS)]
    if not any(held):
        return None
    parts = (f"{bucket}:{found.fingerprint}" for contents in held for bucket, found in sorted(contents.items()))
    return fingerprint([*(stage.version for stage in FIRST_STAGES), *parts])


def stale_buckets(lake: LakeResource, ledger: LedgerResource) -> set[int]:
    """Return the buckets for which one of FIRST_STAGES last read another state of the lake."""
    buckets = [int(key) for key in BUCKETS.get_partition_keys()]
    return {bucket for stage in FIRST_STAGES for bucket in _stale(stage, buckets, lake, ledger)}


def across_is_current(lake: LakeResource, ledger: LedgerResource) -> bool:
    """Return whether a run of the lineage or across buckets has read the current lake."""
    return not _stale(TOTALLING, [WHOLE], lake, ledger)


def _stale(stage: Stage, buckets: Sequence[int], lake: LakeResource, ledger: LedgerResource) -> set[int]:
    inputs, entries = stage.input_fingerprints(lake, buckets), ledger.entries(stage.name, buckets)
    return {bucket for bucket in buckets if bucket not in entries or entries[bucket].inputs != inputs[bucket]}


def begun(
    progress: Progress, state: str, stale: Iterable[int], succeeded: Collection[int], *, is_current: bool
) -> Progress:
    """Return the progress for a changed lake: stale buckets are due, and so are buckets that have not succeeded.

    A bucket whose run failed after its first stage does not look stale.
    """
    left = {bucket for bucket in progress.running if bucket not in succeeded}
    due = tuple(sorted({*stale, *progress.due, *left}))
    across = state if is_current and not due else ""
    return Progress(state, due, (), across, progress.turn + 1)


def step(progress: Progress, outcome: Outcome, runs_a_tick: int | None) -> SensorResult:
    """Return the next requests: runs of due buckets, then, when all have succeeded, the run across buckets.

    At most ``runs_a_tick`` runs of one bucket each, or one of all due buckets where that is None. Keys hold the lake's
    state, so that a repeated tick asks for nothing new.
    """
    if progress.due:
        asked, due = progress.due[:runs_a_tick], progress.due[runs_a_tick:] if runs_a_tick else ()
        alone = [_alone(one, progress.asked_for) for one in asked]
        requests = alone if runs_a_tick is not None else [_together(asked, progress.asked_for)]
        return SensorResult(requests, cursor=replace(progress, due=due, running=(*progress.running, *asked)).written())
    running = tuple(bucket for bucket in progress.running if bucket not in outcome.succeeded)
    progress = replace(progress, running=running)
    if failed := sorted(outcome.failed & set(running)):
        reason = f"Bucket {_named(failed)} failed. Repeat its run; the run across all buckets waits for it."
        return SensorResult(skip_reason=reason, cursor=progress.written())
    if running:
        return SensorResult(skip_reason=f"Bucket {_named(running)} is running.", cursor=progress.written())
    if progress.across == progress.lake:
        return SensorResult(skip_reason="The lake has not changed.", cursor=progress.written())
    request = RunRequest(f"{progress.asked_for}/across", job_name=ACROSS_BUCKETS.name, tags=dict(all_buckets()))
    return SensorResult([request], cursor=replace(progress, across=progress.lake).written())


def _alone(bucket: int, state: str) -> RunRequest:
    tags = {LAKE_TAG: state, BUCKETS_TAG: str(bucket), WRITES_TAG: f"bucket {bucket}"}
    return RunRequest(f"{state}/{bucket}", job_name=BUCKET.name, partition_key=str(bucket), tags=tags)


def _together(buckets: Sequence[int], state: str) -> RunRequest:
    tags: Mapping[str, str] = {LAKE_TAG: state, BUCKETS_TAG: ",".join(map(str, buckets)), **bucket_range(buckets)}
    return RunRequest(f"{state}/{'-'.join(map(str, buckets))}", job_name=BUCKET.name, tags=dict(tags))


def _named(buckets: Iterable[int]) -> str:
    return ", ".join(map(str, buckets))
