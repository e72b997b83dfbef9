"""The sensor of changed buckets: request a run for each, then one across buckets when all have ended."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

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
from assets.framework.verdicts import Held
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts.tables import LISTING_TESTIMONIALS, TOTALLING
from assets.partitions import BUCKETS
from pipelines.automation.sensors.cursor import Cursor
from pipelines.automation.sensors.reachability import skipped_while_unreachable
from pipelines.jobs.asset_jobs import ACROSS_BUCKETS, BUCKET, WRITES_TAG, all_buckets, bucket_range
from resources.delta.state import LedgerResource
from resources.delta.table import WHOLE, LakeResource, fingerprint
from resources.settings import Environment, environment

RUNS_A_TICK = 16
LAKE_TAG, BUCKETS_TAG = "cippus/lake", "cippus/buckets"
FIRST_STAGES = (DECIDING, LISTING_TESTIMONIALS)
"""Together, these stages read every table of WATCHED, and nothing else."""
WATCHED = (LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS)
_FAILURES = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)
_INTERVAL_SECONDS = 60
_UNCHANGED = "The lake has not changed."


@dataclass(frozen=True)
class Progress(Cursor):
    """The sensor's cursor, about 5 bytes per bucket. Starting anew is safe: runs of unchanged buckets do nothing.

    ``lake``: the state of the lake that runs are requested for.
    ``due``: buckets whose run is not requested yet.
    ``running``: buckets whose run was requested, and has not succeeded yet.
    ``across``: the state of the lake that the run across buckets was last requested for.
    ``without``: buckets whose run had failed by then. When one succeeds, the run across buckets is requested again.
    ``turn``: the number of changes of the lake so far.
    """

    lake: str = ""
    due: tuple[int, ...] = ()
    running: tuple[int, ...] = ()
    across: str = ""
    without: tuple[int, ...] = ()
    turn: int = 0

    @property
    def request_id(self) -> str:
        """The id of the requests. The turn makes it new when the lake returns to an earlier state."""
        return f"{self.lake}.{self.turn}"


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
        failed = set().union(*(buckets[status] for status in _FAILURES))
        others = set().union(*(found for status, found in buckets.items() if status not in _FAILURES))
        return cls(frozenset(buckets[DagsterRunStatus.SUCCESS]), frozenset(failed - others))


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
    progress, held = Progress.read(context.cursor), held_buckets(lake, ledger)
    state = lake_state(lake, held)
    if state is None:
        return SkipReason("The lake is empty.")
    outcome = Outcome.of(context.instance, progress.request_id) if progress.running else _NOTHING
    if state != progress.lake:
        stale = stale_buckets(lake, ledger) - held.keys()
        progress = begun(progress, state, stale, outcome.succeeded, is_current=across_is_current(lake, ledger))
        outcome = _NOTHING
    return step(progress, outcome, RUNS_A_TICK if environment() is Environment.PRODUCTION else None)


def held_buckets(lake: LakeResource, ledger: LedgerResource) -> dict[int, str]:
    """Return bucket → the guarding checks that failed on it in the lake. No run is requested for it until they pass."""
    return {bucket: checks for held in Held(lake, ledger).read(WATCHED).values() for bucket, checks in held.items()}


def lake_state(lake: LakeResource, held: Iterable[int] = ()) -> str | None:
    """Return a fingerprint of the lake, of the buckets held back and of the rules of FIRST_STAGES; None if empty."""
    tables = [lake.contents(spec) for spec in WATCHED]
    if not any(tables):
        return None
    parts = (f"{bucket}:{found.fingerprint}" for contents in tables for bucket, found in sorted(contents.items()))
    return fingerprint([*(stage.version for stage in FIRST_STAGES), *parts, *map(str, sorted(held))])


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
    return Progress(state, due, (), across, (), progress.turn + 1)


def step(progress: Progress, outcome: Outcome, runs_a_tick: int | None) -> SensorResult:
    """Return the next requests: runs of due buckets, then, when all have ended, the run across buckets.

    A bucket that failed does not stop the others, and the run across buckets goes on without it: its tables are as
    they were. When its run was repeated with success, the run across buckets is requested once more. At most
    ``runs_a_tick`` runs of one bucket each, or one of all due buckets where that is None. Keys hold the lake's
    state, so that a repeated tick asks for nothing new.
    """
    if progress.due:
        requested, due = progress.due[:runs_a_tick], progress.due[runs_a_tick:] if runs_a_tick else ()
        groups = [(bucket,) for bucket in requested] if runs_a_tick else [requested]
        requests = [_request(buckets, progress.request_id) for buckets in groups]
        running = (*progress.running, *requested)
        return SensorResult(requests, cursor=replace(progress, due=due, running=running).written())
    running = tuple(bucket for bucket in progress.running if bucket not in outcome.succeeded)
    progress = replace(progress, running=running)
    failed = tuple(sorted(outcome.failed & set(running)))
    if left := sorted(set(running) - set(failed)):
        return SensorResult(skip_reason=f"Bucket {_listed(left)} is running.", cursor=progress.written())
    if progress.across == progress.lake and set(progress.without) <= set(failed):
        reason = f"Bucket {_listed(failed)} failed. Repeat its run; the others are done." if failed else _UNCHANGED
        return SensorResult(skip_reason=reason, cursor=progress.written())
    key = f"{progress.request_id}/across" + (f"/without-{_listed(failed)}" if failed else "")
    request = RunRequest(key, job_name=ACROSS_BUCKETS.name, tags=dict(all_buckets()))
    return SensorResult([request], cursor=replace(progress, across=progress.lake, without=failed).written())


def _request(buckets: Sequence[int], request_id: str) -> RunRequest:
    named = _listed(buckets)
    is_one = len(buckets) == 1
    place = {WRITES_TAG: f"bucket {named}"} if is_one else bucket_range(buckets)
    return RunRequest(
        f"{request_id}/{named}",
        job_name=BUCKET.name,
        partition_key=named if is_one else None,
        tags={LAKE_TAG: request_id, BUCKETS_TAG: named, **place},
    )


def _listed(buckets: Iterable[int]) -> str:
    return ",".join(map(str, buckets))
