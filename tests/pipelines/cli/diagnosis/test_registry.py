"""Checks of `cippus doctor`: no fault of one hides another, and each has a name and a fix."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipelines.cli.diagnosis.registry import Finding, Parts, Registered, examine, registered
from resources.errors import TransientFailure


def nothing() -> Iterator[Finding]:
    yield Finding.ok("It is well.")


def broken() -> Iterator[Finding]:
    yield Finding.ok("Half is well.")
    raise KeyError("odd")


def refused() -> Iterator[Finding]:
    if threading.current_thread().name:
        raise TransientFailure("The server is down.\nDetails.")
    yield Finding.ok("It is up.")


def without_parts(body: Callable[[], Iterator[Finding]], _parts: Parts) -> Iterator[Finding]:
    return body()


def test_a_check_that_fails_or_hangs_does_not_stop_the_others(home: Path) -> None:
    released = threading.Event()

    def hanging() -> Iterator[Finding]:
        yield Finding.warning("It began.", "Wait.")
        released.wait()

    bodies = {"first": hanging, "second": broken, "third": refused, "fourth": refused, "last": nothing}
    checks = [Registered(name, partial(without_parts, body), f"Fix {name}.") for name, body in bodies.items()]
    try:
        found = examine(Parts.of_environment(), checks, limit_seconds=0.3)
    finally:
        released.set()
    assert [(one.check, str(one.status), one.text, one.fix) for one in found] == [
        ("first", "warning", "It began.", "Wait."),
        ("first", "error", "The check did not end within 0.3 seconds.", "Fix first."),
        ("second", "ok", "Half is well.", ""),
        ("second", "error", "The check failed: KeyError: 'odd'", "Fix second."),
        ("third", "error", "The server is down.", "Fix third."),
        ("last", "ok", "It is well.", ""),
    ], "the same failure is said once"
    assert home.is_dir()


def test_checks_have_names_of_their_own_and_a_fix() -> None:
    names = [check.name for check in registered()]
    assert len(names) == len(set(names)) > 12
    assert all(check.fix for check in registered())
