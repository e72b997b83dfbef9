"""A lease's log on the store: numbered objects, each created once, so that a log has one order and one seal.

Writers do not need a lock or a clock. Whoever creates the next number is next; a writer that finds a seal there stops.
"""

import datetime as dt
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from decimal import Decimal

from resources.errors import TransientFailure
from resources.spend.account import LeaseSealedError
from resources.spend.log import SEAL, SETTLED, ZERO, Calls, Record, decode, encode
from resources.spend.store import Store, Stored, UncertainWriteError

FOLDER = "spend/leases"
_ATTEMPTS = 20


class LedgerUnavailableError(TransientFailure):
    """The ledger's store does not accept a write. Nothing is sent without its record."""


class LeaseLog:
    """The log of one lease. Safe to use from several threads, whose records share objects."""

    def __init__(self, store: Store, name: str) -> None:
        self.name, self.position, self.calls = name, 0, Calls()
        self._store = store
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._later: list[Record] = []
        self._waiting: list[tuple[Sequence[Record], Future[dt.datetime]]] = []

    def append(self, records: Sequence[Record]) -> dt.datetime:
        """Return when the records are durable: the store's time. Raises LeaseSealedError if new calls are refused.

        Records of other threads that wait meanwhile go into one object with these.
        """
        done: Future[dt.datetime] = Future()
        with self._lock:
            self._waiting.append((records, done))
        with self._writing:
            if not done.done():
                self._write_waiting()
        return done.result()

    def later(self, record: Record) -> None:
        """Keep a settlement for the next object. Until then a crash leaves the call at its bound, which is more."""
        with self._lock:
            self._later.append(record)
            self.calls.add(record)

    def held(self, unwritten: Mapping[str, Decimal]) -> Decimal:
        """Return what the calls may have cost at most, with the bounds of calls that are perhaps not written yet."""
        with self._lock:
            return self.calls.held + sum((usd for call, usd in unwritten.items() if not self.calls.knows(call)), ZERO)

    def sent(self) -> dict[str, Decimal]:
        """Return the bound of every call that was sent and is not settled."""
        with self._lock:
            return dict(self.calls.sent)

    def flush(self) -> None:
        """Write the settlements that were kept."""
        if self._later:
            self.append(())

    def catch_up(self) -> Calls:
        """Read what others wrote. Return the state."""
        with self._writing:
            while (found := self._store.get(self._key())) is not None:
                self._take(found)
            return self.calls

    def seal(self) -> Calls:
        """Refuse new calls from now on, by any process. Return the state."""
        self.catch_up()
        while not self.calls.sealed:
            self.append([Record(SEAL)])
        return self.catch_up()

    def _write_waiting(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting, []
            settled, self._later = self._later, []
        try:
            for records, _ in taken:
                settled += [record for record in records if record.kind == SETTLED]
            new = [record for records, _ in taken for record in records if record.kind != SETTLED]
            at = self._create([*settled, *new])
        except LeaseSealedError as error:
            at = self._create(settled)
            for records, done in taken:
                if all(record.kind == SETTLED for record in records):
                    done.set_result(at)
                else:
                    done.set_exception(error)
        except BaseException as error:
            with self._lock:
                self._later = settled + self._later
            for _, done in taken:
                done.set_exception(error)
            raise
        else:
            for _, done in taken:
                done.set_result(at)

    def _create(self, records: Sequence[Record]) -> dt.datetime:
        """Write one object at the next free number."""
        writer = uuid.uuid4().hex
        body = encode(writer, records)
        for _ in range(_ATTEMPTS):
            if self.calls.sealed and any(record.kind not in {SETTLED, SEAL} for record in records):
                raise LeaseSealedError(f"The lease {self.name} was sealed by another process.")
            try:
                at = self._store.create(self._key(), body)
            except UncertainWriteError:
                at = None
            if at is not None:
                self._apply(records)
                return at
            found = self._store.get(self._key())
            if found is not None and self._take(found) == writer:
                return found.at
        raise LedgerUnavailableError(f"{self._key()} could not be written in {_ATTEMPTS} attempts. Run it again later.")

    def _take(self, found: Stored) -> str:
        writer, records = decode(found.body)
        self._apply(records)
        return writer

    def _apply(self, records: Sequence[Record]) -> None:
        with self._lock:
            for record in records:
                self.calls.add(record)
        self.position += 1

    def _key(self) -> str:
        return f"{FOLDER}/{self.name}/{self.position:08d}.json"
