"""Overwriting what was deleted from the embedded S3: it appends objects to volume files and only marks deleted ones.

Belongs here: vacuuming the volumes, and proof from their indexes that nothing deleted is left. Not here: the server's
arguments (s3_server.py).
"""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from pipelines.demo.s3_server import PORT_NAMES, S3Server, server_binary
from pipelines.demo.server_process import ServerError

_WAIT_SECONDS, _POLL_SECONDS = 60.0, 0.2
_COMMAND_SECONDS = 600.0
_ENTRY_BYTES, _SIZE_AT = 17, 13
"""An entry of a volume's index: the object's key (8), its offset (5), its size (4, negative when it was deleted)."""


def vacuum(server: S3Server) -> int:
    """Rewrite the server's volumes without deleted objects; returns the bytes that it freed.

    The server deletes in the background, so its own check is asked until every object in the volumes belongs to a
    key. Nothing is deleted here: a check may see an upload that is under way. Raises ServerError when deleted
    objects are left, because something is still being deleted or the server failed.
    """
    before, deadline = _volume_bytes(server), time.monotonic() + _WAIT_SECONDS
    while _orphans(server):
        if time.monotonic() > deadline:
            message = f"The embedded S3 still had deleted objects to clear after {_WAIT_SECONDS:g} s: try again."
            raise ServerError(message)
        time.sleep(_POLL_SECONDS)
    _shell(server, "volume.vacuum -garbageThreshold=0")
    left = sum(1 for index in server.data.glob("*.idx") for size in index_sizes(index) if size < 0)
    if left:
        message = f"The embedded S3 kept {left} deleted objects in its volumes: try again, or look at its log."
        raise ServerError(message)
    return max(0, before - _volume_bytes(server))


def index_sizes(index: Path) -> Iterator[int]:
    """The sizes in a volume's index, in the order they were written."""
    entries = index.read_bytes()
    for start in range(0, len(entries) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        yield int.from_bytes(entries[start + _SIZE_AT : start + _ENTRY_BYTES], "big", signed=True)


def _volume_bytes(server: S3Server) -> int:
    return sum(path.stat().st_size for path in server.data.glob("*.dat"))


def _orphans(server: S3Server) -> int:
    said = _shell(server, "volume.fsck -cutoffTimeAgo=0s")
    found = re.search(r"^Total\s+entries:\d+\s+orphan:(\d+)", said, re.MULTILINE)
    if found is None:
        message = f"The embedded S3's check of its volumes failed: {(said.splitlines() or ['it said nothing'])[-1]}"
        raise ServerError(message)
    return int(found[1])


def _shell(server: S3Server, command: str) -> str:
    """What the server's own shell says to a command, which needs the cluster's lock."""
    port = dict(zip(PORT_NAMES, server.ports, strict=True))
    done = subprocess.run(
        [
            str(server_binary()),
            "shell",
            f"-master=127.0.0.1:{port['master']}.{port['master.grpc']}",
            f"-filer=127.0.0.1:{port['filer']}.{port['filer.grpc']}",
        ],
        input=f"lock\n{command}\nunlock\n",
        env={"HOME": str(server.data), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    return done.stdout + done.stderr
