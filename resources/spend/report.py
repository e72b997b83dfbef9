"""What is charged and left under each ceiling, USD by day, and how long the project's ceiling lasts."""

import datetime as dt
from collections import defaultdict
from decimal import Decimal
from typing import Any

from resources.spend.account import Account
from resources.spend.ledger import Ledger

FORECAST_DAYS = 7
_SHOWN_DAYS = 30


def spending(ledger: Ledger, account: Account) -> dict[str, Any]:
    """Return the spending of an account as JSON values; amounts are decimal numbers as text."""
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


def _days_left(account: Account, days: dict[str, Decimal], ceiling: Decimal | None) -> int | None:
    """Return how many days the project's ceiling lasts at the mean of the last days; None without one."""
    if ceiling is None or not account.latest:
        return None
    first = dt.datetime.fromisoformat(account.latest).date() - dt.timedelta(days=FORECAST_DAYS - 1)
    mean = sum((usd for day, usd in days.items() if day >= first.isoformat()), Decimal(0)) / FORECAST_DAYS
    return None if not mean else int((ceiling - account.amount("project")) / mean)
