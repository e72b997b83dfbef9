"""Workers: processes that run one step at a time and can be killed with SIGKILL at any time."""

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from resources.proxies import exempt_loopback
from tests.chaos.fault_proxy import SECONDS, Lane, Stop
from tests.chaos.steps import BUCKETS, Place, Steps
from tests.worlds.service_descriptions import parse_service_descriptions_once

_DEAD_PROXY = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Outcome:
    """Outcome of a step: success, an error (type and text), or killed."""

    error: str = ""
    text: str = ""
    killed: bool = False

    @property
    def is_well(self) -> bool:
        """Return whether the step succeeded."""
        return not (self.error or self.killed)


class Nursery:
    """The process that forks workers."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def fork(self) -> tuple[int, socket.socket]:
        """Fork a worker. Return its process id and a socket to it."""
        mine, its = socket.socketpair()
        with its:
            socket.send_fds(self._channel, [b"f"], [its.fileno()])
        return int(self._channel.recv(32)), mine


@dataclass
class Worker:
    """One worker on a lane. It is forked when needed, and again after a kill."""

    nursery: Nursery
    lane: Lane
    place: Place
    _process: tuple[int, socket.socket] | None = None
    busy: bool = False
    _received: bytes = field(default=b"", repr=False)

    def start(self, step: str, table: str, buckets: tuple[int, ...] = ()) -> None:
        """Start a step."""
        if self._process is None:
            self._process = self.nursery.fork()
        job = {"step": step, "table": table, "buckets": buckets, "place": asdict(self.place)}
        self._process[1].sendall(json.dumps(job).encode() + b"\n")
        self.busy = True

    def reaches(self, stop: Stop) -> bool:
        """Wait until the step reaches a stop or ends. Return whether it reached the stop."""
        assert self._process is not None  # start() made it
        return stop.wait(self._process[1])

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        assert self._process is not None  # start() made it
        os.kill(self._process[0], number)

    def finish(self, *, may_end: bool = False) -> Outcome:
        """Wait until the step has ended. Return its outcome. With ``may_end``, the process has got a signal.

        A native call may keep Python from handling it until the step has ended, so the process is not used again.
        """
        assert self._process is not None  # start() made it
        self.busy = False
        self._process[1].settimeout(SECONDS)
        while not self._received.endswith(b"\n"):
            part = self._process[1].recv(1 << 16)
            if not part and may_end:
                return self.kill()
            if not part:
                message = f"Worker {self._process[0]} ended, although nobody killed it."
                raise ChildProcessError(message)
            self._received += part
        answer, self._received = json.loads(self._received), b""
        if may_end:
            self.kill()
        return Outcome(**answer)

    def kill(self) -> Outcome:
        """Kill the process with SIGKILL, and wait until it is gone."""
        if self._process is not None:
            pid, channel = self._process
            with suppress(ProcessLookupError):  # a signal has ended it already
                os.kill(pid, signal.SIGKILL)
            with channel:
                while channel.recv(1 << 16):
                    pass
            self._process, self._received, self.busy = None, b"", False
        return Outcome(killed=True)


@contextmanager
def nursery() -> Iterator[Nursery]:
    """Start the forking process; end it and every worker afterwards."""
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-W", "ignore", "-m", __name__, str(its.fileno())]
    # Retries start after 50 ms instead of a second, because each fault happens once.
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
    """Fork a worker for every message, until the channel closes."""
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
                with suppress(KeyboardInterrupt):
                    _serve(descriptors[0])
                os._exit(0)
            os.close(descriptors[0])
            channel.send(str(pid).encode())


def _warm() -> None:
    """Import and parse once for all workers."""
    import s3fs  # noqa: F401  # imported late where it is used

    parse_service_descriptions_once()
    _ = Steps(Place("", "http://127.0.0.1:9", "none", "none", "none")).s3.client


def _serve(descriptor: int) -> None:
    """Run the job of each line, and answer with a line."""
    steps: Steps | None = None
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rb") as lines:
        for line in lines:
            job = json.loads(line)
            place = Place.of(job["place"])
            if steps is None or steps.place != place:
                _name_proxies(place.dead_proxies)
                steps = Steps(place)
            channel.sendall(json.dumps(_done(steps, job)).encode() + b"\n")


def _name_proxies(variables: Iterable[str]) -> None:
    """Name a proxy that refuses connections, and exempt loopback from it, as every command does when it starts."""
    os.environ.update(dict.fromkeys(variables, _DEAD_PROXY))
    exempt_loopback(os.environ)


def _done(steps: Steps, job: dict[str, Any]) -> dict[str, str]:
    """Run a step. Return its error, if any."""
    try:
        steps.take(job["step"], job["table"], job["buckets"])
    except Exception as error:
        return {"error": type(error).__name__, "text": "".join(traceback.format_exception(error)[-8:])}
    return {}


if __name__ == "__main__":
    main()
