"""One process at a time works on a home's data: a run, a check of it, or a load."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.errors import InputError


class RunInProgressError(InputError):
    """Another process is working on this home folder."""


@contextmanager
def only_run(home: Path) -> Iterator[None]:
    """Hold the home's run lock; the kernel frees it however the process ends. Raises RunInProgressError."""
    with (home / "run.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"Another `cippus` command is working in {home}: wait for it to end."
            raise RunInProgressError(message) from None
        yield
