"""The sensor of RDS snapshot exports: a run for each complete export, keyed on its id."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Protocol

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
from pipelines.automation.sensors.reachability import skipped_while_unreachable
from pipelines.jobs.asset_jobs import EXTRACTION, all_buckets
from resources.raw.store import RawStoreResource
from resources.sources.rds_export import SOURCE, RdsExportResource

EXPORTS_A_TICK = 5
_SETTLED, _SAID = 400, 5
_WINDOWS_BACK = 50
"""Windows to look back. An older export outside the cursor is requested again; its run finds it landed."""
_INTERVAL_SECONDS = 120
_TAG = "cippus/rds_export"


class State(Protocol):
    """Whether an export is complete; if not, the reason, and whether waiting may help."""

    @property
    def is_complete(self) -> bool: ...  # noqa: D102
    @property
    def is_final(self) -> bool: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102


class Exports(Protocol):
    """Lists the exports under one prefix."""

    def listed(self) -> list[str]: ...  # noqa: D102
    def completeness(self, export_id: str, tables: Collection[str]) -> State: ...  # noqa: D102


class Window(Protocol):
    """A landed window: its number and its export."""

    @property
    def number(self) -> int: ...  # noqa: D102
    @property
    def origin(self) -> str: ...  # noqa: D102


class Windows(Protocol):
    """The landed windows of a source and table."""

    def newest(self, source: str, table: str) -> Window | None: ...  # noqa: D102
    def manifests(self, source: str, table: str, after: int = 0) -> Iterator[Window]: ...  # noqa: D102


@dataclass(frozen=True)
class Seen:
    """The sensor's cursor, below 10 kB whatever the history.

    ``settled``: short hashes of the exports that are not inspected again, because they were requested, landed, or will
    never complete. Only the newest 400 are kept; an older export is inspected again.
    ``failed``: the last exports that will never complete.
    ``after``: the export that was inspected last. The next inspection starts after it, so that unfinished exports do
    not delay the others.
    """

    settled: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    after: str = ""

    @classmethod
    def read(cls, cursor: str | None) -> "Seen":
        """Parse a cursor. Without a readable cursor, start anew and inspect every export again."""
        try:
            found = cls(**json.loads(cursor or ""))
            return cls(tuple(map(str, found.settled)), tuple(map(str, found.failed)), str(found.after))
        except (ValueError, TypeError):
            return cls()

    def written(self) -> str:
        """Return the cursor."""
        return json.dumps(asdict(self), separators=(",", ":"))

    def waiting(self, listed: Iterable[str]) -> list[str]:
        """Return the ids in the order to inspect them, starting after the last one inspected."""
        settled = set(self.settled)
        ids = sorted(one for one in listed if _short(one) not in settled)
        return [*(one for one in ids if one > self.after), *(one for one in ids if one <= self.after)]

    def settle(self, export_id: str, *, has_failed: bool = False) -> "Seen":
        """Return the cursor with an id that needs no further inspection."""
        settled = (*self.settled, _short(export_id))[-_SETTLED:]
        return replace(self, settled=settled, failed=(*self.failed, export_id)[-_SAID:] if has_failed else self.failed)


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
    return look(
        context.cursor, rds_exports, raw_store, context.log.warning, lambda ids: failed_runs(context.instance, ids)
    )


def failed_runs(instance: DagsterInstance, ids: Collection[str]) -> set[str]:
    """Return the exports, of the last 400, whose newest run failed or was cancelled."""
    wanted = RunsFilter(tags={_TAG: sorted(ids)[-_SETTLED:]})
    newest: dict[str, DagsterRunStatus] = {}
    for run in instance.get_runs(wanted, limit=_SETTLED) if ids else ():  # the newest first
        newest.setdefault(run.tags[_TAG], run.status)
    return {one for one, status in newest.items() if status in (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)}


def look(
    cursor: str | None,
    exports: Exports,
    windows: Windows,
    say: Callable[[str], None],
    runs_failed: Callable[[Collection[str]], set[str]] = lambda _ids: set(),
) -> SensorResult:
    """Return the runs to request, or a skip reason with a sentence for each inspected or failed export.

    ``say`` gets the sentences too: a tick that asks for runs has no place for them.
    """
    seen, listed = Seen.read(cursor), exports.listed()
    waiting = seen.waiting(listed)[:EXPORTS_A_TICK]
    landed = landed_ids(windows) if waiting else set()
    requests, reasons = [], []
    for export_id in waiting:
        seen = replace(seen, after=export_id)
        if export_id in landed:
            seen = seen.settle(export_id)
            continue
        state = exports.completeness(export_id, list(SOURCE_TABLES))
        if state.is_complete:
            seen = seen.settle(export_id)
            requests.append(_request(export_id))
        else:
            reasons.append(state.reason)
            say(state.reason)
            seen = seen.settle(export_id, has_failed=True) if state.is_final else seen
    if requests:
        return SensorResult(requests, cursor=seen.written())
    still = [one for one in seen.failed if one in listed]
    failed = [f"These exports will never complete: {', '.join(still)}."] if still else []
    in_vain = runs_failed(listed)
    in_vain -= landed_ids(windows) if in_vain else set()
    if in_vain:
        told = ", ".join(sorted(in_vain)[:_SAID])
        reasons.append(f"The runs of these exports failed: {told}. Execute them again.")
    known = [f"All {len(listed):,} exports have landed, were requested, or will never complete."] if not reasons else []
    return SensorResult(skip_reason=SkipReason(" ".join([*reasons, *known, *failed])), cursor=seen.written())


def landed_ids(windows: Windows) -> set[str]:
    """Return the exports of the newest windows of which every table was landed, by whichever run."""
    found: list[set[str]] = []
    for table in SOURCE_TABLES:
        newest = windows.newest(SOURCE, table)
        after = max(newest.number - _WINDOWS_BACK, 0) if newest else 0
        found.append({window.origin for window in windows.manifests(SOURCE, table, after)} if newest else set())
    return set.intersection(*found)


def _request(export_id: str) -> RunRequest:
    tables: Sequence[str] = list(SOURCE_TABLES)
    config = {"ops": {f"raw__{table}": {"config": {"export_id": export_id}} for table in tables}}
    return RunRequest(export_id, run_config=config, tags={_TAG: export_id, **all_buckets()})
