"""The registry of checks, and their run: at the same time, each in a thread of its own, for a limited time."""

import pkgutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from importlib import import_module
from pathlib import Path

from pipelines.cli import diagnosis as package
from resources.delta.table import LakeResource
from resources.errors import CippusError, as_cippus_error
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.s3.client import S3Resource
from resources.settings import home
from resources.sources.postgres import PostgresResource
from resources.wiring import Resources, resources, with_secrets

LIMIT_SECONDS = 8.0
"""All checks take a second or two; on a machine with much to do, several times as long."""
STATEMENT_SECONDS = 3


class Status(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """What one check found: one sentence, and how to fix it; ``fix`` is blank where nothing is wrong."""

    status: Status
    text: str
    fix: str = ""
    check: str = ""

    @classmethod
    def ok(cls, text: str) -> "Finding":
        """Return a finding that needs nothing."""
        return cls(Status.OK, text)

    @classmethod
    def warning(cls, text: str, fix: str) -> "Finding":
        """Return a finding that somebody should look at."""
        return cls(Status.WARNING, text, fix)

    @classmethod
    def error(cls, text: str, fix: str) -> "Finding":
        """Return a finding that stops the lineage or loses data."""
        return cls(Status.ERROR, text, fix)


@dataclass(frozen=True)
class Parts:
    """The resources that checks test. They send requests directly, without the request governor and its patience."""

    made: Resources
    home: Path

    @classmethod
    def of_environment(cls) -> "Parts":
        """Return the parts of this environment. Raise InputError for a bad setting. Nothing is opened yet."""
        made = resources()
        return cls(
            made._replace(
                source=with_secrets(made.source),
                embedder=with_secrets(made.embedder),
                qdrant=with_secrets(made.qdrant),
                erasures=with_secrets(made.erasures),
            ),
            home(),
        )

    @cached_property
    def s3(self) -> S3Resource:
        """The lake's S3, without a governor."""
        known = self.made.s3
        names = [name for name in S3Resource.model_fields if name != "governor"]
        return S3Resource(**{name: getattr(known, name) for name in names})

    @cached_property
    def lake(self) -> LakeResource:
        """The Delta tables, without a governor."""
        return LakeResource(s3=self.s3)

    @cached_property
    def raw_store(self) -> RawStoreResource:
        """The windows, without a governor."""
        return RawStoreResource(s3=self.s3)

    @cached_property
    def quarantine(self) -> QuarantineResource:
        """The rejected rows, without a governor."""
        return QuarantineResource(s3=self.s3)

    @cached_property
    def postgres(self) -> PostgresResource | None:
        """The source database with a short statement time-out; None for another source."""
        source = self.made.source
        if not isinstance(source, PostgresResource):
            return None
        given = {name: getattr(source, name) for name in PostgresResource.model_fields}
        return PostgresResource(**{**given, "statement_timeout_seconds": STATEMENT_SECONDS})


Check = Callable[[Parts], Iterable[Finding]]


@dataclass(frozen=True)
class Registered:
    """A check, its name, and the fix to show when it raises or does not end. ``hangs`` is how bad that is."""

    name: str
    check: Check
    fix: str
    hangs: Status = Status.ERROR


_REGISTERED: list[Registered] = []


def diagnosis(name: str, fix: str, hangs: Status = Status.ERROR) -> Callable[[Check], Check]:
    """Register a check of `cippus doctor`. It may raise: a CippusError is a finding, and so is any other error."""

    def register(check: Check) -> Check:
        _REGISTERED.append(Registered(name, check, fix, hangs))
        return check

    return register


def registered() -> Sequence[Registered]:
    """Import every module of the package, and return their checks."""
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        import_module(module.name)
    return tuple(_REGISTERED)


@dataclass
class _Run:
    """One check in its thread."""

    registered: Registered
    parts: Parts
    found: list[Finding] = field(default_factory=list)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        # A thread that hangs in a library does not keep the process alive.
        self.thread = threading.Thread(target=self._run, name=f"doctor {self.registered.name}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            for finding in self.registered.check(self.parts):
                self.found.append(finding)
        except Exception as error:
            failure = as_cippus_error(error) or error
            text = (str(failure).splitlines() or [type(error).__name__])[0]
            if not isinstance(failure, CippusError):
                text = f"The check failed: {type(error).__name__}: {text}"
            self.found.append(Finding.error(text, self.registered.fix))

    def findings(self, until: float, limit_seconds: float) -> list[Finding]:
        """Wait until a time, and return the findings so far."""
        self.thread.join(max(0.0, until - time.monotonic()))
        found = list(self.found)
        if self.thread.is_alive():
            text = f"The check did not end within {limit_seconds:g} seconds."
            found.append(Finding(self.registered.hangs, text, self.registered.fix))
        name = self.registered.name
        return [Finding(one.status, one.text, one.fix, name) for one in found]


def examine(
    parts: Parts, checks: Sequence[Registered] | None = None, limit_seconds: float | None = None
) -> list[Finding]:
    """Run all checks, and return their findings in the order of registration.

    A check that fails or hangs does not stop the others. The same sentence is returned once: when a server is down,
    every check of it says so.
    """
    runs = [_Run(check, parts) for check in (registered() if checks is None else checks)]
    limit = LIMIT_SECONDS if limit_seconds is None else limit_seconds
    until = time.monotonic() + limit
    found: dict[tuple[Status, str, str], Finding] = {}
    for run in runs:
        for finding in run.findings(until, limit):
            is_ended = finding.fix != run.registered.fix
            found.setdefault((finding.status, finding.text, finding.check if is_ended else ""), finding)
    return list(found.values())
