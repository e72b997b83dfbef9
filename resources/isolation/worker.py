"""Serve `resources.isolation.process`: fork a process for each file, which reads it and sends its rows.

The server imports reading functions and reads no file itself, so a fork costs milliseconds. It must have one thread
when it forks. If a forked process does not end well, the server ends too, and its exit status tells how.
"""

import importlib
import os
import pickle
import resource
import signal
import struct
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from resources.errors import PermanentFailure

HEADER = struct.Struct("<cQ")
TABLE, END, REFUSED, FAILED, OUT_OF_MEMORY = b"T", b"E", b"R", b"F", b"M"
"""Kinds of answers. Their payloads: an Arrow stream, nothing, the reason, the error, nothing."""
DIED = 100
"""Exit status of the server after a forked process that was ended by signal n: DIED + n."""
_SIZE_BYTES = 8
_MOST_REASON = 300


class RefusedFileError(PermanentFailure):
    """A file is not what its reader wants. The message is the reason, one clause."""


class Request(NamedTuple):
    """A function, its arguments, and its limits. Functions are pickled by name."""

    function: Callable[..., Iterable[pa.Table]]
    arguments: tuple[Any, ...]
    memory_bytes: int
    seconds: int

    def encoded(self) -> bytes:
        """Return the request as the server reads it."""
        body = pickle.dumps(tuple(self), protocol=5)
        return len(body).to_bytes(_SIZE_BYTES, "little") + body


def serve(requests: BinaryIO, answers: int) -> int:
    """Answer requests until there are no more. Return the exit status."""
    while head := requests.read(_SIZE_BYTES):
        # Sent by the process that started this one. Loading it imports the function's module before the fork.
        request = Request(*pickle.loads(requests.read(int.from_bytes(head, "little"))))  # noqa: S301
        child = os.fork()
        if not child:
            _answer(request, answers)
        _, status = os.waitpid(child, 0)
        if status:
            return DIED + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return 0


def _answer(request: Request, answers: int) -> None:
    """Read one file and end this process."""
    status = 1
    try:
        _limit(request.memory_bytes)
        for kind, payload in _answers(request):
            _send(answers, kind, payload)
        status = 0
    except BrokenPipeError:
        status = 0  # the caller wants no more rows
    finally:
        os._exit(status)


def _answers(request: Request) -> Iterable[tuple[bytes, Any]]:
    try:
        _allow(request.seconds)
        for table in request.function(*request.arguments):
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write(table)
            yield TABLE, sink.getvalue()
            _allow(request.seconds)
        yield END, b""
    except GeneratorExit:
        raise
    except RefusedFileError as error:
        yield REFUSED, _one_line(error)
    except MemoryError:  # Arrow's is one too
        yield OUT_OF_MEMORY, b""
    except BaseException as error:  # a panic in Rust is no Exception
        yield FAILED, _one_line(error)


def _one_line(error: BaseException) -> bytes:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:_MOST_REASON].encode(errors="replace")


def _limit(memory_bytes: int) -> None:
    """Allow this process so many bytes more than it has, and no core dump. Let the kernel end it before others."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most, (_, hard) = pages * resource.getpagesize() + memory_bytes, resource.getrlimit(resource.RLIMIT_AS)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _allow(seconds: int) -> None:
    """Allow this process so many seconds of CPU from now. It then ends even if nobody waits for it any more."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _send(answers: int, kind: bytes, payload: Any) -> None:
    for part in (HEADER.pack(kind, len(payload)), payload):
        left = memoryview(part)
        while left:
            left = left[os.write(answers, left) :]


def main() -> int:
    """Serve the requests on standard input."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller ends this process
    answers = os.dup(1)
    os.dup2(2, 1)  # a library that prints must not disturb the answers
    pa.set_cpu_count(1)
    return serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    # Under its own name, so that a reading function raises the same RefusedFileError.
    sys.exit(importlib.import_module("resources.isolation.worker").main())
