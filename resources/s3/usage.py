"""What this process asks of S3: the governors that it uses, and how much went through them."""

import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resources.s3.governor.process import Governor, GovernorArguments, GovernorGoneError, find_or_start

_COUNTED = ("requests", "attempts", "throttled", "failed", "given_up", "in_doubt", "waited_seconds")
_Counts = Mapping[tuple[str, str, str], Mapping[str, Any]]


@dataclass(frozen=True)
class PrefixUsage:
    """One prefix and verb (read or write): the clients' requests, S3's refusals, and the rate that it is held to.

    ``wasted_percent`` is the share of attempts that S3 refused or failed; ``rate`` is in requests per second;
    ``slowest`` names the slowest request with its id, where it was slower than those of this process before.
    """

    bucket: str
    prefix: str
    verb: str
    requests: int
    attempts: int
    throttled: int
    failed: int
    given_up: int
    in_doubt: int
    waited_seconds: float
    rate: float
    slowest_seconds: float = 0.0
    slowest: str = ""

    @property
    def wasted_percent(self) -> float:
        """Attempts in vain."""
        return _percent(self.throttled + self.failed, self.attempts)


@dataclass
class Usage:
    """What went through the governors while something was measured; ``is_known`` unless one of them did not answer."""

    prefixes: list[PrefixUsage] = field(default_factory=list)
    is_known: bool = True
    is_governed: bool = True

    def total(self, name: str) -> float:
        """The sum of one count over all prefixes."""
        return float(sum(getattr(found, name) for found in self.prefixes))

    @property
    def wasted_percent(self) -> float:
        """Attempts in vain, of all prefixes."""
        return _percent(self.total("throttled") + self.total("failed"), self.total("attempts"))


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


class _Process:
    """The governors that this process uses. A forked child begins anew, with a scope of its own."""

    def __init__(self) -> None:
        self.scope = secrets.token_hex(8)
        self.lock = threading.Lock()
        self.joining = threading.Lock()
        self.governors: dict[Path, Governor] = {}
        self.goes_direct = False


_process = _Process()


def _begin_anew() -> None:
    global _process  # a child after a fork
    _process = _Process()


os.register_at_fork(after_in_child=_begin_anew)


def scope() -> str:
    """What governors count this process' requests under; one for all resources, which Dagster copies at will."""
    return _process.scope


def join(home: Path, arguments: GovernorArguments) -> Governor:
    """The host's governor for these arguments, started where it is not running. Raises GovernorStartError."""
    with _process.joining:
        return find_or_start(home, arguments)


def use(governor: Governor | None) -> None:
    """Remember that a client of this process goes through a governor, or to S3 directly; said whenever it is used."""
    if governor is None:
        _process.goes_direct = True
        return
    with _process.lock:
        _process.governors[governor.folder] = governor


def _forget(governor: Governor) -> None:
    with _process.lock:
        if _process.governors.get(governor.folder) == governor:
            del _process.governors[governor.folder]


def lost() -> GovernorGoneError | None:
    """The error to raise when a governor that this process uses is gone, or None."""
    return next((found.gone() for found in _used() if not found.is_alive()), None)


def _used() -> list[Governor]:
    with _process.lock:
        return list(_process.governors.values())


@contextmanager
def measured() -> Iterator[Usage]:
    """Count what goes to S3 meanwhile. An error is raised as GovernorGoneError when a governor is gone by then.

    The clients' own errors of a governor that is gone speak of proxies and refused connections.
    """
    for governor in _used():
        if not governor.is_alive():
            _forget(governor)  # until a client that relies on it is used again
    _process.goes_direct = False
    usage, before = Usage(), _counts()
    try:
        yield usage
    except GovernorGoneError:
        raise
    except Exception as error:
        gone = lost()
        if gone is None:
            raise
        raise gone from error
    after = _counts()
    usage.is_governed = not _process.goes_direct
    usage.is_known = after is not None
    usage.prefixes = difference(before or {}, after or {})


def _counts() -> _Counts | None:
    """Bucket, prefix and verb → this process' counts so far; None when a governor does not say."""
    found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for governor in _used():
        try:
            told = governor.status(_process.scope)["prefixes"]
        except (OSError, KeyError):
            return None
        found |= {(one["bucket"], one["prefix"], one["verb"]): one for one in told}
    return found


def difference(before: _Counts, after: _Counts) -> list[PrefixUsage]:
    """What was added in between, by bucket, prefix and verb; those without a request are left out."""
    found = []
    for at, counts in sorted(after.items()):
        earlier = before.get(at, {})
        # Fewer than before: the governor is a new one, or has forgotten the scope.
        restarted = counts["requests"] < earlier.get("requests", 0)
        added = {name: counts[name] - (0 if restarted else earlier.get(name, 0)) for name in _COUNTED}
        if not added["requests"]:
            continue
        added["waited_seconds"] = round(added["waited_seconds"], 3)
        is_slowest = restarted or counts["slowest"] != earlier.get("slowest")
        slowest = (counts["slowest_seconds"], counts["slowest"]) if is_slowest else (0.0, "")
        found.append(PrefixUsage(*at, **added, rate=counts["rate"], slowest_seconds=slowest[0], slowest=slowest[1]))
    return found
