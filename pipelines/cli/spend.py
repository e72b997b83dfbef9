"""`cippus spend`: what paid calls cost, what is left under each ceiling, and raising one."""

import math
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipelines.cli.terminal import Json, out, print_json
from resources.errors import InputError
from resources.spend.dollars import dollars

if TYPE_CHECKING:
    from resources.spend.ledger import Ledger

spend = typer.Typer(help="What paid calls cost, and the ceilings.", invoke_without_command=True)
_BAR = 40


@spend.callback()
def _group(context: typer.Context) -> None:
    """What paid calls cost, and the ceilings. Without a command: show."""
    if context.invoked_subcommand is None:
        show()


@spend.command("show")
def show(as_json: Json = False) -> None:
    """Show what is charged and left under each ceiling, USD by day, and a forecast."""
    from resources.spend.report import FORECAST_DAYS, spending

    ledger = _ledger()
    report = spending(ledger, ledger.account())
    if as_json:
        print_json(report)
        return
    table = Table("scope", "charged or reserved USD", "ceiling USD", "left USD", title="spending")
    for scope, row in report["scopes"].items():
        table.add_row(scope, row["charged"], row["ceiling"] or "none", row["left"] or "")
    out.print(table)
    for day, usd in report["days"].items():
        most = max(map(Decimal, report["days"].values())) or Decimal(1)
        out.print(f"{day} {'█' * math.ceil(_BAR * Decimal(usd) / most):{_BAR}} ${dollars(float(usd))}", highlight=False)
    if report["days_left"] is not None:
        out.print(
            f"At the mean of the last {FORECAST_DAYS} days, the project's ceiling lasts {report['days_left']} days."
        )
    for change in report["changes"]:
        out.print(
            f"{change['at'][:16]} {change['who']} set {change['scope']} from {change['old']} to {change['new']}: "
            f"{change['why']}",
            highlight=False,
            markup=False,
        )


@spend.command("raise")
def raise_ceiling(
    ceiling: Annotated[str, typer.Argument(help="project, month, day, run, asset:NAME or model:NAME.")],
    usd: Annotated[str, typer.Argument(help="The new ceiling in USD.")],
    why: Annotated[str, typer.Option("--why", help="The reason, kept on record.")],
) -> None:
    """Set a ceiling. Who did it, when and why is kept on record."""
    kind, _, name = ceiling.partition(":")
    if (kind not in {"asset", "model"} or not name) and ceiling not in {"project", "month", "day", "run"}:
        message = f"The ceiling is {ceiling}; it must be project, month, day, run, asset:NAME or model:NAME."
        raise InputError(message)
    if not why.strip():
        message = "The reason is blank; give one with --why."
        raise InputError(message)
    try:
        amount = Decimal(usd)
        is_usd = amount.is_finite() and amount >= 0
    except InvalidOperation:
        is_usd = False
    if not is_usd:
        message = f"The new ceiling is {usd}; it must be a number of USD, 0 or more."
        raise InputError(message)
    change = _ledger().set_ceiling(ceiling, amount, why.strip())
    before = "no ceiling" if change.old is None else f"${change.old}"
    out.print(f"The ceiling of {ceiling} is ${change.new}; it was {before}.", highlight=False)


@spend.command("reconcile")
def reconcile() -> None:
    """Stop leases of runs that ended, and look up calls of unknown fate at the endpoint that keeps completions."""
    from resources.wiring import resources

    found = resources()
    ledger = found.spend.ledger
    sealed = ledger.seal_stale()
    if not found.llm.url:
        left = ledger.reconcile(lambda _call: None)
    else:
        with found.llm.open("reconcile", "reconcile") as llm:
            left = ledger.reconcile(llm.fate)
    out.print(f"{sealed} leases stopped; {left:,} calls have no known fate and stay charged.", highlight=False)


def _ledger() -> "Ledger":
    from resources.wiring import s3_resource, spend_resource

    return spend_resource(s3_resource()).ledger
