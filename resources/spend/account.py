"""The shared account: ceilings, and what every lease takes of them. Pure values; the ledger stores it in one object.

A lease is money that one run took off the account, by one conditional write. Its calls are in its own log, so a call
does not touch the account. The sum of all leases never passes a ceiling.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from resources.errors import PermanentFailure
from resources.spend.log import ZERO

PROJECT, MONTH, DAY, RUN, ASSET, MODEL = "project", "month", "day", "run", "asset", "model"
EACH = (MONTH, DAY, RUN)
"""Kinds whose ceiling holds for each month, day or run. The others are set for one project, asset or model."""
_KEPT_DAYS, _SHARES = 400, 16


class CeilingReachedError(PermanentFailure):
    """A call does not fit under a ceiling. Nothing was sent. ``is_final``: no running call can make room for it."""

    def __init__(self, scope: str, ceiling: Decimal, charged: Decimal, needed: Decimal, *, is_final: bool) -> None:
        self.scope, self.ceiling, self.charged, self.needed, self.is_final = scope, ceiling, charged, needed, is_final
        super().__init__(
            f"The ceiling of {scope} is ${ceiling:f}; ${charged:.6f} are charged or reserved, and the next call may "
            f"cost ${needed:.6f}. Raise it with `cippus spend raise {ceiling_of(scope)} USD --why …`."
        )


class LeaseSealedError(PermanentFailure):
    """Another process sealed this lease. Take a new one."""


def ceiling_of(scope: str) -> str:
    """Return the name of the ceiling that holds for a scope: `day:2026-11-29` has the ceiling `day`."""
    kind = scope.partition(":")[0]
    return kind if kind in EACH else scope


def scopes(day: str, run: str, asset: str, model: str) -> tuple[str, ...]:
    """Return every scope that a call counts in. ``day`` is an ISO date."""
    return (
        PROJECT,
        f"{MONTH}:{day[:7]}",
        f"{DAY}:{day}",
        f"{RUN}:{run}",
        f"{ASSET}:{asset}",
        f"{MODEL}:{model}",
    )


@dataclass(frozen=True)
class Lease:
    """Money that a run took. ``amount`` covers ``charged`` (settled) and everything that may still be billed.

    ``position``: objects of its log that these numbers include. ``unknown``: sent calls of a sealed lease whose fate
    nobody knows. ``touched``: when it was last written.
    """

    scopes: tuple[str, ...]
    amount: Decimal
    charged: Decimal = ZERO
    position: int = 0
    unknown: int = 0
    sealed: bool = False
    touched: str = ""

    @property
    def is_done(self) -> bool:
        """Return whether nothing of it can change any more, except by a late answer."""
        return self.sealed and not self.unknown

    @property
    def certain(self) -> Decimal:
        """Return the part that no running call of its owner can give back."""
        return self.amount if self.sealed else self.charged


@dataclass(frozen=True)
class Change:
    """A ceiling that was set: when, by whom, and why. ``old`` is None if there was none."""

    scope: str
    old: Decimal | None
    new: Decimal
    at: str
    who: str
    why: str


@dataclass(frozen=True)
class Account:
    """Ceilings, totals of leases that are done, and leases. ``version`` makes every stored state unique,
    and ``writer`` tells whose it is."""

    version: int = 0
    writer: str = ""
    latest: str = ""
    ceilings: Mapping[str, Decimal] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    totals: Mapping[str, Decimal] = field(default_factory=dict)
    leases: Mapping[str, Lease] = field(default_factory=dict)

    def amount(self, scope: str, *, without: str = "", certain: bool = False) -> Decimal:
        """Return what a scope has charged or reserved. ``certain``: without what running calls may give back."""
        taken = (
            lease.certain if certain else lease.amount
            for name, lease in self.leases.items()
            if name != without and scope in lease.scopes
        )
        return self.totals.get(scope, ZERO) + sum(taken, ZERO)

    def allowed(self, wanted: tuple[str, ...], base: Mapping[str, Decimal]) -> Iterator[tuple[str, Decimal]]:
        """Yield (scope, ceiling) of the scopes that have one. ``base`` are ceilings that the environment sets."""
        for scope in wanted:
            ceiling = self.ceilings.get(ceiling_of(scope), base.get(ceiling_of(scope)))
            if ceiling is not None:
                yield scope, ceiling

    def with_lease(
        self, name: str, lease: Lease, need: Decimal, want: Decimal, base: Mapping[str, Decimal]
    ) -> "Account":
        """Return the account with a lease that holds ``lease.amount`` and has room for ``need``, better ``want``.

        Takes at most a sixteenth of what is left beyond ``need``, so that runs share what is left near a ceiling.
        Raises CeilingReachedError, and LeaseSealedError if another process sealed the lease.
        """
        if name in self.leases and self.leases[name].sealed:
            raise LeaseSealedError(f"The lease {name} was sealed by another process.")
        room = want
        for scope, ceiling in self.allowed(lease.scopes, base):
            free = ceiling - self.amount(scope, without=name) - lease.amount
            if need > free:
                certain = self.amount(scope, without=name, certain=True) + lease.charged
                raise CeilingReachedError(scope, ceiling, ceiling - free, need, is_final=certain + need > ceiling)
            room = min(room, free / _SHARES)
        grown = replace(lease, amount=lease.amount + max(need, room))
        return replace(self, leases={**self.leases, name: grown})

    def with_less(self, name: str, lease: Lease) -> "Account":
        """Return the account with a smaller amount of a lease. Raises LeaseSealedError."""
        if name not in self.leases or self.leases[name].sealed:
            raise LeaseSealedError(f"The lease {name} was sealed by another process.")
        less = replace(lease, amount=min(lease.amount, self.leases[name].amount))
        return replace(self, leases={**self.leases, name: less})

    def with_sealed(self, name: str, lease: Lease) -> "Account":
        """Return the account with the newest numbers of a sealed lease. Older numbers change nothing."""
        current = self.leases.get(name)
        if current is None or (current.sealed and current.position >= lease.position):
            return self  # it is in the totals already, or newer numbers are
        return replace(self, leases={**self.leases, name: lease})

    def with_ceiling(self, change: Change) -> "Account":
        """Return the account with a new ceiling, and the change on record."""
        stated = replace(change, old=self.ceilings.get(change.scope, change.old))
        return replace(self, ceilings={**self.ceilings, change.scope: change.new}, changes=(*self.changes, stated))

    def tidied(self, most_leases: int) -> "Account":
        """Return the account with the oldest leases that are done in its totals, and without totals of old days."""
        done = sorted((lease.touched, name) for name, lease in self.leases.items() if lease.is_done)
        totals, leases = dict(self.totals), dict(self.leases)
        for _, name in done[: max(0, len(done) - most_leases)]:
            lease = leases.pop(name)
            for scope in lease.scopes:
                totals[scope] = totals.get(scope, ZERO) + lease.amount
        days = sorted(scope for scope in totals if scope.startswith(f"{DAY}:"))
        for scope in days[: max(0, len(days) - _KEPT_DAYS)]:
            del totals[scope]
        return replace(self, totals=totals, leases=leases)

    def to_json(self) -> dict[str, Any]:
        """Return the account as JSON. USD are exact decimals in text."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Account":
        """Return the account that was stored."""
        return cls(
            found["version"],
            found["writer"],
            found["latest"],
            {scope: Decimal(usd) for scope, usd in found["ceilings"].items()},
            tuple(
                Change(**{**change, "old": _decimal(change["old"]), "new": Decimal(change["new"])})
                for change in found["changes"]
            ),
            {scope: Decimal(usd) for scope, usd in found["totals"].items()},
            {name: _lease(lease) for name, lease in found["leases"].items()},
        )


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _lease(found: Mapping[str, Any]) -> Lease:
    numbers = {"amount": Decimal(found["amount"]), "charged": Decimal(found["charged"])}
    return Lease(**{**found, **numbers, "scopes": tuple(found["scopes"])})
