"""Counters of requests, throttling and waiting, by prefix and verb, for each scope that clients name."""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

from resources.s3.governor.rate_control import Verb
from resources.s3.governor.s3_request import S3Request

MAX_SCOPES = 256
MAX_PREFIXES = 4096
"""Further prefixes of a scope are counted together, as `…`."""
OTHER = ("…",)
_COUNTED = ("requests", "attempts", "throttled", "failed", "given_up", "in_doubt", "waited_seconds",
            "bytes_up", "bytes_down")  # fmt: skip

PrefixVerb = tuple[tuple[str, ...], Verb]


@dataclass(slots=True)
class PrefixCounts:
    """Totals of one prefix and verb: ``requests`` are the clients', ``attempts`` the governor's."""

    totals: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    slowest: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the totals as JSON values; ``wasted_share`` is the share of throttled and failed attempts."""
        totals = self.totals
        wasted = (totals["throttled"] + totals["failed"]) / totals["attempts"] if totals["attempts"] else 0.0
        return {
            **{name: round(totals[name], 3) for name in _COUNTED},
            "wasted_share": round(wasted, 4),
            "operations": dict(sorted(self.operations.items())),
            "slowest_seconds": round(self.slowest_seconds, 3),
            "slowest": self.slowest,
        }


class RequestMetrics:
    """Counts of all requests, and of each of the last scopes. ``depth`` is the number of segments of a prefix."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._total: dict[PrefixVerb, PrefixCounts] = {}
        self._scopes: OrderedDict[str, dict[PrefixVerb, PrefixCounts]] = OrderedDict()

    def counts(self, request: S3Request, scope: str) -> list[PrefixCounts]:
        """Return the counts that a request of a scope is added to."""
        key = (request.path[: 1 + self._depth], request.verb)
        if not scope:
            return [_counts_of(self._total, key)]
        scoped = self._scopes.setdefault(scope, {})
        self._scopes.move_to_end(scope)
        if len(self._scopes) > MAX_SCOPES:
            self._scopes.popitem(last=False)
        return [_counts_of(self._total, key), _counts_of(scoped, key)]

    def by_prefix(self, scope: str = "") -> list[tuple[tuple[str, ...], Verb, PrefixCounts]]:
        """Return the counts of each prefix and verb, of one scope or of all requests."""
        counts = self._scopes.get(scope, {}) if scope else self._total
        return [(path, verb, counts[path, verb]) for path, verb in sorted(counts)]


def prefix_text(path: tuple[str, ...]) -> str:
    """Return a prefix without its bucket. Distinct paths give distinct texts, also if keys begin with a slash."""
    segments = path[1:]
    return "/".join(segments) if any(segments) else "/" * len(segments)


def _counts_of(counts: dict[PrefixVerb, PrefixCounts], key: PrefixVerb) -> PrefixCounts:
    if key not in counts and len(counts) >= MAX_PREFIXES:
        key = (OTHER, key[1])
    return counts.setdefault(key, PrefixCounts())
