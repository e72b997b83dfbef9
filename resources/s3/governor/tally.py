"""What the governor counts: requests, refusals and waiting, by prefix and verb, for each scope that a client names."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

from resources.s3.governor.rate_control import Verb
from resources.s3.governor.s3_request import S3Request

MOST_SCOPES = 256
MOST_PREFIXES = 4096
"""A scope's prefixes beyond these are counted together, under `…`."""
OTHER = ("…",)


@dataclass(slots=True)
class Count:
    """One prefix and verb. ``requests`` are the clients', ``attempts`` the governor's; seconds are summed."""

    requests: int = 0
    attempts: int = 0
    throttled: int = 0
    failed: int = 0
    given_up: int = 0
    in_doubt: int = 0
    waited_seconds: float = 0.0
    bytes_up: int = 0
    bytes_down: int = 0
    operations: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    slowest: str = ""

    @property
    def wasted_share(self) -> float:
        """Attempts that S3 refused or failed, of all."""
        return (self.throttled + self.failed) / self.attempts if self.attempts else 0.0

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON values."""
        return {
            "requests": self.requests,
            "attempts": self.attempts,
            "throttled": self.throttled,
            "failed": self.failed,
            "given_up": self.given_up,
            "in_doubt": self.in_doubt,
            "wasted_share": round(self.wasted_share, 4),
            "waited_seconds": round(self.waited_seconds, 3),
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "operations": dict(sorted(self.operations.items())),
            "slowest_seconds": round(self.slowest_seconds, 3),
            "slowest": self.slowest,
        }


PrefixVerb = tuple[tuple[str, ...], Verb]
_COUNTERS = ("requests", "attempts", "throttled", "failed", "given_up", "in_doubt", "waited_seconds",
             "bytes_up", "bytes_down")  # fmt: skip


class Tally:
    """Counts for everybody, and for each of the scopes used last. ``depth`` is how many segments a prefix has."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self.total: dict[PrefixVerb, Count] = {}
        self._scopes: OrderedDict[str, dict[PrefixVerb, Count]] = OrderedDict()

    def counts(self, request: S3Request, scope: str) -> tuple[Count, ...]:
        """The counters that a request of a scope adds to."""
        key = (request.path[: 1 + self._depth], request.verb)
        found = [_of(self.total, key)]
        if scope:
            if scope in self._scopes:
                self._scopes.move_to_end(scope)
            else:
                self._scopes[scope] = {}
                if len(self._scopes) > MOST_SCOPES:
                    self._scopes.popitem(last=False)
            found.append(_of(self._scopes[scope], key))
        return tuple(found)

    def counted(self, scope: str = "") -> list[tuple[tuple[str, ...], Verb, Count]]:
        """The counts of each prefix and verb, of one scope or of everybody."""
        counts = self._scopes.get(scope, {}) if scope else self.total
        return [(path, verb, counts[path, verb]) for path, verb in sorted(counts)]

    def prometheus(self) -> str:
        """The counters of everybody in Prometheus' text format."""
        lines = []
        for name in _COUNTERS:
            metric = f"cippus_s3_{name}_total"
            lines.append(f"# TYPE {metric} counter")
            lines += [f"{metric}{labels(path, verb)} {getattr(count, name)}" for path, verb, count in self.counted()]
        return "\n".join(lines) + "\n"


def prefix_text(path: tuple[str, ...]) -> str:
    """A prefix without its bucket; of two paths never the same, even where keys begin with a slash."""
    segments = path[1:]
    return "/".join(segments) if any(segments) else "/" * len(segments)


def labels(path: tuple[str, ...], verb: Verb) -> str:
    """Prometheus labels of a prefix and verb."""
    values = {"bucket": path[0], "prefix": prefix_text(path), "verb": str(verb)}
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for name, value in values.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"


def _of(counts: dict[PrefixVerb, Count], key: PrefixVerb) -> Count:
    found = counts.get(key)
    if found is None:
        if len(counts) >= MOST_PREFIXES:
            key = (OTHER, key[1])
        found = counts.setdefault(key, Count())
    return found
