"""Find the problems that people are alerted to: failed runs, failed checks, missed freshness, runs that do not end.

All are states that the Dagster instance knows, so a problem ends when its state does.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dagster import (
    AssetCheckKey,
    AssetCheckSeverity,
    AssetKey,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    EventLogEntry,
    RunRecord,
    RunsFilter,
)

_WINDOW = timedelta(days=7)
"""A failed run that nobody repeats counts for so long."""
_MOST_RUNS, _RUNS_LOOKED_AT = 500, 20
_ENDED = {DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}
_PLACES = ("dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
_WILL_RETRY = "dagster/will_retry"
STOPPED_BY_CHECK = "DagsterAssetCheckFailedError"
"""Class of the error of a step whose guarding check failed."""


@dataclass
class Problems:
    """``found``: key of a problem → one sentence. ``unknown``: keys whose state is being determined."""

    found: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)


def problems(
    instance: DagsterInstance, checks: Iterable[AssetCheckKey], windows: Mapping[AssetKey, timedelta],
    stalled: timedelta, now: datetime,
) -> Problems:  # fmt: skip
    """Return all problems. ``windows``: asset → its age from which it is late."""
    found = Problems()
    records = instance.get_run_records(RunsFilter(updated_after=now - _WINDOW), limit=_MOST_RUNS)
    _add_failed_runs(found, instance, records)
    _add_stalled(found, records, stalled, now)
    _add_failed_checks(found, instance, checks)
    _add_late_assets(found, instance, windows, now)
    return found


def _add_failed_runs(found: Problems, instance: DagsterInstance, records: Iterable[RunRecord]) -> None:
    """Add each job and place whose newest finished run failed. A run that a check stopped is the check's problem."""
    seen = set[str]()
    for run in (record.dagster_run for record in records):  # the newest first
        key = f"run {_named(run)}"
        if run.status not in _ENDED or key in seen:
            continue
        seen.add(key)
        if run.status is not DagsterRunStatus.FAILURE:
            continue
        if run.tags.get(_WILL_RETRY) == "true":
            found.unknown.add(key)
        elif not _is_stopped_by_check(instance, run):
            found.found[key] = f"Run {run.run_id[:8]} of {_named(run)} failed. Open it in the UI; it names the step."


def _is_stopped_by_check(instance: DagsterInstance, run: DagsterRun) -> bool:
    events = [log.dagster_event for log in instance.all_logs(run.run_id, of_type=DagsterEventType.STEP_FAILURE)]
    errors = [event.step_failure_data.error for event in events if event is not None]
    return bool(errors) and all(error is not None and error.cls_name == STOPPED_BY_CHECK for error in errors)


def _named(run: DagsterRun) -> str:
    place = "-".join(dict.fromkeys(run.tags[tag] for tag in _PLACES if tag in run.tags))
    assets = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ())) if _is_ad_hoc(run) else ""
    return " ".join(filter(None, (run.job_name, assets, f"for buckets {place}" if place else "")))


def _is_ad_hoc(run: DagsterRun) -> bool:
    return run.job_name.startswith("__")


def _add_stalled(found: Problems, records: Iterable[RunRecord], stalled: timedelta, now: datetime) -> None:
    for record in records:
        run = record.dagster_run
        age = now - record.create_timestamp.replace(tzinfo=UTC)
        if run.status not in _ENDED and age > stalled:
            hours, state = age.total_seconds() / 3600, run.status.value.lower()
            found.found[f"stalled {run.run_id}"] = (
                f"Run {run.run_id[:8]} of {_named(run)} is {state} since {hours:.0f} hours: its buckets do not go on. "
                "Look for a queue that is full, a pod that hangs, or end the run."
            )


def _add_failed_checks(found: Problems, instance: DagsterInstance, checks: Iterable[AssetCheckKey]) -> None:
    for check in checks:
        events = _events(instance, check)
        key = f"check {check.to_user_string()}"
        if not events or events[0] is None:
            continue
        if events[0].dagster_event_type is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
            run = instance.get_run_by_id(events[0].run_id)
            if run is not None and not run.is_finished:
                found.unknown.add(key)
                continue
        evaluation = _evaluation(events)
        if evaluation is None or evaluation.dagster_event is None:
            continue
        result = evaluation.dagster_event.asset_check_evaluation_data
        if not result.passed and result.severity is AssetCheckSeverity.ERROR:
            found.found[key] = f"Check {check.to_user_string()} failed: {result.description or 'no description'}"


def last_evaluation(instance: DagsterInstance, check: AssetCheckKey) -> EventLogEntry | None:
    """Return a check's last evaluation; None if it has none.

    A run plans each check, and evaluates it if there is something to check. Without anything the last result stands.
    """
    return _evaluation(_events(instance, check))


def _events(instance: DagsterInstance, check: AssetCheckKey) -> list[EventLogEntry | None]:
    """Return what the last runs recorded of a check, newest first: that it is planned, or its evaluation."""
    history = instance.event_log_storage.get_asset_check_execution_history(check, _RUNS_LOOKED_AT)
    return [record.event for record in history]


def _evaluation(events: Iterable[EventLogEntry | None]) -> EventLogEntry | None:
    evaluated = DagsterEventType.ASSET_CHECK_EVALUATION
    return next((event for event in events if event and event.dagster_event_type is evaluated), None)


def _add_late_assets(
    found: Problems, instance: DagsterInstance, windows: Mapping[AssetKey, timedelta], now: datetime
) -> None:
    for asset, window in windows.items():
        event = instance.get_latest_materialization_event(asset)
        if event is None:
            continue  # it never ran here
        age = now - datetime.fromtimestamp(event.timestamp, UTC)
        if age > window:
            hours, most = (span.total_seconds() / 3600 for span in (age, window))
            found.found[f"late {asset.to_user_string()}"] = (
                f"{asset.to_user_string()} was last updated {hours:.0f} hours ago; at most {most:.0f} are promised. "
                "See whether its schedule or sensor is on and its runs succeed."
            )
