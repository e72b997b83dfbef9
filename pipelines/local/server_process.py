"""One server of the embedded stack as a process of its own: started detached, recognised again, stopped by its pid."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resources.errors import PermanentFailure

_START_SECONDS = 60.0
_RETRY_SECONDS = 5.0
_POLL_SECONDS = 0.05
_LOG_LINES_SHOWN = 8


class ServerError(PermanentFailure):
    """A server of the embedded stack could not be started; the message names its log."""


@dataclass(frozen=True)
class ServerProcess:
    """A server known by its pid file; ``marker`` is an argument that no other process has, so pids are not mixed up.

    A server that keeps its pid file itself, in whose lines it finds more than the pid, is left to do so.
    """

    name: str
    pid_file: Path
    log_file: Path
    marker: str
    writes_pid_file: bool = False

    def pid(self) -> int | None:
        """The pid of the running server, or None. A recorded pid that meanwhile is another process does not count."""
        try:
            pid = int(self.pid_file.read_text().split()[0])
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, ValueError, IndexError):
            return None
        return pid if self.marker.encode() in arguments and state != "Z" else None

    def start(
        self, command: Sequence[str], folder: Path, variables: Mapping[str, str], is_ready: Callable[[], bool]
    ) -> None:
        """Start the server and wait until it is ready.

        A server whose predecessor was killed may find that one's children still alive, so an early end is retried
        for some seconds. Raises ServerError with the log's last lines.
        """
        deadline = time.monotonic() + _START_SECONDS
        last_attempt = min(deadline, time.monotonic() + _RETRY_SECONDS)
        while time.monotonic() < last_attempt:
            process = self._spawn(command, folder, variables)
            while time.monotonic() < deadline and process.poll() is None:
                if is_ready():
                    process.returncode = 0  # detached: it outlives this object, which would warn of that
                    return
                time.sleep(_POLL_SECONDS)
            if process.poll() is None:
                process.kill()
                process.wait()
                break
            time.sleep(_POLL_SECONDS * 4)
        message = f"The embedded {self.name} did not start; {self.log_file} ends with: {self._log_tail()}"
        raise ServerError(message)

    def _spawn(self, command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={"PATH": os.defpath, "LANG": "C.UTF-8", **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if not self.writes_pid_file:
            self.pid_file.write_text(str(process.pid))
        return process

    def stop(self, how: signal.Signals, patience_seconds: float = 20.0) -> None:
        """Ask the server to end, and make it end when it has not after the given time."""
        pid = self.pid()
        if pid is None:
            return
        os.kill(pid, how)
        deadline = time.monotonic() + patience_seconds
        while self.pid() == pid:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                deadline = float("inf")
            time.sleep(_POLL_SECONDS)
        _reap(pid)  # an ended child is a zombie until then, and no longer counts above

    def _log_tail(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
        return " / ".join(line.strip() for line in lines)


def _reap(pid: int) -> None:
    """Collect an ended child, so that it does not stay as a zombie of the process that started it."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def end_titled(title: str) -> None:
    """Kill the processes whose title begins so, and wait until they are gone: what a killed server left behind."""
    while left := [pid for pid in _titled(title.encode()) if _kill(pid)]:
        for pid in left:
            _reap(pid)
        time.sleep(_POLL_SECONDS)


def _titled(title: bytes) -> Iterator[int]:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if file.read_bytes().startswith(title):
                yield int(file.parent.name)
        except OSError:  # ended meanwhile
            continue


def _kill(pid: int) -> bool:
    """Kill a process; False when it is already gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on."""
    held = [socket.socket() for _ in range(count)]
    try:
        for found in held:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in held]
    finally:
        for found in held:
            found.close()


def becomes_free(port: int, patience_seconds: float = 5.0) -> bool:
    """Whether a server can listen on a loopback port, now or once a killed server's children have ended too."""
    deadline = time.monotonic() + patience_seconds
    while not _is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
