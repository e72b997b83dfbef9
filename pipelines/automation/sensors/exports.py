"""The sensor of RDS snapshot exports: a run for each complete export, keyed on its id."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b

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

from assets.transforms.source.schema import SOURCE_TABLES
from pipelines.automation.sensors.cursor import Cursor
from pipelines.automation.sensors.reachability import skipped_while_unreachable
from pipelines.jobs.asset_jobs import EXTRACTION, all_buckets
from resources.raw.store import RawStoreResource
from resources.sources.rds_export import SOURCE, RdsExportResource

EXPORTS_A_TICK = 5
_DONE_IDS, _NAMED_IDS = 400, 5
_WINDOWS_BACK = 50
"""Windows to look back. An older export outside the cursor is requested again; its run finds it landed."""
_INTERVAL_SECONDS = 120
_TAG = "cippus/rds_export"


@dataclass(frozen=True)
class Inspected(Cursor):
    """The sensor's cursor, below 10 kB whatever the history.

    ``done``: short hashes of the exports that are not inspected again, because they were requested, landed, or will
    never complete. Only the newest 400 are kept; an older export is inspected again.
    ``failed``: the last exports that will never complete.
    ``after``: the export that was inspected last. The next inspection starts after it, so that unfinished exports do
    not delay the others.
    """

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    after: str = ""

    def waiting(self, listed: Iterable[str]) -> list[str]:
        """Return the ids in the order to inspect them, starting after the last one inspected."""
        ids = sorted(one for one in listed if _short(one) not in self.done)
        return [*(one for one in ids if one > self.after), *(one for one in ids if one <= self.after)]

    def with_done(self, export_id: str, *, has_failed: bool = False) -> "Inspected":
        """Return the cursor with an id that needs no further inspection."""
        failed = (*self.failed, export_id)[-_NAMED_IDS:] if has_failed else self.failed
        return replace(self, done=(*self.done, _short(export_id))[-_DONE_IDS:], failed=failed)


def _short(export_id: str) -> str:
    return blake2b(export_id.encode(), digest_size=8).hexdigest()


@sensor(
    job=EXTRACTION,
    minimum_interval_seconds=_INTERVAL_SECONDS,
    description="Starts a run for each complete RDS snapshot export that was not landed yet.",
)
@skipped_while_unreachable
def rds_exports(
    context: SensorEvaluationContext, rds_exports: RdsExportResource, raw_store: RawStoreResource
) -> SensorResult | SkipReason:
    """Inspect up to five open exports. Each costs a few metadata files and listings."""
    warn, instance = context.log.warning, context.instance
    return look(context.cursor, rds_exports, raw_store, warn, lambda ids: failed_runs(instance, ids))


def failed_runs(instance: DagsterInstance, ids: Collection[str]) -> set[str]:
    """Return the exports, of the last 400, whose newest run failed or was cancelled."""
    wanted = RunsFilter(tags={_TAG: sorted(ids)[-_DONE_IDS:]})
    newest: dict[str, DagsterRunStatus] = {}
    for run in instance.get_runs(wanted, limit=_DONE_IDS) if ids else ():  # the newest first
        newest.setdefault(run.tags[_TAG], run.status)
    return {one for one, status in newest.items() if status in (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)}


def look(
    cursor: str | None,
    exports: RdsExportResource,
    windows: RawStoreResource,
    warn: Callable[[str], None],
    runs_failed: Callable[[Collection[str]], set[str]] = lambda _ids: set(),
) -> SensorResult:
    """Return the runs to request, or a skip reason with a sentence for each inspected or failed export.

    ``warn`` gets the sentences too: a tick that requests runs has no skip reason.
    """
    inspected, listed = Inspected.read(cursor), exports.listed()
    waiting = inspected.waiting(listed)[:EXPORTS_A_TICK]
    landed = landed_ids(windows) if waiting else set()
    requests, reasons = [], []
    for export_id in waiting:
        inspected = replace(inspected, after=export_id)
        state = None if export_id in landed else exports.completeness(export_id, list(SOURCE_TABLES))
        if state is None or state.is_final:
            inspected = inspected.with_done(export_id, has_failed=state is not None and not state.is_complete)
        if state is not None and state.is_complete:
            requests.append(_request(export_id))
        elif state is not None:
            reasons.append(state.reason)
            warn(state.reason)
    if requests:
        return SensorResult(requests, cursor=inspected.written())
    never = [one for one in inspected.failed if one in listed]
    to_repeat = runs_failed(listed)
    to_repeat -= landed_ids(windows) if to_repeat else set()
    if to_repeat:
        named = ", ".join(sorted(to_repeat)[:_NAMED_IDS])
        reasons.append(f"The runs of these exports failed: {named}. Execute them again.")
    reasons = reasons or [f"All {len(listed):,} exports have landed, were requested, or will never complete."]
    reasons += [f"These exports will never complete: {', '.join(never)}."] if never else []
    return SensorResult(skip_reason=SkipReason(" ".join(reasons)), cursor=inspected.written())


def landed_ids(windows: RawStoreResource) -> set[str]:
    """Return the exports of the newest windows of which every table was landed, by whichever run."""
    found: list[set[str]] = []
    for table in SOURCE_TABLES:
        newest = windows.newest(SOURCE, table)
        after = max(newest.number - _WINDOWS_BACK, 0) if newest else 0
        found.append({window.origin for window in windows.manifests(SOURCE, table, after)} if newest else set())
    return set.intersection(*found)


def _request(export_id: str) -> RunRequest:
    config = {"ops": {f"raw__{table}": {"config": {"export_id": export_id}} for table in SOURCE_TABLES}}
    return RunRequest(export_id, run_config=config, tags={_TAG: export_id, **all_buckets()})
