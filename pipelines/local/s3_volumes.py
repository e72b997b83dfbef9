"""Overwriting what was deleted from the embedded S3: it appends objects to volume files and only marks deleted ones."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines.local import stack
from pipelines.local.s3_server import LIST_VOLUMES, S3Server
from pipelines.local.server_process import ServerError

_PATIENCE_SECONDS, _POLL_SECONDS = 10.0, 0.2
_ENTRY_BYTES, _SIZE_AT = 17, 13
"""An entry of a volume's index: the object's key (8), its offset (5), its size (4, negative when it was deleted)."""


def vacuum(home: Path, patience_seconds: float = _PATIENCE_SECONDS) -> int:
    """Rewrite the volumes of a home's server without deleted objects; returns the bytes that it freed.

    Each step is given so long in which nothing gets better. Raises ServerError when deleted objects are left, because
    something is being deleted just now or the server failed.
    """
    server = stack.s3_server(home)
    before = _volume_bytes(server)
    if _lowest(lambda: _unclear(server), patience_seconds):
        _clear(home)
    if left := _lowest(lambda: _left_by_vacuum(server), patience_seconds):
        message = f"The embedded S3 kept {left} deleted objects in its volumes: try again, or look at its log."
        raise ServerError(message)
    return max(0, before - _volume_bytes(server))


def index_sizes(index: Path) -> Iterator[int]:
    """The sizes in a volume's index, in the order they were written."""
    entries = index.read_bytes()
    for start in range(0, len(entries) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        yield int.from_bytes(entries[start + _SIZE_AT : start + _ENTRY_BYTES], "big", signed=True)


def _lowest(count: Callable[[], int], patience_seconds: float) -> int:
    """What is left of a number once it has not fallen any more for so long."""
    fewest, deadline = count(), time.monotonic() + patience_seconds
    while fewest and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
        if (counted := count()) < fewest:
            fewest, deadline = counted, time.monotonic() + patience_seconds
    return fewest


def _left_by_vacuum(server: S3Server) -> int:
    """The deleted objects that a vacuum leaves: it passes over a volume that it cannot take without a word."""
    _locked(server, "volume.vacuum -garbageThreshold=0")
    return sum(1 for index in server.data.glob("*.idx") for size in index_sizes(index) if size < 0)


def _clear(home: Path) -> None:
    """Delete the objects that belong to no key.

    The server remembers what it has to clear in its memory alone, so they stay for good when it is killed, and for
    minutes to hours when it fails at one. An upload under way belongs to no key either: so nobody may be served
    meanwhile.
    """
    with stack.s3_without_clients(home) as server:
        said = _locked(server, "volume.fsck -cutoffTimeAgo=0s -reallyDeleteFromVolume")
        if left := _unclear(server):
            message = f"The embedded S3 could not clear {left} deleted objects or volumes: {_last_line(said)}"
            raise ServerError(message)


def _unclear(server: S3Server) -> int:
    """The objects in the volumes that belong to no key, and the volumes that were not looked at.

    The server clears the objects of deleted keys in the background.
    """
    said = _locked(server, LIST_VOLUMES, "volume.fsck -cutoffTimeAgo=0s")
    found = re.search(r"^Total\s+entries:\d+\s+orphan:(\d+)", said, re.MULTILINE)
    if found is None:
        message = f"The embedded S3's check of its volumes failed: {_last_line(said)}"
        raise ServerError(message)
    return int(found[1]) + len(server.unlisted_volumes(said))


def _locked(server: S3Server, *commands: str) -> str:
    """What the shell says to commands that nobody else may give meanwhile."""
    return server.shell("lock", *commands, "unlock")


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or ["it said nothing"])[-1]


def _volume_bytes(server: S3Server) -> int:
    return sum(path.stat().st_size for path in server.data.glob("*.dat"))
