"""`cippus doctor`: test every connection and permission, and show what is silent."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from pipelines.cli.terminal import Json, err, out, print_json, shown

if TYPE_CHECKING:
    from pipelines.cli.diagnosis.registry import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def doctor(as_json: Json = False) -> None:
    """Test connections, permissions, versions, clocks and disk, and show what is silent; exit 1 if anything is wrong.

    Starts no server and changes no data. A warning is exit 0.
    """
    from pipelines.cli.diagnosis.code_location import repository
    from pipelines.cli.diagnosis.registry import Parts, Status, examine

    with err.status("testing"):
        parts = Parts.of_environment()
        with suppress(Exception):  # a check says why; imports for seconds would take the time of all others
            repository()
        found = examine(parts)
    if as_json:
        print_json({"findings": [asdict(finding) for finding in found]})
    else:
        _show(found)
    if any(finding.status is Status.ERROR for finding in found):
        raise typer.Exit(1)


def _show(found: "Sequence[Finding]") -> None:
    table = Table("check", "result", "what was found", "fix")
    table.columns[0].no_wrap = True
    for finding in found:
        colour = _COLOURS[finding.status]
        table.add_row(
            *(shown(finding.check), f"[{colour}]{finding.status}[/]"),
            *(shown(finding.text), f"[{colour}]{shown(finding.fix)}[/]"),
        )
    out.print(table)
    counts = ", ".join(f"{sum(one.status == status for one in found)} {status}" for status in _COLOURS)
    out.print(counts, highlight=False)
