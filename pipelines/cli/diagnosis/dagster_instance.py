"""Dagster's instance: the daemon, schedules and sensors, their cursors, queued runs and pools."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter, SensorDefinition

from pipelines.cli.diagnosis.code_location import automation, repository
from pipelines.cli.diagnosis.registry import Finding, Parts, Status, diagnosis
from resources.errors import PermanentFailure
from resources.settings import Environment, dagster_home, environment

SILENT_SECONDS = 300
"""A daemon reports every 30 seconds."""
QUEUED_SECONDS = 3600
_FEWEST_STALE_SECONDS, _STALE_INTERVALS = 900, 10
_FIX = "Correct dagster.yaml, or start Dagster's database."
_SHOWN_RUNS = 5
_State = Any
"""The stored state of a schedule or sensor. Its class is in a private module of Dagster."""


class InstanceError(PermanentFailure):
    """Dagster's instance cannot be opened."""


def _folder(parts: Parts) -> Path | None:
    """Return the folder of the instance, None where there is none."""
    folder = dagster_home() if environment() is Environment.PRODUCTION else parts.home / "dagster"
    return folder if folder is not None and (folder / "dagster.yaml").exists() else None


@contextmanager
def _opened(folder: Path) -> Iterator[DagsterInstance]:
    try:
        instance = DagsterInstance.from_config(str(folder))
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InstanceError(f"The Dagster instance of {folder} does not open: {reason}") from error
    with instance:
        yield instance


@diagnosis("Dagster", _FIX, Status.WARNING)
def instance_state(parts: Parts) -> Iterator[Finding]:
    """Test what starts and limits runs: the daemon, schedules and sensors, the queue, pools."""
    folder, is_production = _folder(parts), environment() is Environment.PRODUCTION
    if folder is None and is_production:
        text = "There is no dagster.yaml here, so the daemon, schedules, sensors and pools were not tested."
        yield Finding.warning(text, "Run cippus doctor in a run's pod, or where DAGSTER_HOME is the instance's folder.")
    elif folder is None:
        yield Finding.ok("There is no Dagster instance yet; the first run or cippus dev makes it.")
    else:
        with _opened(folder) as instance:
            states = {state.instigator_name: state for state in instance.all_instigator_state()}
            known = automation()
            on = {name: states.get(name) for name in known if _is_on(known[name], states.get(name))}
            runs = list(instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.QUEUED]), limit=_SHOWN_RUNS))
            yield from _daemon(instance, is_needed=bool(on or runs or is_production))
            yield from _automation(known, on, is_production=is_production)
            yield from _ticks(instance, known, {name: state for name, state in on.items() if state is not None})
            yield from _left_over(known, states)
            yield from _queue(instance)
            yield from _pools(instance)


def _is_on(defined: Any, state: _State) -> bool:
    status = defined.default_status.value if state is None else state.status.value
    return bool((defined.default_status.value if status == "DECLARED_IN_CODE" else status) == "RUNNING")


def _daemon(instance: DagsterInstance, *, is_needed: bool) -> Iterator[Finding]:
    now, found = time.time(), instance.get_daemon_heartbeats()
    silent = {name: now - beat.timestamp for name, beat in found.items() if now - beat.timestamp > SILENT_SECONDS}
    if len(silent) == len(found):
        text = "No Dagster daemon runs"
        if is_needed:
            fix = "Start it: locally with cippus dev, on Kubernetes with the deployment of the daemon."
            yield Finding.error(f"{text}, so no schedule, sensor or queued run starts.", fix)
        else:
            yield Finding.ok(f"{text}, and nothing waits for one.")
        return
    for name, seconds in sorted(silent.items()):
        text = f"The daemon's part {name} has been silent for {seconds:,.0f} seconds, and other parts run."
        yield Finding.error(text, "Restart the daemon; its log says why this part ended.")
    for name, beat in sorted(found.items()):
        for error in (beat.errors or ())[:1] if name not in silent else ():
            text = f"The daemon's part {name} reports: {_first_line(error.message)}"
            yield Finding.error(text, "Correct the cause that the daemon's log shows.")
    if not silent:
        yield Finding.ok("The Dagster daemon runs.")


