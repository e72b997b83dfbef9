"""Admission: token buckets or fixed windows per prefix and verb, and seeded faults for what was admitted."""

import random
from enum import Enum, auto

from tests.benchmarks.limited_s3.settings import Faults, Limits


class Fault(Enum):
    """How an admitted request goes wrong."""

    ERROR_BEFORE = auto()
    ERROR_AFTER = auto()
    RESET_BEFORE = auto()
    RESET_AFTER = auto()
    RESET_MIDWAY = auto()
    SLOW = auto()


_WHOLE = 1 - 1e-9
"""A token, but for rounding: refilled in steps of a tenth, ten of them must make one."""


class _TokenBucket:
    __slots__ = ("_at", "_capacity", "_rate", "_tokens")

    def __init__(self, rate: float, burst_seconds: float, now: float) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate * burst_seconds)
        self._tokens = self._capacity
        self._at = now

    def take(self, cost: int, now: float) -> int:
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < _WHOLE:
            return 0
        self._tokens -= cost
        return cost


class _FixedWindow:
    __slots__ = ("_capacity", "_left", "_length", "_window")

    def __init__(self, rate: float, length_seconds: float, now: float) -> None:
        self._length = length_seconds
        self._capacity = max(1.0, rate * length_seconds)
        self._left = self._capacity
        self._window = int(now / length_seconds)

    def take(self, cost: int, now: float) -> int:
        window = int(now / self._length)
        if window != self._window:  # a debt is paid from the windows since then
            self._left = min(self._capacity, min(self._left, 0.0) + (window - self._window) * self._capacity)
            self._window = window
        if self._left < _WHOLE:
            return 0
        self._left -= cost
        return cost


def _take_some(bucket: _TokenBucket | _FixedWindow, cost: int, now: float) -> int:
    """Take one by one what is left, up to ``cost``; how much that was."""
    taken = 0
    while taken < cost and bucket.take(1, now):
        taken += 1
    return taken


class Limiter:
    """One bucket per (prefix, verb). Times are seconds of any monotonic clock."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._buckets: dict[tuple[str, str], _TokenBucket | _FixedWindow] = {}

    def prefix(self, bucket: str, key: str) -> str:
        """The prefix that a key is limited with: ``bucket/first/segments`` of its folder."""
        depth = self.limits.depth
        folder = key.rpartition("/")[0]
        if depth is None:
            return f"{bucket}/{folder}"
        return bucket + "/" + "/".join(folder.split("/", depth)[:depth])

    def take(self, prefix: str, verb: str, cost: int, now: float) -> int:
        """How many of ``cost`` requests are admitted: all or none, but for the keys of a multi-delete."""
        limits = self.limits
        rate = limits.writes_per_second if verb == "write" else limits.reads_per_second
        if rate is None:
            return cost
        bucket = self._buckets.get((prefix, verb))
        if bucket is None:
            kind = _TokenBucket if limits.kind == "token_bucket" else _FixedWindow
            bucket = self._buckets[prefix, verb] = kind(rate, limits.burst_seconds, now)
        if cost > 1 and limits.deletes == "keys":
            return _take_some(bucket, cost, now)
        return bucket.take(cost, now)


class FaultDraw:
    """Seeded draws: the same seed and the same requests give the same faults."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - faults, not secrets

    def request(self, faults: Faults) -> Fault | None:
        """The fault of one admitted request, mostly None."""
        if not (faults.errors or faults.resets or faults.slow):
            return None
        at = self._random.random()
        if at < faults.errors:
            return Fault.ERROR_BEFORE if at < faults.errors / 2 else Fault.ERROR_AFTER
        at -= faults.errors
        if at < faults.resets:
            kinds = (Fault.RESET_BEFORE, Fault.RESET_AFTER, Fault.RESET_MIDWAY)
            return kinds[int(3 * at / faults.resets)]
        return Fault.SLOW if at - faults.resets < faults.slow else None

    def hit(self, share: float) -> bool:
        """True with the given probability; draws nothing for 0."""
        return bool(share) and self._random.random() < share
