"""Vacuum of the embedded S3: it appends objects to volume files, and only marks deleted objects as deleted."""

from collections.abc import Iterator
from pathlib import Path

from pipelines.local import stack
from pipelines.local.s3_server import S3Server
from pipelines.local.server_process import ServerError, wait_until

_PATIENCE_SECONDS = 10.0
_ENTRY_BYTES, _SIZE_AT = 17, 13
"""An entry of a volume's index: the object's key (8), its offset (5), its size (4, negative if it is deleted)."""
_PURGE = "volume.fsck -cutoffTimeAgo=0s -reallyDeleteFromVolume"


def vacuum(home: Path, patience_seconds: float = _PATIENCE_SECONDS) -> int:
    """Rewrite the volumes of a home's S3 server without deleted objects. Return the freed bytes.

    First mark the orphaned objects as deleted: the server keeps its list of chunks to delete in memory only, so a kill
    orphans them. An upload in progress looks orphaned too, so no client may reach the server meanwhile. Raise
    ServerError if a command fails, or if a second purge or the vacuum leaves deleted objects.
    """
    with stack.s3_without_clients(home) as server:
        before = _volume_bytes(server)
        _run(server, _PURGE)

        def is_vacuumed() -> bool:
            _run(server, "volume.vacuum -garbageThreshold=0")  # skips a busy volume without an error
            return not _deleted(server)

        if wait_until(is_vacuumed, patience_seconds):
            _run(server, _PURGE)
        if deleted := _deleted(server):
            message = (
                f"The embedded S3 still has {deleted} deleted objects in its volumes. Erase again, or read its log."
            )
            raise ServerError(message)
        return max(0, before - _volume_bytes(server))


def index_sizes(index: Path) -> Iterator[int]:
    """Yield the sizes in a volume's index, in the order they were written."""
    entries = index.read_bytes()
    for start in range(0, len(entries) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        yield int.from_bytes(entries[start + _SIZE_AT : start + _ENTRY_BYTES], "big", signed=True)


def _run(server: S3Server, command: str) -> None:
    """Run a command under the shell's lock. Raise ServerError if it fails."""
    output = server.shell("lock", command, "unlock")
    if errors := [line for line in output.splitlines() if line.startswith("error:")]:
        message = f"The embedded S3 failed at {command}: {errors[-1]}"
        raise ServerError(message)


def _deleted(server: S3Server) -> int:
    return sum(1 for index in server.data.glob("*.idx") for size in index_sizes(index) if size < 0)


def _volume_bytes(server: S3Server) -> int:
    return sum(path.stat().st_size for path in server.data.glob("*.dat"))
