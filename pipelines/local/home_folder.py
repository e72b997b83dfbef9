"""Whether the servers of the embedded stack can work in a home folder, found out before anything is started."""

import errno
import fcntl
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.local.privileges import unprivileged
from resources.errors import InputError
from resources.settings import home, writable_home

_REFUSED = ",?%"
"""SeaweedFS splits its folder at commas. The addresses of Dagster's databases end at `?`, and `%20` is a space."""


def usable_home() -> Path:
    """Return the home folder; create it if it is missing. Raise InputError if the servers cannot work in it."""
    path = home()
    if wrong := [character for character in str(path) if character in _REFUSED or not character.isprintable()]:
        message = (
            f"CIPPUS_HOME is {str(path)!r}; it must be a path without {wrong[0]!r}, which the servers cannot read."
        )
        raise InputError(message)
    with tempfile.TemporaryDirectory(prefix=".probe-", dir=writable_home()) as folder:
        for what, probe in (("permissions", _has_permissions), ("locks", _has_locks), ("sockets", _has_sockets)):
            try:
                works = probe(Path(folder))
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                works = False
            if not works:
                message = f"CIPPUS_HOME is {path}; its file system has no {what}: set it to a folder on a local disk."
                raise InputError(message)
    return path


def _has_permissions(folder: Path) -> bool:
    """Return whether files can be private, and belong to another user if this is root."""
    folder.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(folder, *unprivileged())
        if folder.stat().st_uid != unprivileged()[0]:
            return False
    return stat.S_IMODE(folder.stat().st_mode) == 0o700


def _has_locks(folder: Path) -> bool:
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True


def _has_sockets(folder: Path) -> bool:
    """Return whether a socket can be bound, by a path that is short however long the folder's is."""
    with _descriptor(folder) as descriptor, socket.socket(socket.AF_UNIX) as bound:
        bound.bind(f"/proc/self/fd/{descriptor}/socket")
    return True


@contextmanager
def _descriptor(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
