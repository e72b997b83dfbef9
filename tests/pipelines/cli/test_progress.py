"""Progress of a run where nobody can see a bar move."""

import io

import pytest
from dagster import DagsterEventType
from rich.console import Console

from pipelines.cli.console import LineageProgress


@pytest.mark.parametrize("is_terminal", [False, True])
def test_each_group_that_begins_is_a_line_without_a_terminal(is_terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=is_terminal)
    progress = LineageProgress(console, 3)
    for step in ("raw__accounts", "raw__posts", "lake__posts"):
        progress.on_event(step, DagsterEventType.STEP_START, "")
        progress.on_event(step, DagsterEventType.STEP_SUCCESS, "")
    lines = ["raw: 0 of 3 steps are done", "lake: 2 of 3 steps are done"]
    assert console.file.getvalue().splitlines() == ([] if is_terminal else lines)  # type: ignore[attr-defined]
