"""Run reading functions on files of other writers, each file in a process of its own."""

import atexit
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.errors import PermanentFailure
from resources.isolation.worker import DIED, END, FAILED, HEADER, OUT_OF_MEMORY, REFUSED, TABLE, Request

_PROJECT = Path(__file__).parents[2]
_ONE_THREAD = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "POLARS_MAX_THREADS"), "1"),
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # others have a thread of their own
}
_START_SECONDS = 120
_CHUNK_BYTES, _MIB = 1 << 20, 1 << 20


class UnreadableFileError(PermanentFailure):
    """A file cannot be read within its limits. The message is the reason, one clause.

    ``detail`` is the same without "the file cannot be read".
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail or reason


class ReaderError(PermanentFailure):
    """The process that reads files does not work; no file is at fault."""


@dataclass(frozen=True)
class Limits:
    """What reading one file may take: memory, and seconds until its first rows and between its rows."""

    memory_bytes: int = 2 << 30
    seconds: int = 60


def read(
    function: Callable[..., Iterable[pa.Table]], *arguments: Any, limits: Limits | None = None
) -> Generator[pa.Table, None, None]:
    """Yield the tables that a module's function yields for these arguments. Raise UnreadableFileError.

    The function runs in a process that ends with this file. It raises RefusedFileError with the reason if the file is
    not what it wants. The process has no secrets: its environment is empty.
    """
    allowed = limits or Limits()
    server = _idle.pop() if _idle else _Server()
    is_over = False
    try:
        server.send(Request(function, arguments, allowed.memory_bytes, allowed.seconds).encoded())
        while True:
            kind, payload = server.answer(allowed)
            is_over = kind != TABLE
            if kind == END:
                return
            if kind == REFUSED:
                raise UnreadableFileError(payload.decode(errors="replace"))
            if kind == FAILED:
                detail = payload.decode(errors="replace")
                raise UnreadableFileError(f"the file cannot be read: {detail}", detail)
            if kind == OUT_OF_MEMORY:
                raise UnreadableFileError(_memory_reason(allowed))
            yield pa.ipc.open_stream(payload).read_all()
    finally:
        if is_over:
            _idle.append(server)
        else:  # it hangs, it died, or the caller wants no more
            server.end()


class _Server:
    """A process that forks for each file. Starting it imports Arrow, so it is used again."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 -- closed by end()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "resources.isolation.worker"],
            cwd=_PROJECT,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", **_ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            bufsize=0,
        )
        self.pid, self._starting_seconds = self._process.pid, _START_SECONDS
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def send(self, request: bytes) -> None:
        """Send a request. If the server died, the answer tells why."""
        left = memoryview(request)
        with suppress(BrokenPipeError):
            while left:
                left = left[self._requests.write(left) or 0 :]

    def answer(self, limits: Limits) -> tuple[bytes, bytes]:
        """Return the kind and the payload of the next answer. Raise UnreadableFileError."""
        deadline = time.monotonic() + limits.seconds + self._starting_seconds
        kind, size = HEADER.unpack(self._exactly(HEADER.size, deadline, limits))
        self._starting_seconds = 0
        return kind, self._exactly(size, deadline, limits)

    def _exactly(self, size: int, deadline: float, limits: Limits) -> bytes:
        found = bytearray()
        with selectors.DefaultSelector() as ready:
            ready.register(self._answers, selectors.EVENT_READ)
            while len(found) < size:
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    raise UnreadableFileError(_time_reason(limits))
                chunk = os.read(self._answers.fileno(), min(_CHUNK_BYTES, size - len(found)))
                if not chunk:
                    raise self._death(limits)
                found += chunk
        return bytes(found)

    def _death(self, limits: Limits) -> PermanentFailure:
        """Return why the server ended."""
        number = self._process.wait() - DIED
        self._errors.seek(0)
        said = self._errors.read(1 << 16).decode(errors="replace")
        if number == signal.SIGXCPU:
            return UnreadableFileError(_time_reason(limits))
        if number == signal.SIGKILL or "memory allocation" in said or "bad_alloc" in said:
            return UnreadableFileError(_memory_reason(limits))
        if number > 0:
            return UnreadableFileError(f"the process that read the file was ended by {signal.Signals(number).name}")
        last = (said.strip().splitlines() or ["no message"])[-1]
        return ReaderError(f"The process that reads files ended with status {self._process.returncode}: {last}")

    def end(self) -> None:
        """End the server, and the process that it forked, if any."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._requests, self._answers, self._errors):
            pipe.close()
        self._process.wait()


_idle: list[_Server] = []
"""Servers that wait for a file. They end with this process, because their standard input ends."""


def idle_servers() -> list[int]:
    """Return the process ids of the servers that wait for a file."""
    return [server.pid for server in _idle]


@atexit.register
def end_idle_servers() -> None:
    """End the servers that wait for a file. The next file starts another."""
    while _idle:
        _idle.pop().end()


os.register_at_fork(after_in_child=_idle.clear)  # a server answers one process


def _memory_reason(limits: Limits) -> str:
    return f"reading the file takes more than {limits.memory_bytes // _MIB:,} MiB of memory"


def _time_reason(limits: Limits) -> str:
    return f"reading the file takes longer than {limits.seconds:,} seconds"
