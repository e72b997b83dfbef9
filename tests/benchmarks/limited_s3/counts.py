"""Counts per (prefix, verb, operation), timelines, and how often each key was written."""

from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

BIN_SECONDS = 0.1
_BINS_A_SECOND = 10
_REMEMBERED_FAILURES = 2_000


@dataclass(slots=True)
class Tally:
    """Requests of one kind. ``accepted`` requests (of a multi-delete: keys) passed the limit, but may have failed."""

    answers: int = 0
    accepted: int = 0
    throttled: int = 0
    errors: int = 0
    resets: int = 0
    slow: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Timeline:
    """Requests accepted and throttled, in bins of a tenth of a second since the counts began."""

    __slots__ = ("accepted", "throttled")

    def __init__(self) -> None:
        self.accepted: list[int] = []
        self.throttled: list[int] = []

    @staticmethod
    def add(bins: list[int], at: int, cost: int) -> None:
        """Add to a bin, with empty ones before it."""
        if at >= len(bins):
            bins.extend([0] * (at + 1 - len(bins)))
        bins[at] += cost

    def peak_per_second(self) -> int:
        """Return the maximum that was accepted in ten consecutive bins."""
        return max((sum(self.accepted[i : i + _BINS_A_SECOND]) for i in range(len(self.accepted))), default=0)


class Counts:
    """Everything counted since ``began`` (seconds of the server's monotonic clock)."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.tallies: dict[tuple[str, str, str], Tally] = {}
        self.timelines: dict[tuple[str, str], Timeline] = {}
        self.applied: dict[str, int] = {}
        self.in_doubt: dict[str, int] = {}
        self.failures: deque[dict[str, str]] = deque(maxlen=_REMEMBERED_FAILURES)
        self.connections = 0

    def tally(self, prefix: str, verb: str, operation: str) -> Tally:
        """Return the counts of one kind of request."""
        found = self.tallies.get((prefix, verb, operation))
        if found is None:
            found = self.tallies[prefix, verb, operation] = Tally()
        return found

    def admitted(self, prefix: str, verb: str, accepted: int, throttled: int, now: float) -> None:
        """Add a decision of the limiter to the timeline."""
        line = self.timelines.get((prefix, verb))
        if line is None:
            line = self.timelines[prefix, verb] = Timeline()
        at = int((now - self.began) / BIN_SECONDS)
        if accepted:
            line.add(line.accepted, at, accepted)
        if throttled:
            line.add(line.throttled, at, throttled)

    def wrote(self, name: str) -> None:
        """Count a write that was applied. ``name`` is bucket/key."""
        self.applied[name] = self.applied.get(name, 0) + 1

    def doubted(self, name: str) -> None:
        """Count an applied write whose response the client did not receive, so that it may be retried."""
        self.in_doubt[name] = self.in_doubt.get(name, 0) + 1

    def failed(self, request_id: str, code: str, operation: str, name: str) -> None:
        """Keep a failed request, so that a client's message can be compared with it."""
        self.failures.append({"request_id": request_id, "code": code, "operation": operation, "name": name})

    def written_twice(self) -> list[str]:
        """Return bucket/key of objects that were written again although the first response was received."""
        return [name for name, times in self.applied.items() if times - self.in_doubt.get(name, 0) > 1]

    def to_json(self, now: float) -> dict[str, Any]:
        """Return totals, counts per kind, and timelines."""
        kinds = [
            {"prefix": prefix, "verb": verb, "operation": operation, **asdict(tally)}
            for (prefix, verb, operation), tally in sorted(self.tallies.items())
        ]
        names = Tally.__slots__
        totals = {name: sum(kind[name] for kind in kinds) for name in names}
        timelines = [
            {
                "prefix": prefix,
                "verb": verb,
                "peak_per_second": line.peak_per_second(),
                "accepted": line.accepted,
                "throttled": line.throttled,
            }
            for (prefix, verb), line in sorted(self.timelines.items())
        ]
        return {
            "seconds": now - self.began,
            "bin_seconds": BIN_SECONDS,
            "connections": self.connections,
            "totals": totals,
            "kinds": kinds,
            "timelines": timelines,
            "written_twice": self.written_twice(),
        }
