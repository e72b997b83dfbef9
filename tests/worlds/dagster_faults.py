"""Misconfigurations of Dagster's instance, planted as `cippus doctor` must find them."""

import json
import time
from typing import Any

from dagster import DagsterInstance, DagsterRunStatus, deserialize_value, job, op, serialize_value

from pipelines.cli.diagnosis.code_location import automation, repository

EVERYTHING = sorted(automation())
SENSOR = min(found.name for found in repository().sensor_defs)
SCHEDULE = min(set(EVERYTHING) - {found.name for found in repository().sensor_defs})
POOL = min(
    pool
    for key in repository().asset_graph.executable_asset_keys
    for pool in repository().asset_graph.get(key).pools or ()
)


@op
def wait() -> None: ...


@job
def waiting() -> None:
    wait()


def _state(name: str, status: str, **data: Any) -> Any:
    """The state of a schedule or sensor as Dagster stores it; its class is in a private module."""
    kind = "SCHEDULE" if name == SCHEDULE else "SENSOR"
    given = {
        "__class__": f"{kind.title()}InstigatorData",
        **({"cron_schedule": "0 * * * *"} if name == SCHEDULE else {}),
    }
    target = {"__class__": "LoadableTargetOrigin", "module_name": "pipelines.definitions"}
    place = {
        "__class__": "ManagedGrpcPythonEnvRepositoryLocationOrigin",
        "loadable_target_origin": target,
        "location_name": "pipelines.definitions",
    }
    home = {
        "__class__": "ExternalRepositoryOrigin",
        "repository_location_origin": place,
        "repository_name": "__repository__",
    }
    stored = {
        "__class__": "InstigatorState",
        "job_specific_data": {**given, **data},
        "job_type": {"__enum__": f"InstigatorType.{kind}"},
        "origin": {"__class__": "ExternalJobOrigin", "external_repository_origin": home, "job_name": name},
        "status": {"__enum__": f"InstigatorStatus.{status}"},
    }
    return deserialize_value(json.dumps(stored))


def enqueue(instance: DagsterInstance) -> None:
    home = _state(SENSOR, "RUNNING").origin.repository_origin
    place = json.loads(serialize_value(home))
    stored = {"__class__": "ExternalPipelineOrigin", "external_repository_origin": place, "pipeline_name": "waiting"}
    origin: Any = deserialize_value(json.dumps(stored))
    instance.create_run_for_job(waiting, status=DagsterRunStatus.QUEUED, remote_job_origin=origin)


def _error(text: str) -> dict[str, Any]:
    return {"__class__": "SerializableErrorInfo", "message": text, "stack": [], "cls_name": None, "cause": None}


def heard(instance: DagsterInstance, part: str = "SENSOR", seconds_ago: float = 0, error: str = "") -> None:
    """Let a part of the daemon report."""
    stored = {
        "__class__": "DaemonHeartbeat",
        "daemon_id": "one",
        "daemon_type": part,
        "errors": [_error(error)] if error else [],
        "timestamp": time.time() - seconds_ago,
    }
    instance.add_daemon_heartbeat(deserialize_value(json.dumps(stored)))  # type: ignore[arg-type]


def turn_on(instance: DagsterInstance, *names: str, **data: Any) -> None:
    for name in names:
        given = {} if name == SCHEDULE else {"last_tick_timestamp": time.time(), "min_interval": 60, **data}
        instance.add_instigator_state(_state(name, "RUNNING", **given))


def tick_failed(instance: DagsterInstance, name: str) -> None:
    state = _state(name, "RUNNING")
    stored = {
        "__class__": "TickData",
        "instigator_origin_id": state.instigator_origin_id,
        "job_origin_id": state.instigator_origin_id,
        "job_name": name,
        "job_type": {"__enum__": f"InstigatorType.{state.instigator_type.name}"},
        "selector_id": state.selector_id,
        "status": {"__enum__": "TickStatus.FAILURE"},
        "timestamp": time.time(),
        "error": _error("\nAccessDenied: no right to list.\nStack"),
    }
    instance.create_tick(deserialize_value(json.dumps(stored)))  # type: ignore[arg-type]


def nothing_runs(instance: DagsterInstance) -> None:
    turn_on(instance, *EVERYTHING)


def a_daemon_that_ended(instance: DagsterInstance) -> None:
    nothing_runs(instance)
    heard(instance, seconds_ago=4_000)


def a_queue_without_a_daemon(instance: DagsterInstance) -> None:
    enqueue(instance)


def a_silent_part(instance: DagsterInstance) -> None:
    heard(instance)
    heard(instance, "SCHEDULER", seconds_ago=4_000)


def a_part_with_an_error(instance: DagsterInstance) -> None:
    heard(instance, error="Could not reach the code location.\nStack")


def a_sensor_that_is_off(instance: DagsterInstance) -> None:
    heard(instance)
    turn_on(instance, *(name for name in EVERYTHING if name != SENSOR))
    instance.add_instigator_state(_state(SENSOR, "STOPPED"))


def a_schedule_that_is_off(instance: DagsterInstance) -> None:
    heard(instance)
    turn_on(instance, *(name for name in EVERYTHING if name != SCHEDULE))


def a_sensor_that_fails(instance: DagsterInstance) -> None:
    heard(instance)
    turn_on(instance, *EVERYTHING)
    tick_failed(instance, SENSOR)


def a_schedule_that_fails(instance: DagsterInstance) -> None:
    heard(instance)
    turn_on(instance, *EVERYTHING)
    tick_failed(instance, SCHEDULE)


def a_stale_cursor(instance: DagsterInstance) -> None:
    heard(instance)
    turn_on(instance, *(name for name in EVERYTHING if name != SENSOR))
    turn_on(instance, SENSOR, last_tick_timestamp=time.time() - 90_000)


def a_cursor_that_never_moved(instance: DagsterInstance) -> None:
    heard(instance)
    turn_on(instance, *(name for name in EVERYTHING if name != SENSOR))
    turn_on(instance, SENSOR, last_tick_timestamp=None, last_sensor_start_timestamp=time.time() - 90_000)


def a_sensor_of_another_version(instance: DagsterInstance) -> None:
    heard(instance)
    turn_on(instance, *EVERYTHING, "hourly_lineage")


def a_run_that_waits_for_hours(instance: DagsterInstance) -> None:
    heard(instance)
    enqueue(instance)


def a_pool_that_lets_nothing_in(instance: DagsterInstance) -> None:
    instance.event_log_storage.set_concurrency_slots(POOL, 0)


def a_place_held_by_a_run_that_ended(instance: DagsterInstance) -> None:
    run = instance.create_run_for_job(waiting)
    instance.report_run_canceled(run, "It was killed.")
    instance.event_log_storage.initialize_concurrency_limit_to_default(POOL)
    instance.event_log_storage.claim_concurrency_slot(POOL, run.run_id, "wait")
