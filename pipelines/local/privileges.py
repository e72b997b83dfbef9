"""Programs that refuse to be root's, run as another user without any capability."""

import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

_NOBODY = 65534
_COPIES = Path("/var/tmp")  # noqa: S108  # every user may enter it, and the copy's folder is root's alone


class ProcessOptions(TypedDict, total=False):
    """Options of `subprocess`."""

    user: int
    group: int
    extra_groups: list[int]
    pass_fds: tuple[int, ...]


@dataclass(frozen=True)
class OpenFolder:
    """A folder as a child process reaches it: its path there, and the options to start the process with."""

    path: str
    options: ProcessOptions


def unprivileged() -> tuple[int, int]:
    """Return the user and group ids that Postgres runs as when this process is root's."""
    try:
        user = pwd.getpwnam("nobody")
    except KeyError:
        return _NOBODY, _NOBODY
    return user.pw_uid, user.pw_gid


@contextmanager
def opened(folder: Path) -> Iterator[OpenFolder]:
    """Open a folder for processes that refuse to be root's.

    The home is closed to the other user, so the process gets its own folder as an open descriptor. Changing the user
    takes all capabilities from a process.
    """
    if os.geteuid() != 0:
        yield OpenFolder(str(folder), {})
        return
    user, group = unprivileged()
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        options = ProcessOptions(user=user, group=group, extra_groups=[], pass_fds=(descriptor,))
        yield OpenFolder(f"/proc/self/fd/{descriptor}", options)
    finally:
        os.close(descriptor)


@contextmanager
def pipe_with(text: str) -> Iterator[int]:
    """Yield a descriptor to read a short text from, which the other user may also open by its path."""
    reading, writing = os.pipe()
    try:
        if os.geteuid() == 0:
            os.fchown(reading, *unprivileged())
        with os.fdopen(writing, "w") as file:
            file.write(text)
        yield reading
    finally:
        os.close(reading)


def is_open_to_all(folder: Path) -> bool:
    """Return whether every user may enter a folder and read what is in it."""
    folder = folder.resolve()
    readable = stat.S_IROTH | stat.S_IXOTH
    may_enter = all(parent.stat().st_mode & stat.S_IXOTH for parent in folder.parents)
    return may_enter and folder.stat().st_mode & readable == readable


def copy_for_all(top: Path, names: Iterable[str]) -> Path:
    """Copy folders of ``top`` to a new folder, which every user may enter and only root may write to. Return it."""
    copy = Path(tempfile.mkdtemp(prefix="cippus-postgres-", dir=_COPIES))
    for name in names:
        if (top / name).exists():
            shutil.copytree(top / name, copy / name)
    for path in (copy, *copy.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    return copy
