"""`cippus spend`: what paid calls cost, what is left under each ceiling, and raising one."""

import datetime as dt
import math
from collections import defaultdict
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipelines.cli.presentation import dollars
from pipelines.cli.terminal import Json, out, print_json
from resources.errors import InputError

if TYPE_CHECKING:
    from resources.spend.account import Account
    from resources.spend.ledger import Ledger

spend = typer.Typer(help="What paid calls cost, and the ceilings.", invoke_without_command=True)
_BAR, _SHOWN_DAYS, _FORECAST_DAYS = 40, 30, 7


@spend.callback()
def _group(context: typer.Context) -> None:
    """What paid calls cost, and the ceilings. Without a command: show."""
    if context.invoked_subcommand is None:
        show()


@spend.command("show")
def show(as_json: Json = False) -> None:
    """Show what is charged and left under each ceiling, USD by day, and a forecast."""
    ledger = _ledger()
    report = _report(ledger, ledger.account())
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
            f"At the mean of the last {_FORECAST_DAYS} days, the project's ceiling lasts {report['days_left']} days."
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


def _report(ledger: "Ledger", account: "Account") -> dict[str, Any]:
    scopes = sorted(
        {*account.totals, *(scope for lease in account.leases.values() for scope in lease.scopes), "project"}
    )
    ceilings = dict(account.allowed(tuple(scopes), ledger.base))
    rows = {}
    for scope in scopes:
        charged, ceiling = account.amount(scope), ceilings.get(scope)
        left = None if ceiling is None else str(ceiling - charged)
        rows[scope] = {"charged": str(charged), "ceiling": None if ceiling is None else str(ceiling), "left": left}
    days = defaultdict(Decimal)
    for scope in scopes:
        if scope.startswith("day:"):
            days[scope.removeprefix("day:")] = account.amount(scope)
    shown = dict(sorted(days.items())[-_SHOWN_DAYS:])
    return {
        "scopes": rows,
        "days": {day: str(usd) for day, usd in shown.items()},
        "days_left": _days_left(account, shown, ceilings.get("project")),
        "unknown_calls": sum(lease.unknown for lease in account.leases.values()),
        "changes": [
            {"scope": c.scope, "old": c.old and str(c.old), "new": str(c.new), "at": c.at, "who": c.who, "why": c.why}
            for c in account.changes
        ],
    }


def _days_left(account: "Account", days: dict[str, Decimal], ceiling: Decimal | None) -> int | None:
    """Return how many days the project's ceiling lasts at the mean of the last days; None without one."""
    if ceiling is None or not account.latest:
        return None
    first = dt.datetime.fromisoformat(account.latest).date() - dt.timedelta(days=_FORECAST_DAYS - 1)
    mean = sum((usd for day, usd in days.items() if day >= first.isoformat()), Decimal(0)) / _FORECAST_DAYS
    return None if not mean else int((ceiling - account.amount("project")) / mean)
