"""The run lock of a home folder: one run, check or load at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.errors import InputError


class RunInProgressError(InputError):
    """Another process holds the run lock of this home folder."""


@contextmanager
def only_run(home: Path) -> Iterator[None]:
    """Hold the home's run lock. The kernel frees it when the process ends. Raise RunInProgressError if it is taken."""
    with (home / "run.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"Another `cippus` command is working in {home}: wait for it to end."
            raise RunInProgressError(message) from None
        yield
