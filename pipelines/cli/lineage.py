"""Running the lineage or its checks in this process, on the local Dagster instance, where the UI shows them too."""

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    Definitions,
    ExecuteInProcessResult,
    MetadataValue,
    RunsFilter,
    TableMetadataValue,
)
from rich.console import Console

from pipelines.cli.console import LineageProgress
from pipelines.definitions import defs
from pipelines.jobs.asset_jobs import CHECKS, LINEAGE, all_buckets
from pipelines.local.run_lock import only_run
from resources.s3 import usage
from resources.s3.governor.process import GovernorGoneError

_PID_TAG = "cippus/pid"
_OWN_CLASS = re.compile(r"^(pipelines|assets|resources)\.[\w.]+: ")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
INSTANCE_SETTINGS: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    "concurrency": {"runs": {"max_concurrent_runs": 1}, "pools": {"default_limit": 1, "granularity": "op"}},
}
"""The local instance: nothing is sent anywhere, and the runs that sensors ask for do not write the same at a time."""


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
    """The folder of the home's Dagster instance, with its settings written; `dagster dev` uses it as DAGSTER_HOME."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dagster.yaml").write_text(yaml.safe_dump(INSTANCE_SETTINGS))
    return folder


def _close_abandoned(instance: DagsterInstance) -> None:
    """Mark runs as failed whose process was killed; the run lock says that nobody else is running.

    A killed step keeps its place in its pool, for which the next run would wait for ever.
    """
    for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED, DagsterRunStatus.STARTING])):
        if _PID_TAG in run.tags:
            instance.report_run_failed(run, f"Process {run.tags[_PID_TAG]} ended without finishing this run.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _execute(home: Path, job_name: str, console: Console, tags: dict[str, str]) -> tuple[ExecuteInProcessResult, float]:
    """Run a job; the caller holds the run lock."""
    steps = len(defs.resolve_job_def(job_name).nodes)
    progress = LineageProgress(console, steps)
    observed = Definitions.merge(defs, Definitions(loggers={"progress": progress.logger()}))
    with (
        DagsterInstance.from_config(str(instance_folder(home))) as instance,
        progress.progress,
    ):
        _close_abandoned(instance)
        started = time.monotonic()
        result = observed.resolve_job_def(job_name).execute_in_process(
            instance=instance,
            tags={**tags, _PID_TAG: str(os.getpid())},
            run_config={"loggers": {"progress": {}}},
            raise_on_error=False,
        )
        return result, time.monotonic() - started


def run_lineage(home: Path, console: Console) -> LineageReport:
    """Materialize every asset once, all buckets in this process. Failures are in the report, not raised."""
    with only_run(home):
        result, seconds = _execute(home, LINEAGE.name, console, dict(all_buckets()))
    assets: dict[str, dict[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        key = event.asset_key.to_user_string() if event.asset_key else ""
        assets[key] = {name: _plain(value) for name, value in event.materialization.metadata.items()}
    return LineageReport(round(seconds, 3), assets, _failures(result))


def settle(home: Path, job_name: str, console: Console) -> dict[str, str]:
    """Run a job of some stages for a caller that holds the run lock; returns what failed (step → error)."""
    result, _ = _execute(home, job_name, console, dict(all_buckets()))
    return _failures(result)


def run_checks(home: Path, console: Console) -> tuple[list[CheckOutcome], dict[str, str]]:
    """Evaluate every asset check; returns the outcomes and the checks that could not be evaluated, with why."""
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


def _plain(value: MetadataValue[Any]) -> Any:
    """A metadata value as JSON values; a table is a list of its records."""
    return [record.data for record in value.records] if isinstance(value, TableMetadataValue) else value.value


def _failures(result: ExecuteInProcessResult) -> dict[str, str]:
    """Step → the innermost error in one line, or that the governor is gone, which errors of clients do not say."""
    found, gone = {}, usage.lost()
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None and error.cause is not None and error.cls_name != GovernorGoneError.__name__:
            error = error.cause
        message = _ANSI.sub("", error.message).strip() if error else ""
        message = _OWN_CLASS.sub("", message)
        found[(event.step_key or "").replace("__", "/")] = message.splitlines()[0] if message else "unknown error"
    if gone is not None and not any(str(gone) in message for message in found.values()):
        found = dict.fromkeys(found, str(gone))  # a check, whose errors are the clients'
    return found
