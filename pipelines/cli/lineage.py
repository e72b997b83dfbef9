"""Run the lineage or its checks in this process, on the local Dagster instance, so that the UI shows the runs."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dagster import (
    AssetCheckSeverity,
    DagsterEvent,
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    ExecuteInProcessResult,
    MetadataValue,
    RunsFilter,
    TableMetadataValue,
)
from rich.console import Console

from assets.framework.pictures import PLOTS
from assets.framework.reporting import run_totals
from pipelines.automation.problems import STOPPED_BY_CHECK
from pipelines.cli.console import LineageProgress
from pipelines.cli.supervisor import on_stop
from pipelines.definitions import defs
from pipelines.jobs.asset_jobs import CHECKS, LINEAGE, all_buckets
from pipelines.local.run_lock import RunInProgressError, only_run, only_ui
from resources.s3 import usage
from resources.s3.governor.process import GovernorGoneError

_PID_TAG = "cippus/pid"
CODE_LOCATION = "pipelines.definitions"
"""Name of the code location that `cippus dev` and `workspace.yaml` serve: that of its module."""
_OF_CODE_LOCATION = {".dagster/repository": f"__repository__@{CODE_LOCATION}"}
"""Tag by which the UI finds the runs of a job. Dagster sets it on runs that it launches, not on runs in process."""
_ACTIVE = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
_OWN_CLASS = re.compile(r"^(pipelines|assets|resources)\.[\w.]+: ")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
INSTANCE_SETTINGS: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    "concurrency": {"runs": {"max_concurrent_runs": 1}, "pools": {"default_limit": 1, "granularity": "op"}},
    "code_servers": {"local_startup_timeout": 900},
}
"""Settings of the local instance: no telemetry, one run at a time, and patience while a busy machine loads the code."""
_ONE_DATABASE = {"module": "dagster.core.storage.event_log", "class": "ConsolidatedSqliteEventLogStorage"}
"""The event log that Dagster documents for one machine: an event of an asset is written once, not also per run. It
takes a fifth less time than the default."""


@dataclass(frozen=True)
class LineageReport:
    """One run: wall seconds, asset key → metadata in execution order, and what failed (step → error)."""

    wall_seconds: float
    assets: dict[str, dict[str, Any]]
    failures: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {"wall_seconds": self.wall_seconds, "assets": self.assets, "failures": self.failures}


@dataclass(frozen=True)
class CheckOutcome:
    """One asset check's evaluation."""

    asset: str
    check: str
    passed: bool
    severity: str
    description: str


