"""The log of one lease: what each call may cost, whether it was sent, and what it did cost. Pure values.

    reserved ──► sent ──► settled (billed, refused, absent)

A sealed log takes no new calls. A call that was sent and not settled may have been billed: its bound stays charged.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

RESERVED, SENT, SETTLED, SEAL = "reserved", "sent", "settled", "seal"
BILLED, REFUSED, ABSENT = "billed", "refused", "absent"
"""How a call ended: the answer's usage was charged, the provider refused it, or its account does not have it."""
ZERO = Decimal(0)


@dataclass(frozen=True)
class Record:
    """One line of a log. ``details`` are the lane and, for a settled call, its tokens; they decide nothing."""

    kind: str
    call: str = ""
    usd: Decimal = ZERO
    outcome: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON. USD are exact decimals in text."""
        found = {"kind": self.kind, "call": self.call, "usd": str(self.usd), "outcome": self.outcome}
        return {name: value for name, value in found.items() if value not in ("", "0")} | dict(self.details)

    @classmethod
    def from_json(cls, line: Mapping[str, Any]) -> "Record":
        """Return the record of a line."""
        rest = {name: value for name, value in line.items() if name not in {"kind", "call", "usd", "outcome"}}
        usd = Decimal(line.get("usd", 0))
        return cls(line["kind"], line.get("call", ""), usd, line.get("outcome", ""), rest)


def encode(writer: str, records: Iterable[Record]) -> bytes:
    """Return the body of one object of a log. ``writer`` is unique, so that a writer knows its own object again."""
    lines = [{"writer": writer}, *(record.to_json() for record in records)]
    return "\n".join(json.dumps(line, sort_keys=True) for line in lines).encode()


def decode(body: bytes) -> tuple[str, list[Record]]:
    """Return the writer and the records of one object of a log."""
    first, *lines = map(json.loads, body.splitlines())
    return first["writer"], [Record.from_json(line) for line in lines]


@dataclass
class Calls:
    """The state of a lease after the records so far."""

    reserved: dict[str, Decimal] = field(default_factory=dict)
    sent: dict[str, Decimal] = field(default_factory=dict)
    settled: dict[str, Record] = field(default_factory=dict)
    sealed: bool = False
    charged: Decimal = ZERO
    pending: Decimal = ZERO

    def add(self, record: Record) -> None:
        """Apply a record. Applying the same record again changes nothing; a later settlement replaces an earlier."""
        if record.kind == SEAL:
            self.sealed = True
            self.pending -= sum(self.reserved.values(), ZERO)
            self.reserved.clear()
        elif record.kind == RESERVED and not self.knows(record.call):
            self.reserved[record.call] = record.usd
            self.pending += record.usd
        elif record.kind == SENT and record.call in self.reserved:
            self.sent[record.call] = self.reserved.pop(record.call)
        elif record.kind == SETTLED:
            self.pending -= self.reserved.pop(record.call, ZERO) + self.sent.pop(record.call, ZERO)
            if record.call in self.settled:
                self.charged -= self.settled[record.call].usd
            self.settled[record.call] = record
            self.charged += record.usd

    def knows(self, call: str) -> bool:
        """Return whether a call has a record."""
        return call in self.reserved or call in self.sent or call in self.settled

    @property
    def held(self) -> Decimal:
        """Return what these calls may have cost at most: settled, and the bounds of the others."""
        return self.charged + self.pending

    @property
    def open(self) -> int:
        """Return the number of calls that are not settled."""
        return len(self.reserved) + len(self.sent)


def replay(records: Iterable[Record]) -> Calls:
    """Return the state after some records, in order."""
    calls = Calls()
    for record in records:
        calls.add(record)
    return calls
