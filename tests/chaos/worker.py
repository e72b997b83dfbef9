"""Workers: processes that do one step at a time, and that can be killed with SIGKILL at any moment."""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.chaos.fault_proxy import SECONDS, Lane, Stop
from tests.chaos.steps import BUCKETS, Place, Steps


@dataclass(frozen=True)
class Outcome:
    """How a step ended: well, with an error (its type and text), or killed."""

    error: str = ""
    text: str = ""
    killed: bool = False

    @property
    def is_well(self) -> bool:
        """Whether the step did what it should."""
        return not (self.error or self.killed)


class Nursery:
    """The process that forks workers."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def fork(self) -> tuple[int, socket.socket]:
        """A new worker: its process id, and the socket to it."""
        mine, its = socket.socketpair()
        with its:
            socket.send_fds(self._channel, [b"f"], [its.fileno()])
        return int(self._channel.recv(32)), mine


@dataclass
class Worker:
    """One worker on a lane; forked when it is needed, and again after it was killed."""

    nursery: Nursery
    lane: Lane
    place: Place
    _process: tuple[int, socket.socket] | None = None
    busy: bool = False
    _received: bytes = field(default=b"", repr=False)

    def start(self, step: str, table: str, buckets: tuple[int, ...] = ()) -> None:
        """Begin a step."""
        if self._process is None:
            self._process = self.nursery.fork()
        job = {"step": step, "table": table, "buckets": buckets, "place": asdict(self.place)}
        self._process[1].sendall(json.dumps(job).encode() + b"\n")
        self.busy = True

    def reaches(self, stop: Stop) -> bool:
        """Wait until the step reaches a stop or ends. Whether it was the stop."""
        assert self._process is not None  # start() made it
        return stop.wait(self._process[1])

    def finish(self) -> Outcome:
        """Wait until the step has ended."""
        assert self._process is not None  # start() made it
        self.busy = False
        self._process[1].settimeout(SECONDS)
        while not self._received.endswith(b"\n"):
            part = self._process[1].recv(1 << 16)
            if not part:
                message = f"The worker {self._process[0]} ended without being killed."
                raise ChildProcessError(message)
            self._received += part
        answer, self._received = json.loads(self._received), b""
        return Outcome(**answer)

    def kill(self) -> Outcome:
        """End the process with SIGKILL; returns once it is gone."""
        if self._process is not None:
            pid, channel = self._process
            os.kill(pid, signal.SIGKILL)
            with channel:
                while channel.recv(1 << 16):
                    pass
            self._process, self._received, self.busy = None, b"", False
        return Outcome(killed=True)


@contextmanager
def nursery() -> Iterator[Nursery]:
    """The forking process, ended afterwards with every worker."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-W", "ignore", "-m", __name__, str(its.fileno())]
    # The retries' new pauses begin at 50 ms instead of a second; the faults are single ones.
    variables = {"CIPPUS_BUCKETS": str(BUCKETS), "AWS_NEW_RETRIES_2026": "true", "POLARS_MAX_THREADS": "2"}
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", **variables}
    with mine, subprocess.Popen(command, env=environment, pass_fds=[its.fileno()]) as process:
        its.close()
        try:
            yield Nursery(mine)
        finally:
            mine.close()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> None:
    """Fork a worker for every message; end when the channel does."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for workers
    _warm()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        while True:
            message, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
            if not message:
                return
            pid = os.fork()
            if pid == 0:
                channel.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _serve(descriptors[0])
                os._exit(0)
            os.close(descriptors[0])
            channel.send(str(pid).encode())


def _warm() -> None:
    """Import and read what every worker needs: clients of S3 read a megabyte of descriptions, each for itself."""
    import botocore.loaders
    import s3fs  # noqa: F401  # imported late where it is used

    botocore.loaders.create_loader = functools.cache(botocore.loaders.create_loader)
    _ = Steps(Place("", "http://127.0.0.1:9", "none", "none", "none")).s3.client


def _serve(descriptor: int) -> None:
    """A worker: does what each line says, and answers with a line."""
    steps: Steps | None = None
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rb") as lines:
        for line in lines:
            job = json.loads(line)
            place = Place(**job["place"])
            if steps is None or steps.place != place:
                steps = Steps(place)
            channel.sendall(json.dumps(_done(steps, job)).encode() + b"\n")


def _done(steps: Steps, job: dict[str, Any]) -> dict[str, str]:
    """Do a step; what it raises is an answer."""
    try:
        steps.take(job["step"], job["table"], job["buckets"])
    except Exception as error:
        return {"error": type(error).__name__, "text": "".join(traceback.format_exception(error)[-8:])}
    return {}


if __name__ == "__main__":
    main()
