"""`cippus lake set-aside`: go on without a landed window that cannot be merged, or bring it back."""

from dataclasses import replace
from typing import Annotated

import typer

from pipelines.cli.terminal import Json, out, print_json, require_stack, require_utf8, shown
from pipelines.local.run_lock import only_run
from resources.errors import InputError
from resources.settings import home

lake = typer.Typer(help="Repair what was landed for the lake.", no_args_is_help=True)


@lake.callback()
def repair() -> None:
    """Repair what was landed for the lake."""


@lake.command("set-aside")
def set_aside(  # options of a command
    table: Annotated[str, typer.Argument(help="Source table, such as posts.")],
    window: Annotated[int, typer.Argument(min=1, help="Number of the window, as the failed run names it.")],
    reason: Annotated[str, typer.Option(help="Why, in a few words; it is stored with every row.")] = "",
    source: Annotated[str, typer.Option(help="Source of the window, if several have this number.")] = "",
    restore: Annotated[
        bool, typer.Option("--restore", help="Land the rows again as the newest window, and empty their quarantine.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Move a window that cannot be merged from raw/* to quarantine, so that the next run goes on."""
    if restore == bool(reason.strip()):
        message = "Give --reason with a few words to set a window aside, or --restore to bring it back."
        raise InputError(message)
    require_utf8("The reason", reason)
    require_stack()
    from assets.raw.setting_aside import WindowOfTable
    from resources.wiring import resources

    made = resources()
    chosen = WindowOfTable(made.raw_store, made.lake, made.quarantine, table, window, source)
    with only_run(home()):
        if restore:
            landed = chosen.restore()
            rows, text = landed.rows, f"its rows are landed again as window {landed.number}; run the lineage"
        else:
            changed = chosen.set_aside(reason.strip())
            rows = replace(changed, files=changed.aside).rows
            text = "its rows are in quarantine; the next run goes on without them"
    if as_json:
        print_json({"table": table, "window": window, "rows": rows, "restored": restore})
    else:
        out.print(f"Window {window} of {shown(table)}, {rows:,} rows: {text}.", highlight=False, soft_wrap=True)
