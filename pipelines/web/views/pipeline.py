"""Pipeline: how fresh every stage is, and which checks fail."""

import datetime as dt
from dataclasses import dataclass

from dagster import AssetCheckKey, AssetCheckSeverity, AssetKey, DagsterInstance
from starlette.requests import Request
from starlette.responses import Response

from pipelines.automation.freshness import fail_windows
from pipelines.automation.problems import last_evaluation
from pipelines.web.pages import render
from pipelines.web.site import Site


@dataclass(frozen=True)
class StageState:
    """When the assets of a group were last written: the oldest and the newest, and how late the oldest is."""

    group: str
    assets: int
    never: int
    oldest: dt.datetime | None
    newest: dt.datetime | None
    state: str


@dataclass(frozen=True)
class FailedCheck:
    """A check that failed when it last had something to check."""

    asset: str
    check: str
    severity: str
    description: str
    at: dt.datetime


def show(site: Site, _request: Request) -> Response:
    """Return the page."""
    states: list[StageState] = []
    failed: list[FailedCheck] = []
    evaluated = 0
    if site.dagster is not None:
        states = stage_states(site.dagster, dt.datetime.now(dt.UTC))
        failed, evaluated = failed_checks(site.dagster)
    return render(
        "pipeline.html",
        title="Pipeline",
        has_instance=site.dagster is not None,
        states=states,
        failed=failed,
        evaluated=evaluated,
        dagster_url=site.dagster_url,
    )


def stage_states(instance: DagsterInstance, now: dt.datetime) -> list[StageState]:
    """Return the state of every group, in lineage order."""
    by_group: dict[str, list[AssetKey]] = {}
    for key in _written_assets():
        by_group.setdefault(key.path[0], []).append(key)
    every = [key for keys in by_group.values() for key in keys]
    written: dict[AssetKey, dt.datetime] = {}
    for record in instance.get_asset_records(every):
        event = record.asset_entry.last_materialization_record
        if event is not None:
            written[record.asset_entry.asset_key] = dt.datetime.fromtimestamp(event.timestamp, dt.UTC)
    states = []
    for group, keys in by_group.items():
        times = sorted(written[key] for key in keys if key in written)
        oldest, newest = (times[0], times[-1]) if times else (None, None)
        states.append(StageState(group, len(keys), len(keys) - len(times), oldest, newest, _state(keys, written, now)))
    return states


def _state(keys: list[AssetKey], written: dict[AssetKey, dt.datetime], now: dt.datetime) -> str:
    """Return the state of a group: too old if any of its assets is older than its freshness policy allows."""
    if not any(key in written for key in keys):
        return "never written"
    windows = {key: window for key, window in fail_windows().items() if key in keys}
    if not windows:
        return "no limit"
    is_too_old = any(key in written and now - written[key] > window for key, window in windows.items())
    return "too old" if is_too_old else "fresh"


def failed_checks(instance: DagsterInstance) -> tuple[list[FailedCheck], int]:
    """Return the checks that failed when they last had something to check, and how many ever had."""
    failed, evaluated = [], 0
    for key in _checks():
        event = last_evaluation(instance, key)
        if event is None or event.dagster_event is None:
            continue
        evaluated += 1
        found = event.dagster_event.asset_check_evaluation_data
        if not found.passed:
            severity = "error" if found.severity is AssetCheckSeverity.ERROR else "warning"
            at = dt.datetime.fromtimestamp(event.timestamp, dt.UTC)
            asset = key.asset_key.to_user_string()
            failed.append(FailedCheck(asset, key.name, severity, found.description or "", at))
    return sorted(failed, key=lambda each: (each.severity, each.asset, each.check)), evaluated


def _written_assets() -> list[AssetKey]:
    from assets.stages import ASSETS
    from pipelines.definitions import defs

    graph = defs.resolve_asset_graph()
    order = [key for definition in ASSETS for key in getattr(definition, "keys", [])]
    return [key for key in order if graph.get(key).is_materializable]


def _checks() -> list[AssetCheckKey]:
    from pipelines.definitions import defs

    return sorted(defs.resolve_asset_graph().asset_check_keys, key=lambda key: (key.asset_key.path, key.name))