def _automation(known: Mapping[str, Any], on: Mapping[str, Any], *, is_production: bool) -> Iterator[Finding]:
    off = sorted(set(known) - set(on))
    if off and (on or is_production):
        text = f"These schedules and sensors are off: {', '.join(off)}."
        yield Finding.warning(text, "Turn them on in the UI, under Automation, unless somebody else starts these runs.")
    elif off:
        yield Finding.ok(f"All {len(off)} schedules and sensors are off; runs start by hand.")
    else:
        yield Finding.ok(f"All {len(on)} schedules and sensors are on.")


def _ticks(instance: DagsterInstance, known: Mapping[str, Any], states: Mapping[str, _State]) -> Iterator[Finding]:
    for name, state in sorted(states.items()):
        newest = next(iter(instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)), None)
        if newest is not None and newest.status.value == "FAILURE":
            reason = _first_line(newest.error.message) if newest.error else "no reason is stored"
            yield Finding.error(
                f"The last tick of {name} failed: {reason}", "Correct the cause; the next tick repeats it."
            )
            continue
        sensor, data = known[name], state.instigator_data
        if not isinstance(sensor, SensorDefinition) or data is None:
            continue
        interval = sensor.minimum_interval_seconds or 30
        since = max(filter(None, (data.last_tick_timestamp, data.last_sensor_start_timestamp)), default=None)
        age = 0 if since is None else time.time() - since
        if age > max(_FEWEST_STALE_SECONDS, _STALE_INTERVALS * interval):
            text = f"The cursor of {name} is stale: its last tick was {age:,.0f} seconds ago, not {interval}."
            yield Finding.error(text, f"Look for its tick in the daemon's log, and turn {name} off and on in the UI.")


def _left_over(known: Mapping[str, Any], states: Mapping[str, _State]) -> Iterator[Finding]:
    for name in sorted(name for name in set(states) - set(known) if states[name].status.value == "RUNNING"):
        text = f"{name} is on, with its cursor, but the code location has no such schedule or sensor."
        yield Finding.warning(text, f"Turn {name} off in the UI, under Automation, or deploy the version that has it.")


def _queue(instance: DagsterInstance) -> Iterator[Finding]:
    waiting = instance.get_run_records(RunsFilter(statuses=[DagsterRunStatus.QUEUED]), limit=1, ascending=True)
    for record in waiting:
        run, seconds = record.dagster_run, time.time() - record.create_timestamp.timestamp()
        if seconds > QUEUED_SECONDS:
            text = f"Run {run.run_id} of {run.job_name} has been queued for {seconds:,.0f} seconds."
            fix = "Look at what holds its pools and the place of its tag, under Deployment, Concurrency."
            yield Finding.warning(text, fix)


def _pools(instance: DagsterInstance) -> Iterator[Finding]:
    """Test the pools of the assets: each has a limit above 0, and no run that has ended holds a place."""
    graph, storage = repository().asset_graph, instance.event_log_storage
    pools = sorted({pool for key in graph.executable_asset_keys for pool in graph.get(key).pools or ()})
    wrong = 0
    for pool in pools:
        info = storage.get_concurrency_info(pool)
        held = {slot.run_id for slot in info.claimed_slots}
        ended = sorted(run_id for run_id in held if (run := instance.get_run_by_id(run_id)) is None or run.is_finished)
        wrong += bool(ended) or not info.limit
        if info.limit is None:
            text = f"Pool {pool} has no limit, so runs may write the same data at the same time."
            yield Finding.error(text, "Set concurrency.pools.default_limit to 1 in dagster.yaml.")
        elif info.limit == 0:
            text = f"Pool {pool} has the limit 0, so its steps never start."
            yield Finding.error(text, f"dagster instance concurrency set {pool} 1")
        for run_id in ended:
            text = f"Run {run_id} has ended and still holds a place in pool {pool}, for which other runs wait."
            yield Finding.error(
                text, "Free its slots in the UI, under Deployment, Concurrency; turn run_monitoring on."
            )
    if not wrong:
        yield Finding.ok(f"{len(pools)} pools have a limit, and no run that has ended holds a place.")


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no message")
