"""A progress bar for a run in this process."""

import logging
from collections.abc import Callable

from dagster import DagsterEventType, InitLoggerContext, LoggerDefinition
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from pipelines.cli.terminal import shown

STEP_ENDS = {DagsterEventType.STEP_SUCCESS, DagsterEventType.STEP_FAILURE, DagsterEventType.STEP_SKIPPED}


class _ProgressHandler(logging.Handler):
    def __init__(self, on_event: Callable[[str, DagsterEventType | None, str], None]) -> None:
        super().__init__(logging.INFO)
        self.on_event = on_event
        self.setLevel(logging.DEBUG)

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", None) or {}
        event = meta.get("dagster_event")
        self.on_event(meta.get("step_key") or "", event.event_type if event else None, str(meta.get("orig_message")))


class LineageProgress:
    """A progress bar over the steps of a run, with the last message of the running step.

    Without a terminal, a line for each group of steps that begins.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self._console, self._steps, self._done, self._begun = console, steps, 0, set[str]()
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[message]}"),
            console=console,
            transient=True,
        )
        self.task = self.progress.add_task("lineage", total=steps, message="")

    def on_event(self, step: str, kind: DagsterEventType | None, message: str) -> None:
        """Update the bar with an event of the run."""
        name = shown(step.replace("__", "/"))
        if kind is DagsterEventType.STEP_START:
            self.progress.update(self.task, description=name, message="")
            self._say(name.partition("/")[0])
        elif kind in STEP_ENDS:
            self._done += 1
            self.progress.advance(self.task)
        elif kind is None and step:
            self.progress.update(self.task, message=shown(message))

    def _say(self, group: str) -> None:
        if not self._console.is_terminal and group not in self._begun:
            self._begun.add(group)
            self._console.print(f"{group}: {self._done} of {self._steps} steps are done", highlight=False)

    def logger(self) -> LoggerDefinition:
        """Return a Dagster logger that updates this bar and prints nothing."""

        def make(_: InitLoggerContext) -> logging.Logger:
            made = logging.Logger("cippus", logging.DEBUG)
            made.addHandler(_ProgressHandler(self.on_event))
            return made

        return LoggerDefinition(make)
