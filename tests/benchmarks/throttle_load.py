"""Load of one client process: as many operations as it can for some seconds, and their outcomes."""

import asyncio
import hashlib
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import polars as pl

BUCKET, REGION = "bench", "us-east-1"
ACCESS_KEY_ID, SECRET_ACCESS_KEY = "BENCHKEY", "bench-secret"
GRACE_SECONDS = 40.0
"""Time that operations may take after their phase before they count as lost."""
_ROWS = 16


@dataclass(frozen=True)
class Door:
    """How a client process reaches S3, and the prefixes it writes to. ``proxy`` is the governor's address, or blank."""

    client: str
    endpoint: str
    proxy: str = ""
    virtual_host: bool = False
    prefixes: tuple[str, ...] = ("data",)
    process: int = 0

    def storage_options(self) -> dict[str, str]:
        """Return the options of polars and deltalake."""
        proxied = {"proxy_url": self.proxy} if self.proxy else {}
        return {
            "aws_endpoint_url": self.object_store_endpoint,
            "aws_access_key_id": ACCESS_KEY_ID,
            "aws_secret_access_key": SECRET_ACCESS_KEY,
            "aws_region": REGION,
            "aws_virtual_hosted_style_request": str(self.virtual_host).lower(),
            "allow_http": "true",
            **proxied,
        }

    @property
    def object_store_endpoint(self) -> str:
        """The endpoint; for virtual-host-style addressing, object_store needs the bucket in it."""
        return self.endpoint.replace("://", f"://{BUCKET}.", 1) if self.virtual_host else self.endpoint

    def botocore_config(self) -> dict[str, Any]:
        """Return the options of boto3 and s3fs."""
        style = {"s3": {"addressing_style": "virtual" if self.virtual_host else "path"}}
        return {**style, "proxies": {"http": self.proxy}} if self.proxy else style


@dataclass
class PhaseResult:
    """Outcomes of a phase's operations; ``failed`` maps operations to the error's type and message."""

    written: list[str] = field(default_factory=list)
    attempts: int = 0
    lost: int = 0
    failed: dict[str, str] = field(default_factory=dict)


class WrongContentError(RuntimeError):
    """A read returned other content than was written."""


def content(name: str) -> bytes:
    """Return the 4 KiB content of an object of this name."""
    return hashlib.sha256(name.encode()).digest() * 128


def frame(name: str) -> pl.DataFrame:
    """Return the rows of a Parquet file of this name."""
    return pl.DataFrame({"name": [name] * _ROWS, "row": range(_ROWS)})


def expect(right: bool, name: str) -> None:
    """Raise WrongContentError unless ``right``."""
    if not right:
        message = f"{name} has other content than was written"
        raise WrongContentError(message)


class Client(ABC):
    """Writes and reads of a client. A name is the key of an object (for deltalake: table#append)."""

    workers: int
    read_workers: int
    objects_a_read = 1

    def __init__(self, door: Door) -> None:
        self.door = door

    def name(self, worker: int, number: int) -> str:
        """Return the name of a worker's n-th write; prefixes take turns, so that all are used at all times."""
        prefix = self.door.prefixes[(worker + number) % len(self.door.prefixes)]
        return f"{prefix}/{self.door.process}-{worker}-{number:06d}"

    def targets(self, written: list[str]) -> list[Any]:
        """Return the arguments of the reads, which take turns."""
        return list(written)

    @abstractmethod
    def run(self, write: bool, seconds: float, written: list[str]) -> PhaseResult:
        """Keep all workers busy for some seconds."""


class ThreadedClient(Client):
    """A client whose calls block."""

    @abstractmethod
    def write(self, name: str) -> None:
        """Write one object."""

    @abstractmethod
    def read(self, target: Any) -> None:
        """Read and compare."""

    def run(self, write: bool, seconds: float, written: list[str]) -> PhaseResult:
        """Run threads. Operations of threads that do not end in time count as lost."""
        result, until, busy = PhaseResult(), time.monotonic() + seconds, dict[int, str]()
        targets = self.targets(written)

        def work(worker: int) -> None:
            number = 0
            while time.monotonic() < until:
                target = self.name(worker, number) if write else targets[(worker * 7 + number) % len(targets)]
                busy[worker] = str(target)
                _record(result, target, write, self.objects_a_read, partial(self.write if write else self.read, target))
                del busy[worker]
                number += 1

        count = self.workers if write else self.read_workers
        threads = [
            threading.Thread(target=work, args=(n,), daemon=True) for n in range(count if write or targets else 0)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, until + GRACE_SECONDS - time.monotonic()))
        return _with_unfinished(result, busy, write, self.objects_a_read)


class AsyncClient(Client):
    """A client whose calls are awaited, all on one loop."""

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self.open())

    async def open(self) -> None:
        """Prepare on the loop."""

    @abstractmethod
    async def write(self, name: str) -> None:
        """Write one object."""

    @abstractmethod
    async def read(self, target: Any) -> None:
        """Read and compare."""

    def run(self, write: bool, seconds: float, written: list[str]) -> PhaseResult:
        """Run tasks. Operations of tasks that do not end in time are cancelled and count as lost."""
        result, until, busy = PhaseResult(), time.monotonic() + seconds, dict[int, str]()
        targets = self.targets(written)

        async def work(worker: int) -> None:
            number = 0
            while time.monotonic() < until:
                target = self.name(worker, number) if write else targets[(worker * 7 + number) % len(targets)]
                busy[worker] = str(target)
                await _record_async(result, target, write, (self.write if write else self.read)(target))
                del busy[worker]
                number += 1

        async def all_of_them() -> None:
            tasks = [asyncio.create_task(work(n)) for n in range(self.workers if write or targets else 0)]
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=seconds + GRACE_SECONDS)
                for task in late:
                    task.cancel()

        self._loop.run_until_complete(all_of_them())
        return _with_unfinished(result, busy, write, 1)


def _record(result: PhaseResult, target: Any, write: bool, weight: int, operation: Callable[[], None]) -> None:
    weight = 1 if write else weight
    result.attempts += weight
    try:
        operation()
    except BaseException as error:  # a client's panic is no Exception
        _failed(result, target, weight, error)
    else:
        if write:
            result.written.append(target)


async def _record_async(result: PhaseResult, target: Any, write: bool, operation: Awaitable[None]) -> None:
    result.attempts += 1
    try:
        await operation
    except Exception as error:
        _failed(result, target, 1, error)
    else:
        if write:
            result.written.append(target)


def _failed(result: PhaseResult, target: Any, weight: int, error: BaseException) -> None:
    result.lost += weight
    result.failed[str(target)] = f"{type(error).__name__}: {str(error)[:600]}"


def _with_unfinished(result: PhaseResult, busy: dict[int, str], write: bool, weight: int) -> PhaseResult:
    for target in list(busy.values()):
        result.lost += 1 if write else weight
        result.failed[target] = f"Unfinished: {GRACE_SECONDS:.0f} s after the phase"
    return result
