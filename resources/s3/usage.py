"""The governors that this process uses, and counts of the requests that it sends through them."""

import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resources.s3.governor.process import Governor, GovernorGoneError, find_or_start
from resources.s3.governor.settings import GovernorSettings

_COUNTED = ("requests", "attempts", "throttled", "failed", "given_up", "in_doubt", "waited_seconds")
_Counts = Mapping[tuple[str, str, str], Mapping[str, Any]]


@dataclass(frozen=True)
class PrefixUsage:
    """Counts of one prefix and verb (read or write): client requests, the governor's attempts, S3's refusals.

    ``wasted_percent`` is the share of attempts that S3 refused or failed; ``rate`` is in requests per second;
    ``slowest`` names the slowest request with its id, if it was slower than earlier ones of this process.
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
        """Percentage of attempts that S3 refused or failed."""
        return _percent(self.throttled + self.failed, self.attempts)


@dataclass
class Usage:
    """Counts of all requests in a `measured` block. ``is_known`` is False if a governor did not answer."""

    prefixes: list[PrefixUsage] = field(default_factory=list)
    is_known: bool = True
    is_governed: bool = True

    def total(self, name: str) -> float:
        """Return the sum of one count over all prefixes."""
        return float(sum(getattr(found, name) for found in self.prefixes))

    @property
    def wasted_percent(self) -> float:
        """Percentage of all attempts that S3 refused or failed."""
        return _percent(self.total("throttled") + self.total("failed"), self.total("attempts"))


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 2) if whole else 0.0


class _Process:
    """The governors that this process uses. A forked child starts with none, and with its own scope."""

    def __init__(self) -> None:
        self.scope = secrets.token_hex(8)
        self.lock = threading.Lock()
        self.joining = threading.Lock()
        self.governors: dict[Path, Governor] = {}
        self.verified: dict[Path, int] = {}
        self.goes_direct = False


_process = _Process()


def _reset_after_fork() -> None:
    global _process
    _process = _Process()


os.register_at_fork(after_in_child=_reset_after_fork)


def scope() -> str:
    """Return the scope that governors count this process' requests under."""
    return _process.scope


def join(home: Path, settings: GovernorSettings) -> Governor:
    """Return the host's governor with these settings; start it if it is not running. Raises GovernorStartError."""
    with _process.joining:
        return find_or_start(home, settings)


def use(governor: Governor | None) -> None:
    """Note that a client of this process is about to use a governor, or S3 directly."""
    if governor is None:
        _process.goes_direct = True
        return
    with _process.lock:
        _process.governors[governor.folder] = governor


def needs_verifier(governor: Governor) -> bool:
    """Return True once per governor and process: for the caller that must start its write verifier."""
    with _process.lock:
        is_new = _process.verified.get(governor.folder) != governor.pid
        _process.verified[governor.folder] = governor.pid
    return is_new


def lost() -> GovernorGoneError | None:
    """Return the error to raise if a governor that this process uses has ended, else None."""
    return next((found.ended_error() for found in _used() if not found.is_alive()), None)


def _used() -> list[Governor]:
    with _process.lock:
        return list(_process.governors.values())


@contextmanager
def measured() -> Iterator[Usage]:
    """Count the S3 requests of a block. Raise GovernorGoneError from any error if a governor has ended by then.

    Without it, clients report only proxy errors and refused connections.
    """
    for governor in _used():
        if not governor.is_alive():  # unused until a client that needs it is used again
            with _process.lock:
                _process.governors.pop(governor.folder, None)
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
    """Map bucket, prefix and verb to this process' counts so far; None if a governor does not answer."""
    found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
    for governor in _used():
        try:
            prefixes = governor.status(_process.scope)["prefixes"]
        except (OSError, KeyError):
            return None
        found |= {(counts["bucket"], counts["prefix"], counts["verb"]): counts for counts in prefixes}
    return found


def difference(before: _Counts, after: _Counts) -> list[PrefixUsage]:
    """Return the increase of each bucket, prefix and verb with new requests."""
    found = []
    for at, counts in sorted(after.items()):
        earlier = before.get(at, {})
        if counts["requests"] < earlier.get("requests", 0):  # the governor has restarted, or has dropped the scope
            earlier = {}
        added = {name: counts[name] - earlier.get(name, 0) for name in _COUNTED}
        if not added["requests"]:
            continue
        added["waited_seconds"] = round(added["waited_seconds"], 3)
        is_slowest = counts["slowest"] != earlier.get("slowest")
        slowest = (counts["slowest_seconds"], counts["slowest"]) if is_slowest else (0.0, "")
        found.append(PrefixUsage(*at, **added, rate=counts["rate"], slowest_seconds=slowest[0], slowest=slowest[1]))
    return found