def instance_folder(home: Path) -> Path:
    """Return the folder of the home's Dagster instance (DAGSTER_HOME); write its settings."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    events = {**_ONE_DATABASE, "config": {"base_dir": str(folder / "events")}}
    (folder / "dagster.yaml").write_text(yaml.safe_dump({**INSTANCE_SETTINGS, "event_log_storage": events}))
    return folder


def _close_abandoned(instance: DagsterInstance, *, of_commands: bool) -> None:
    """Mark runs as failed whose process was killed: those of commands, or those of the UI.

    The caller holds the lock of these, so none is active. A killed step keeps its slot in its pool, and the next run
    would wait for it for ever. The UI starts no run while another one counts as active.
    """
    for run in instance.get_runs(RunsFilter(statuses=_ACTIVE)):
        if (_PID_TAG in run.tags) is of_commands:
            instance.report_run_failed(run, "The process of this run ended without finishing it.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _cancel_own(instance: DagsterInstance) -> None:
    """Mark the run of this process as canceled, so that the UI shows no run that nobody works on."""
    for run in instance.get_runs(RunsFilter(tags={_PID_TAG: str(os.getpid())}, statuses=_ACTIVE)):
        instance.report_run_canceled(run, "The command was stopped by a signal.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _execute(home: Path, job_name: str, console: Console, tags: dict[str, str]) -> tuple[ExecuteInProcessResult, float]:
    """Run a job. The caller holds the run lock."""
    steps = len(defs.resolve_job_def(job_name).nodes)
    progress = LineageProgress(console, steps)
    observed = Definitions.merge(defs, Definitions(loggers={"progress": progress.logger()}))
    with (
        DagsterInstance.from_config(str(instance_folder(home))) as instance,
        progress.progress,
        on_stop(lambda: _cancel_own(instance)),
    ):
        _close_abandoned(instance, of_commands=True)
        with suppress(RunInProgressError), only_ui(home):
            _close_abandoned(instance, of_commands=False)
        started = time.monotonic()
        result = observed.resolve_job_def(job_name).execute_in_process(
            instance=instance,
            tags={**tags, **_OF_CODE_LOCATION, _PID_TAG: str(os.getpid())},
            run_config={"loggers": {"progress": {}}},
            raise_on_error=False,
        )
        return result, time.monotonic() - started


def run_lineage(home: Path, console: Console) -> LineageReport:
    """Materialize every asset once, with all buckets. Failures are in the report, not raised."""
    with only_run(home):
        result, seconds = _execute(home, LINEAGE.name, console, dict(all_buckets()))
    assets = {
        key: {name: _plain(value) for name, value in metadata.items() if name != PLOTS}
        for key, metadata in run_totals(result).items()
    }
    return LineageReport(round(seconds, 3), assets, _failures(result) | _failed_checks(result))


def settle(home: Path, job_name: str, console: Console) -> dict[str, str]:
    """Run a job for a caller that holds the run lock. Return its failures (step → error)."""
    result, _ = _execute(home, job_name, console, dict(all_buckets()))
    return _failures(result) | _failed_checks(result)


def run_checks(home: Path, console: Console) -> tuple[list[CheckOutcome], dict[str, str]]:
    """Run every asset check. Return the outcomes, and the checks that could not run (step → error)."""
    with only_run(home):
        result, _ = _execute(home, CHECKS.name, console, {})
    outcomes = [
        CheckOutcome(
            found.asset_key.to_user_string(),
            found.check_name,
            found.passed,
            found.severity.value,
            found.description or "",
        )
        for found in result.get_asset_check_evaluations()
    ]
    return outcomes, _failures(result)


@contextmanager
def serving_ui(home: Path) -> Iterator[Path]:
    """Yield the folder of the home's Dagster instance, for the one UI that serves it. Raise RunInProgressError."""
    with only_ui(home):
        folder = instance_folder(home)
        with DagsterInstance.from_config(str(folder)) as instance:
            _close_abandoned(instance, of_commands=False)
            with suppress(RunInProgressError), only_run(home):
                _close_abandoned(instance, of_commands=True)
        yield folder


def _plain(value: MetadataValue[Any]) -> Any:
    """Return a metadata value as JSON values; a table as a list of its records."""
    return [record.data for record in value.records] if isinstance(value, TableMetadataValue) else value.value


def _failures(result: ExecuteInProcessResult) -> dict[str, str]:
    """Return step → error in one line. A lost governor takes precedence over the clients' errors."""
    found, gone = {}, usage.lost()
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        if error is not None and error.cls_name == STOPPED_BY_CHECK:
            continue  # the check has a result of its own
        found[(event.step_key or "").replace("__", "/")] = _sentence(event)
    if gone is not None and not any(str(gone) in message for message in found.values()):
        found = dict.fromkeys(found, str(gone))  # a check, whose errors are the clients'
    return found


def _failed_checks(result: ExecuteInProcessResult) -> dict[str, str]:
    """Return asset:check → what it found, for checks of severity ERROR that failed in a run of assets."""
    return {
        f"{found.asset_key.to_user_string()}:{found.check_name}": found.description or "failed"
        for found in result.get_asset_check_evaluations()
        if not found.passed and found.severity is AssetCheckSeverity.ERROR
    }


def _sentence(event: DagsterEvent) -> str:
    """Return the first line of the error that says most: a lost governor, Cippus' own sentence, or the first cause."""
    failure = event.step_failure_data
    errors, error = [], failure.error
    while error is not None:
        errors.append(error)
        error = error.cause
    lost = [each for each in errors if each.cls_name == GovernorGoneError.__name__]
    own = [each for each in errors if _OWN_CLASS.match(each.message)]
    described = failure.user_failure_data.description if failure.user_failure_data else None
    if not described or lost:
        described = (lost or own or errors[-1:])[0].message if errors else ""
    message = _OWN_CLASS.sub("", _ANSI.sub("", described).strip())
    return message.splitlines()[0] if message else "unknown error"
