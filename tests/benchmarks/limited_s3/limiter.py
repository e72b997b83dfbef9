"""Admission by token buckets per prefix and verb, and seeded faults for accepted requests."""

import random
from enum import Enum, auto

from tests.benchmarks.limited_s3.settings import Faults, Limits

_WHOLE = 1 - 1e-9
"""One token, less rounding errors: ten refills of a tenth must make one."""


class Fault(Enum):
    """How an accepted request fails."""

    ERROR_BEFORE = auto()
    ERROR_AFTER = auto()
    RESET_BEFORE = auto()
    RESET_AFTER = auto()
    RESET_MIDWAY = auto()
    SLOW = auto()


class _TokenBucket:
    __slots__ = ("_at", "_capacity", "_rate", "_tokens")

    def __init__(self, rate: float, burst_seconds: float, now: float) -> None:
        self._rate = rate
        self._capacity = max(1.0, rate * burst_seconds)
        self._tokens = self._capacity
        self._at = now

    def take(self, cost: int, now: float) -> bool:
        self._tokens = min(self._capacity, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < _WHOLE:
            return False
        self._tokens -= cost
        return True


class Limiter:
    """One token bucket per (prefix, verb). Times are seconds of any monotonic clock."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._buckets: dict[tuple[str, str], _TokenBucket] = {}

    def prefix(self, bucket: str, key: str) -> str:
        """Return the prefix that limits a key: ``bucket/first/segments`` of its folder."""
        depth = self.limits.depth
        folder = key.rpartition("/")[0]
        if depth is None:
            return f"{bucket}/{folder}"
        return bucket + "/" + "/".join(folder.split("/", depth)[:depth])

    def take(self, prefix: str, verb: str, cost: int, now: float) -> bool:
        """Return whether a request is accepted; one that is takes ``cost`` tokens."""
        limits = self.limits
        rate = limits.writes_per_second if verb == "write" else limits.reads_per_second
        if rate is None:
            return True
        bucket = self._buckets.get((prefix, verb))
        if bucket is None:
            bucket = self._buckets[prefix, verb] = _TokenBucket(rate, limits.burst_seconds, now)
        return bucket.take(cost, now)


class FaultDraw:
    """Seeded draws: equal seeds and requests give equal faults."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - faults, not secrets

    def request(self, faults: Faults) -> Fault | None:
        """Return the fault of one accepted request, usually None."""
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
        """Return True with the given probability; draw nothing for 0."""
        return bool(share) and self._random.random() < share
