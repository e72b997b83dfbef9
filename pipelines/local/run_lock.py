"""The locks of a home folder: one run, check or load at a time, and one UI."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resources.errors import InputError


class RunInProgressError(InputError):
    """Another process holds the lock."""


@contextmanager
def only_run(home: Path) -> Iterator[None]:
    """Hold the home's run lock. The kernel frees it when the process ends. Raise RunInProgressError if it is taken."""
    with _only(home / "run.lock", f"Another `cippus` command is working in {home}: wait for it to end."):
        yield


@contextmanager
def only_ui(home: Path) -> Iterator[None]:
    """Hold the home's UI lock: two Dagster daemons would start each run twice. Raise RunInProgressError if taken."""
    with _only(home / "ui.lock", f"Another `cippus dev` serves {home}: use it, or stop it first."):
        yield


@contextmanager
def _only(path: Path, refusal: str) -> Iterator[None]:
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunInProgressError(refusal) from None
        yield
