"""CloudWatch metrics in the Embedded Metric Format: one line per prefix and verb a minute."""

import asyncio
import contextlib
import json
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from resources.s3.governor.settings import GovernorSettingError

NAMESPACE = "Cippus/S3"
EVERY_SECONDS = 60.0
_MOST_MINUTES = 10
_CLOSE_SECONDS, _CLOSE_CHECK_SECONDS = 1.0, 0.01
_MOST_DIMENSION_CHARACTERS = 1024
_UNITS = {
    "requests": "Count", "attempts": "Count", "throttled": "Count", "failed": "Count", "given_up": "Count",
    "waited_seconds": "Seconds", "bytes_up": "Bytes", "bytes_down": "Bytes",
}  # fmt: skip


def sink(target: str) -> Callable[[bytes], None] | None:
    """Where lines go: `-` (standard output), `udp://host:port` (the CloudWatch agent), a file, or nowhere for "".

    Raises GovernorSettingError for an address without a port.
    """
    if not target:
        return None
    if target == "-":
        return lambda line: _write(sys.stdout.fileno(), line)
    if target.startswith("udp://"):
        address = _address(target)
        agent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        agent.setblocking(False)
        return lambda line: _drop_count(agent.sendto(line, address))
    return lambda line: _append(Path(target), line)


def _address(target: str) -> tuple[str, int]:
    at = urlsplit(target)
    with contextlib.suppress(ValueError):  # a port that is none
        if at.hostname and at.port:
            return at.hostname, at.port
    message = f"--emf is {target!r}, expected udp://host:port, a file, or - for standard output."
    raise GovernorSettingError(message)


def _drop_count(_: int) -> None:
    return


def _write(descriptor: int, line: bytes) -> None:
    with open(descriptor, "ab", closefd=False, buffering=0) as out:  # a descriptor, not a path
        out.write(line)


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as out:
        out.write(line)


class EmfReporter:
    """Once a minute, what was counted since the minute before. A line that cannot be handed over is dropped.

    A thread of its own hands them over, for which nobody waits: a full pipe or a dead file system blocks it alone.
    """

    def __init__(self, counted: Callable[[], list[dict[str, Any]]], send: Callable[[bytes], None]) -> None:
        self._counted = counted
        self._send = send
        self._before: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._minutes: queue.Queue[list[bytes] | None] = queue.Queue(_MOST_MINUTES)
        self._thread = threading.Thread(target=self._hand_over, name="emf", daemon=True)
        self._thread.start()
        self.dropped = 0

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            self._put(self.lines(time.time()))

    async def close(self) -> None:
        """Report what was counted since the last minute, for as long as that may take at most."""
        self._put(self.lines(time.time()))
        self._put(None)
        end = time.monotonic() + _CLOSE_SECONDS
        while self._thread.is_alive() and time.monotonic() < end:
            await asyncio.sleep(_CLOSE_CHECK_SECONDS)

    def _put(self, lines: list[bytes] | None) -> None:
        try:
            self._minutes.put_nowait(lines)
        except queue.Full:
            self.dropped += len(lines or ())

    def _hand_over(self) -> None:
        while (lines := self._minutes.get()) is not None:
            self.report(lines)

    def lines(self, now: float) -> list[bytes]:
        """One line per prefix and verb that had requests since the last call. ``now`` is in seconds since 1970."""
        lines = []
        for found in self._counted():
            at = (found["bucket"], found["prefix"], found["verb"])
            before = self._before.get(at, {})
            since = {name: round(found[name] - before.get(name, 0), 3) for name in _UNITS}
            self._before[at] = {name: found[name] for name in _UNITS}
            if since["requests"]:
                lines.append(_line(now, dict(zip(("Bucket", "Prefix", "Verb"), at, strict=True)), since, found))
        return lines

    def report(self, lines: list[bytes]) -> None:
        """Hand lines over, counting those that cannot be."""
        for line in lines:
            try:
                self._send(line)
            except (OSError, ValueError):
                self.dropped += 1


def _line(now: float, dimensions: dict[str, str], since: dict[str, float], found: dict[str, Any]) -> bytes:
    dimensions = {name: _dimension(value) for name, value in dimensions.items()}
    metrics = [{"Name": name, "Unit": unit} for name, unit in _UNITS.items()]
    values: dict[str, Any] = {**dimensions, **since}
    if "rate" in found:
        metrics.append({"Name": "rate", "Unit": "Count/Second"})
        values["rate"] = found["rate"]
    directive = {"Namespace": NAMESPACE, "Dimensions": [list(dimensions)], "Metrics": metrics}
    values["_aws"] = {"Timestamp": int(now * 1000), "CloudWatchMetrics": [directive]}
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _dimension(value: str) -> str:
    """CloudWatch takes 1 to 1,024 ASCII characters, of which one is no space."""
    return quote(value, safe=" !$&'()*+,/:;=@~")[:_MOST_DIMENSION_CHARACTERS].strip() or "(bucket)"
