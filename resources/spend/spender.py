"""What a run spends through: it reserves each call under a lease, records it before it is sent, and settles it."""

import datetime as dt
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from resources.spend.account import Account, CeilingReachedError, Lease, LeaseSealedError, scopes
from resources.spend.lease_log import LeaseLog
from resources.spend.ledger import Ledger
from resources.spend.log import RESERVED, SENT, SETTLED, ZERO, Calls, Record

_OBJECTS_A_LEASE, _CALLS_A_LEASE, _POLL_SECONDS = 500, 64, 1.0
"""A recovery reads the objects of one lease, so a lease ends after so many."""


@dataclass
class _Lot:
    """A lease of this process."""

    day: str
    scopes: tuple[str, ...]
    log: LeaseLog
    amount: Decimal = ZERO
    held: dict[str, Decimal] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)

    @property
    def spoken_for(self) -> Decimal:
        return self.log.held(self.held)

    @property
    def certain(self) -> Decimal:
        sent = self.log.sent()
        return self.log.calls.charged + sum((sent[call] for call in self.unknown if call in sent), ZERO)

    @property
    def is_idle(self) -> bool:
        return not self.held and not (set(self.log.sent()) - self.unknown)


class Spender:
    """The paid calls of one run, asset and model. Safe to use from several threads.

    Order of a call: `reserve` → `sent` → the request → `settle`, `refuse` or `unknown`. Close it at the end.
    """

    def __init__(self, ledger: Ledger, run: str, asset: str, model: str, patience_seconds: float = 600.0) -> None:
        """Take no money yet. ``patience_seconds``: how long to wait for other calls to free what they reserved."""
        self.ledger, self.run, self.asset, self.model = ledger, run, asset, model
        self._patience = patience_seconds
        self._freed = threading.Condition(threading.RLock())
        self._lot: _Lot | None = None
        self._lots: dict[str, _Lot] = {}
        self._draining: list[_Lot] = []
        self._now: dt.datetime | None = None

    @property
    def lease(self) -> str:
        """Return the name of the lease that new calls go to, "" before the first."""
        return self._lot.log.name if self._lot else ""

    def now(self) -> dt.datetime:
        """Return the store's time when it last answered this run. A host's clock may jump."""
        if self._now is None:
            self._now = self.ledger.now()
        return self._now

    def calls(self, lease: str) -> Calls:
        """Return the state of a lease, of this run or another."""
        with self._freed:
            own = next((lot.log for lot in (*self._draining, self._lot) if lot and lot.log.name == lease), None)
        return own.calls if own is not None else LeaseLog(self.ledger.store, lease).catch_up()

    def reserve(self, call: str, bound: Decimal) -> str:
        """Reserve money for a call, and return the lease that covers it. Raises CeilingReachedError."""
        give_up = time.monotonic() + self._patience
        with self._freed:
            while True:
                try:
                    lot = self._with_room(bound)
                except CeilingReachedError as error:
                    self._give_back()
                    if error.is_final or time.monotonic() >= give_up:
                        raise
                    self.ledger.seal_stale(keep=frozenset(self._own()))
                    self._freed.wait(_POLL_SECONDS)
                else:
                    lot.held[call] = bound
                    self._lots[call] = lot
                    return lot.log.name

    def cancel(self, call: str) -> None:
        """Give back the reservation of a call that was not sent."""
        with self._freed:
            lot = self._lots.pop(call)
            lot.held.pop(call, None)
            self._freed.notify_all()

    def sent(self, call: str, details: Mapping[str, Any] | None = None) -> None:
        """Record durably that a call is sent now. Send it only when this returns.

        Raises LeaseSealedError when the call must be reserved again: another process sealed the lease, or a new day
        began on S3's clock.
        """
        with self._freed:
            lot = self._lots[call]
            bound = lot.held[call]
        rest = dict(details or {})
        try:
            at = lot.log.append([Record(RESERVED, call, bound, "", rest), Record(SENT, call)])
        except LeaseSealedError:
            with self._freed:
                self.cancel(call)
                self._retire(lot)
            raise
        with self._freed:
            self._now = at
            lot.held.pop(call)
        if at.date().isoformat() > lot.day:
            self.refuse(call)
            with self._freed:
                self._retire(lot)
            raise LeaseSealedError(f"The lease {lot.log.name} is of {lot.day}, which is over.")

    def settle(self, call: str, record: Record) -> None:
        """Charge what a call did cost. Settling it again changes nothing."""
        with self._freed:
            lot = self._lots.get(call)
            if lot is None:
                return
            lot.log.later(record)
            lot.unknown.discard(call)
            del self._lots[call]
            self._drain(lot)
            self._freed.notify_all()

    def refuse(self, call: str) -> None:
        """Record that a call was not billed: the provider refused it, or it did not arrive."""
        self.settle(call, Record(SETTLED, call, ZERO, "refused"))

    def unknown(self, call: str) -> None:
        """Record that nobody knows whether a call was billed. Its bound stays charged."""
        with self._freed:
            lot = self._lots.pop(call, None)
            if lot is not None:
                lot.unknown.add(call)
                self._drain(lot)
                self._freed.notify_all()

    def close(self) -> None:
        """Give back what was not spent. Calls of unknown fate stay charged."""
        with self._freed:
            if self._lot is not None:
                self._retire(self._lot)
            for lot in list(self._draining):
                self._settle_up(lot)

    def _own(self) -> set[str]:
        return {lot.log.name for lot in (*self._draining, *([self._lot] if self._lot else []))}

    def _with_room(self, bound: Decimal) -> _Lot:
        lot = self._lot
        if lot is not None and (lot.log.position >= _OBJECTS_A_LEASE or lot.log.calls.sealed):
            self._retire(lot)
            lot = None
        if lot is not None and lot.spoken_for + bound <= lot.amount:
            return lot
        if lot is not None:
            try:
                self._take(lot, bound)
            except LeaseSealedError:
                self._retire(lot)
            else:
                return lot
        return self._begin(bound)

    def _begin(self, bound: Decimal) -> _Lot:
        """Take a new lease, in the scopes of S3's present day."""
        name, made = uuid.uuid4().hex, list[_Lot]()

        def change(account: Account, now: str) -> Account:
            lot = _Lot(now[:10], scopes(now[:10], self.run, self.asset, self.model), LeaseLog(self.ledger.store, name))
            made.append(lot)
            return self._lent(account, now, lot, bound)

        account = self.ledger.update(change)
        lot = made[-1]
        lot.day, lot.scopes, lot.amount = _day(account, name), account.leases[name].scopes, account.leases[name].amount
        self._lot = lot
        return lot

    def _take(self, lot: _Lot, bound: Decimal) -> None:
        lot.log.flush()  # the account must not give away what the log does not show as free

        def change(account: Account, now: str) -> Account:
            if now[:10] > lot.day:
                raise LeaseSealedError(f"The lease {lot.log.name} is of {lot.day}, which is over.")
            return self._lent(account, now, lot, bound)

        lot.amount = self.ledger.update(change).leases[lot.log.name].amount

    def _lent(self, account: Account, now: str, lot: _Lot, bound: Decimal) -> Account:
        lease = Lease(lot.scopes, lot.spoken_for, lot.certain, lot.log.position, touched=now)
        return account.with_lease(lot.log.name, lease, bound, bound * _CALLS_A_LEASE, self.ledger.base)

    def _give_back(self) -> None:
        """Return what this run does not need for its running calls, for others to use."""
        lot = self._lot
        if lot is None or lot.amount <= lot.spoken_for:
            return
        lot.log.flush()

        def change(account: Account, now: str) -> Account:
            lease = Lease(lot.scopes, lot.spoken_for, lot.certain, lot.log.position, touched=now)
            return account.with_less(lot.log.name, lease)

        try:
            lot.amount = self.ledger.update(change).leases[lot.log.name].amount
        except LeaseSealedError:
            self._retire(lot)

    def _retire(self, lot: _Lot) -> None:
        if lot is self._lot:
            self._lot = None
        if lot not in self._draining:
            self._draining.append(lot)
        self._drain(lot)

    def _drain(self, lot: _Lot) -> None:
        if lot in self._draining and lot.is_idle:
            self._settle_up(lot)

    def _settle_up(self, lot: _Lot) -> None:
        lot.log.flush()
        lot.log.seal()
        self.ledger.fold(lot.log)
        if lot.is_idle:
            self._draining.remove(lot)


def _day(account: Account, name: str) -> str:
    return next(scope for scope in account.leases[name].scopes if scope.startswith("day:")).removeprefix("day:")
