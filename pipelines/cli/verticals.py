"""`cippus verticals`: which verticals ship, and why."""

from typing import Annotated, Any

import typer
from rich.table import Table

from pipelines.cli.terminal import Json, err, out, print_json, require_stack, shown

_STYLES = {"ship": "green", "drop": "red", "needs labels": "yellow"}
_NAME_WIDTH = 21
"""Characters of a name in a line: with them the table has 80 columns."""


def verticals(
    kind: Annotated[str | None, typer.Option(help="Only the roster of this kind of item: post or account.")] = None,
    as_json: Json = False,
) -> None:
    """Print the roster: each vertical's status, precision and recall with intervals and bars, and the reason."""
    from assets.transforms.verticals.rosters import KINDS
    from resources.errors import InputError

    if kind is not None and kind not in KINDS:
        message = f"The kind is {kind}; it must be post or account."
        raise InputError(message)
    require_stack()
    rows = [row for row in _roster() if kind in (None, row["item_kind"])]
    audited = [row for row in _audited() if kind in (None, row["item_kind"])]
    if as_json:
        print_json({"verticals": rows, "label_audit": audited})
        return
    for each in KINDS if kind is None else (kind,):
        _show(each, [row for row in rows if row["item_kind"] == each])
    for row in audited:
        line = f"Labels of {row['item_kind']}s, by {shown(row['method'])}: {shown(row['label_errors'])}."
        out.print(line, highlight=False, soft_wrap=True)
    ships = sum(row["status"] == "ship" for row in rows)
    out.print(f"{ships} of {len(rows)} ship. Overrides and bars are in the catalogue of verticals.", highlight=False)
    if not rows:
        err.print("cippus: vertical/roster does not exist yet; run `cippus run`.", style="yellow", soft_wrap=True)


def _show(kind: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"verticals of {kind}s")
    longest = max((len(row["vertical"]) for row in rows), default=0)
    table.add_column("vertical", width=min(max(longest, len("vertical")), _NAME_WIDTH), overflow="fold")
    table.add_column("status")
    for name in ("precision", "recall", "members"):
        table.add_column(name, no_wrap=True)  # at 80 columns the status is wrapped, and no figure
    for row in rows:
        figures = (_with_interval(row, name) for name in ("precision", "recall"))
        status = f"[{_STYLES[row['status']]}]{row['status']}[/]"
        members = "" if row["members"] is None else f"{row['members']:,}"
        table.add_row(shown(row["vertical"]), status, *figures, members)
    out.print(table)
    for row in rows:
        out.print(f"{shown(row['vertical'])}: {shown(row['reason'])}", highlight=False, soft_wrap=True)


def _with_interval(row: dict[str, Any], name: str) -> str:
    """Return a share and its bar, and its interval in a second line."""
    bar = f"bar {row[f'bar_{name}']:.2f}"
    if row[name] is None:
        return f"– ({bar})"
    return f"{row[name]:.2f} ({bar})\n{row[f'{name}_low']:.2f}–{row[f'{name}_high']:.2f}"


def _roster() -> list[dict[str, Any]]:
    from assets.verticals.roster import roster_rows
    from resources.wiring import resources

    return roster_rows(resources().lake)


def _audited() -> list[dict[str, str]]:
    from assets.verticals.quality import audit_rows
    from resources.wiring import resources

    return audit_rows(resources().lake)
