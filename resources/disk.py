"""The free space of a disk. A write to a mapped file on a full disk ends the process, so ask before."""

import shutil
from pathlib import Path

from resources.errors import PermanentFailure

_MIB = 1 << 20
LEAST_FREE_BYTES = 128 * _MIB
"""The engine of the index maps files of up to 32 MiB."""
_LEAST_FREE_SHARE = 0.01
"""The embedded S3 server stops writing here."""


class NoSpaceError(PermanentFailure):
    """A disk is full."""


def require_space(folder: Path, least_bytes: int = LEAST_FREE_BYTES) -> None:
    """Raise NoSpaceError if the disk of a folder, which may not exist yet, has less free space."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < least_bytes:
        message = (
            f"No space left on the disk of {folder}: {free // _MIB:,} MiB are free, and the next write needs "
            f"{least_bytes // _MIB:,} MiB. Free some space and run again; the run goes on where it ended."
        )
        raise NoSpaceError(message)


def full_disk(folder: Path) -> NoSpaceError | None:
    """Return the error to show for a failure of the servers on the disk of a folder, None if the disk has space."""
    if not folder.exists():
        return None
    usage = shutil.disk_usage(folder)
    if usage.free >= max(LEAST_FREE_BYTES, int(usage.total * _LEAST_FREE_SHARE)):
        return None
    return NoSpaceError(
        f"No space left on the disk of {folder}: {usage.free // _MIB:,} of {usage.total // _MIB:,} MiB are free. "
        "Free some space and run again; the run goes on where it ended."
    )
