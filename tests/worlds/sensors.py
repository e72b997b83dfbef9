"""A sensor as Dagster's daemon treats it: ticks that keep a cursor, and one run for every key."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    build_sensor_context,
    job,
)

from pipelines.definitions import defs

RUN_KEY = "dagster/run_key"


@job
def nothing() -> None:
    """Stands for whatever a request asks for."""


@dataclass
class Sensing:
    """One sensor on an instance. ``requested`` are the requests that made a run, ``said`` the reasons of the others."""

    sensor: SensorDefinition
    instance: DagsterInstance
    resources: Mapping[str, Any]
    cursor: str | None = None
    requested: list[RunRequest] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    longest_cursor: int = 0

    def tick(self, *, is_stored: bool = True) -> list[RunRequest]:
        """The requests that made a run, which has started. A tick whose cursor is not stored is repeated."""
        with warnings.catch_warnings():
            # Dagster 1.13.27 calls its own deprecated property for nested resources.
            warnings.filterwarnings("ignore", "InitResourceContext.dagster_run is deprecated", DeprecationWarning)
            with build_sensor_context(
                instance=self.instance,
                cursor=self.cursor,
                resources=dict(self.resources),
                repository_def=defs.get_repository_def(),
            ) as context:
                found = self.sensor.evaluate_tick(context)
        made = [request for request in found.run_requests or [] if not self._runs(request)]
        for request in made:
            self._run(request, DagsterRunStatus.STARTED)
        self.requested += made
        self.said += [found.skip_message] if found.skip_message else []
        self.longest_cursor = max(self.longest_cursor, len((found.cursor or "").encode()))
        self.cursor = found.cursor if is_stored else self.cursor
        return made

    def end(self, request: RunRequest, status: DagsterRunStatus = DagsterRunStatus.SUCCESS) -> None:
        """The run of a request ends so."""
        for run in self._runs(request):
            self.instance.delete_run(run.run_id)
        self._run(request, status)

    def repeat(self, request: RunRequest, status: DagsterRunStatus) -> None:
        """Somebody repeats the run of a request, and the repetition is in a state."""
        self._run(request, status)

    def _run(self, request: RunRequest, status: DagsterRunStatus) -> None:
        tags = {**request.tags, RUN_KEY: request.run_key or ""}
        self.instance.create_run_for_job(nothing, tags=tags, status=status)

    def _runs(self, request: RunRequest) -> list[Any]:
        return [*self.instance.get_runs(RunsFilter(tags={RUN_KEY: request.run_key or ""}))]
