"""The ledger: one shared account on the store, changed by conditional writes only, and the leases of all runs."""

import datetime as dt
import json
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from resources import person
from resources.spend.account import Account, Change, Lease
from resources.spend.lease_log import LeaseLog, LedgerUnavailableError
from resources.spend.log import BILLED, SETTLED, ZERO, Calls, Record
from resources.spend.store import Store, UncertainWriteError

ACCOUNT, HISTORY = "spend/account.json", "spend/history"
_ATTEMPTS, _MOST_DONE_LEASES, _RECORDS_AN_OBJECT = 200, 500, 5_000
_STALE = dt.timedelta(minutes=2)
Fates = Callable[[str], Record | None]
"""Return how a call ended, as a settled record, or None while nobody knows."""


@dataclass(frozen=True)
class Ledger:
    """The account of one project. ``base``: ceilings that the environment sets, until the account has its own."""

    store: Store
    base: Mapping[str, Decimal]
    sleep: Callable[[float], None] = time.sleep

    def account(self) -> Account:
        """Return the account as it is now."""
        found = self.store.get(ACCOUNT)
        return Account() if found is None else Account.from_json(json.loads(found.body))

    def now(self) -> dt.datetime:
        """Return the store's time; its clock never goes back for a ledger."""
        account = self.update(lambda found, now: replace(found, latest=now) if now > found.latest else found)
        return dt.datetime.fromisoformat(account.latest)

    def update(self, change: Callable[[Account, str], Account]) -> Account:
        """Apply a pure change to the account, and return it. ``change`` gets the account and the store's time.

        The change may be applied again after a lost answer, so it must be one that makes no difference twice.
        """
        writer = uuid.uuid4().hex
        for attempt in range(_ATTEMPTS):
            found = self.store.get(ACCOUNT)
            try:
                if found is None:
                    self.store.create(ACCOUNT, json.dumps(Account().to_json()).encode())
                    continue
                account = Account.from_json(json.loads(found.body))
                if account.writer == writer:
                    return account  # the answer of our write was lost
                # S3's clock, and never back: a day that is over does not come again.
                now = max(account.latest, found.at.isoformat())
                changed = change(account, now)
                if changed is account:
                    return account
                stored = replace(changed.tidied(_MOST_DONE_LEASES), version=account.version + 1, latest=now)
                stored = replace(stored, writer=writer)
                if self.store.replace(ACCOUNT, json.dumps(stored.to_json()).encode(), found.etag) is not None:
                    return stored
            except UncertainWriteError:
                pass
            self.sleep(random.uniform(0, min(0.01 * 2**attempt, 0.5)))  # noqa: S311 -- spreads racing writers
        raise LedgerUnavailableError(f"{ACCOUNT} was changed by others {_ATTEMPTS} times. Run it again later.")

    def set_ceiling(self, scope: str, usd: Decimal, why: str, who: str = "") -> Change:
        """Set a ceiling and keep on record who did it, when and why."""
        made: list[Change] = []

        def change(account: Account, now: str) -> Account:
            if made and made[-1].at in {kept.at for kept in account.changes if kept.scope == scope}:
                return account
            made.append(Change(scope, self.base.get(scope), usd, now, who or person.at_terminal(), why))
            return account.with_ceiling(made[-1])

        return self.update(change).changes[-1]

    def seal(self, name: str) -> Lease:
        """Stop a lease of any process, and charge what it may have spent. Its owner, if it lives, takes another.

        Safe at any time: a sent call has its record before it is sent, and no record is accepted after the seal.
        """
        log = LeaseLog(self.store, name)
        log.seal()
        return self.fold(log)

    def fold(self, log: LeaseLog) -> Lease:
        """Write a sealed log's numbers to its history and to the account."""
        calls = log.calls
        found = self.account().leases.get(log.name)
        if found is not None and (not found.sealed or found.position < log.position):
            summary = {"lease": log.name, "scopes": found.scopes, "rows": list(_summary(calls))}
            self.store.put(f"{HISTORY}/{log.name}.json", json.dumps(summary, default=str).encode())

        def change(account: Account, now: str) -> Account:
            current = account.leases.get(log.name)
            if current is None:
                return account
            lease = Lease(current.scopes, calls.held, calls.charged, log.position, len(calls.sent), True, now)
            return account.with_sealed(log.name, lease)

        self.update(change)
        return Lease((), calls.held, calls.charged, log.position, len(calls.sent), sealed=True)

    def seal_stale(self, keep: frozenset[str] = frozenset(), older_than: dt.timedelta = _STALE) -> int:
        """Seal the leases that nobody wrote for a while, by S3's clock. Return their number."""
        now = self.now()
        stale = [
            name
            for name, lease in self.account().leases.items()
            if not lease.sealed and name not in keep and now - dt.datetime.fromisoformat(lease.touched) >= older_than
        ]
        for name in stale:
            self.seal(name)
        return len(stale)

    def reconcile(self, fates: Fates) -> int:
        """Settle the calls of sealed leases whose fate is known now. Return the number still unknown."""
        left = 0
        for name, lease in self.account().leases.items():
            if lease.sealed and lease.unknown:
                log = LeaseLog(self.store, name)
                found = [fate for call in list(log.catch_up().sent) if (fate := fates(call)) is not None]
                if found:
                    log.append(found)
                    log.catch_up()
                if log.position > lease.position:  # ours, or of a run that ended before it told the account
                    self.fold(log)
                left += len(log.calls.sent)
        return left

    def settle_late(self, name: str, records: Sequence[Record]) -> None:
        """Settle calls of a sealed lease, in their order. Doing it again changes nothing."""
        log = LeaseLog(self.store, name)
        log.catch_up()
        for start in range(0, len(records), _RECORDS_AN_OBJECT):
            log.append(records[start : start + _RECORDS_AN_OBJECT])
        log.catch_up()
        self.fold(log)

    def history(self) -> Iterator[Mapping[str, Any]]:
        """Yield the summary of every sealed lease: scopes, and rows of calls, tokens and USD by lane and outcome."""
        for key in self.store.keys(f"{HISTORY}/"):
            found = self.store.get(key)
            if found is not None:
                yield json.loads(found.body)

    def settled(self) -> Iterator[Record]:
        """Yield every settled call of every sealed lease. Reads all logs."""
        for key in self.store.keys(f"{HISTORY}/"):
            name = key.removeprefix(f"{HISTORY}/").removesuffix(".json")
            yield from LeaseLog(self.store, name).catch_up().settled.values()

    def charges(self) -> Iterator[Record]:
        """Yield every billed call, of running leases too. Reads all logs."""
        ended = {key.removeprefix(f"{HISTORY}/").removesuffix(".json") for key in self.store.keys(f"{HISTORY}/")}
        for name in sorted(ended | self.account().leases.keys()):
            settled = LeaseLog(self.store, name).catch_up().settled.values()
            yield from (record for record in settled if (record.outcome or BILLED) == BILLED)


def _summary(calls: Calls) -> Iterator[dict[str, Any]]:
    """Yield one row per lane and outcome. Calls of unknown fate count with their bound."""
    rows: dict[tuple[str, str], dict[str, Any]] = defaultdict(
        lambda: {"calls": 0, "input_tokens": 0, "output_tokens": 0, "usd": ZERO}
    )
    for record in calls.settled.values():
        row = rows[str(record.details.get("lane", "live")), record.outcome or BILLED]
        row["calls"] += 1
        row["usd"] += record.usd
        for name in ("input_tokens", "output_tokens"):
            row[name] += int(record.details.get(name, 0))
    for bound in calls.sent.values():
        row = rows["live", "unknown"]
        row["calls"] += 1
        row["usd"] += bound
    for (lane, outcome), row in sorted(rows.items()):
        yield {"lane": lane, "outcome": outcome, **row}


def settled(call: str, usd: Decimal, outcome: str = BILLED, **details: str | int) -> Record:
    """Return the record that settles a call."""
    return Record(SETTLED, call, usd, outcome, details)
