"""CloudWatch metrics in the Embedded Metric Format: one line per prefix and verb a minute."""

import asyncio
import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from resources.s3.governor.settings import GovernorSettingError

NAMESPACE = "Cippus/S3"
EVERY_SECONDS = 60.0
_CLOSE_SECONDS = 1.0
_MAX_DIMENSION_CHARACTERS = 1024
_UNITS = {
    "requests": "Count", "attempts": "Count", "throttled": "Count", "failed": "Count", "given_up": "Count",
    "waited_seconds": "Seconds", "bytes_up": "Bytes", "bytes_down": "Bytes",
}  # fmt: skip


def sender(target: str) -> Callable[[bytes], object] | None:
    """Return what sends a line to `-` (standard output), `udp://host:port` or a file; None for "".

    Raises GovernorSettingError for a UDP address without a port.
    """
    if target.startswith("udp://"):
        address = _address(target)
        agent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        agent.setblocking(False)
        return lambda line: agent.sendto(line, address)
    if target:
        return lambda line: _append(sys.stdout.fileno() if target == "-" else target, line)
    return None


def _address(target: str) -> tuple[str, int]:
    at = urlsplit(target)
    with contextlib.suppress(ValueError):  # an invalid port
        if at.hostname and at.port:
            return at.hostname, at.port
    raise GovernorSettingError(f"--emf is {target!r}, expected udp://host:port, a file, or - for standard output.")


def _append(target: str | int, line: bytes) -> None:
    with open(target, "ab", closefd=isinstance(target, str), buffering=0) as out:  # maybe a descriptor
        out.write(line)


class EmfReporter:
    """Sends the counts of each minute. Lines that cannot be sent are dropped.

    A daemon thread sends them, because a full pipe or a dead file system may block it forever.
    """

    def __init__(self, counts: Callable[[], list[dict[str, Any]]], send: Callable[[bytes], object]) -> None:
        self._counts = counts
        self._send = send
        self._before: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._thread = threading.Thread()

    async def run(self) -> None:
        """Report every minute until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            self._report()

    def close(self) -> None:
        """Report the counts since the last minute, and wait at most _CLOSE_SECONDS until they are sent."""
        self._report()
        self._thread.join(_CLOSE_SECONDS)

    def _report(self) -> None:
        lines = self.lines(time.time())
        if not self._thread.is_alive():
            self._thread = threading.Thread(target=self._send_all, args=(lines,), name="emf", daemon=True)
            self._thread.start()

    def _send_all(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            with contextlib.suppress(OSError, ValueError):
                self._send(line)

    def lines(self, now: float) -> list[bytes]:
        """Return one line per prefix and verb with requests since the last call. ``now`` is seconds since 1970."""
        lines = []
        for found in self._counts():
            at = (found["bucket"], found["prefix"], found["verb"])
            before = self._before.get(at, {})
            since = {name: round(found[name] - before.get(name, 0), 3) for name in _UNITS}
            self._before[at] = {name: found[name] for name in _UNITS}
            if since["requests"]:
                lines.append(_line(now, at, {**since, "rate": found["rate"]}))
        return lines


def _line(now: float, at: tuple[str, str, str], values: dict[str, float]) -> bytes:
    dimensions = {name: _dimension(value) for name, value in zip(("Bucket", "Prefix", "Verb"), at, strict=True)}
    metrics = [{"Name": name, "Unit": unit} for name, unit in {**_UNITS, "rate": "Count/Second"}.items()]
    directive = {"Namespace": NAMESPACE, "Dimensions": [list(dimensions)], "Metrics": metrics}
    aws = {"Timestamp": int(now * 1000), "CloudWatchMetrics": [directive]}
    return json.dumps({**dimensions, **values, "_aws": aws}, separators=(",", ":")).encode() + b"\n"


def _dimension(value: str) -> str:
    """Return a value that CloudWatch accepts: 1 to 1,024 ASCII characters, at least one of them no space."""
    return quote(value, safe=" !$&'()*+,/:;=@~")[:_MAX_DIMENSION_CHARACTERS].strip() or "(bucket)"
