"""A server of the embedded stack as its own process: started detached, identified by its pid file, stopped."""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

from pipelines.local.privileges import ProcessOptions
from resources.errors import PermanentFailure

_START_SECONDS = 60.0
_RETRY_SECONDS = 5.0
_KILL_SECONDS = 20.0
_REAP_SECONDS = 2.0
_POLL_SECONDS = 0.05
_LOG_LINES_SHOWN = 8
_SERVER_PORTS = range(10_240, 32_768)


class ServerError(PermanentFailure):
    """A server of the embedded stack did not start or failed."""


@dataclass(frozen=True)
class ServerProcess:
    """A server with a pid file. ``marker`` is an argument of no other process, so a reused pid does not count.

    ``writes_pid_file``: the server writes its pid file itself.
    """

    name: str
    pid_file: Path
    log_file: Path
    marker: str
    writes_pid_file: bool = False

    def pid(self) -> int | None:
        """Return the pid of the running server, or None."""
        process = self._process()
        return process.pid if process else None

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(int(self.pid_file.read_text().split()[0]))
            is_server = self.marker in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, IndexError, psutil.Error):
            return None
        return process if is_server else None

    def start(
        self,
        command: Sequence[str],
        folder: Path,
        variables: Mapping[str, str],
        is_ready: Callable[[], bool],
        options: ProcessOptions | None = None,
    ) -> None:
        """Start the server and wait until it is ready. Raise ServerError with the last lines of its log.

        Children of a killed predecessor may still run. So if the server ends early, start it again for some seconds.
        """
        deadline = time.monotonic() + _START_SECONDS
        last_attempt = min(deadline, time.monotonic() + _RETRY_SECONDS)
        while time.monotonic() < last_attempt:
            process = self._spawn(command, folder, variables, options or {})
            while time.monotonic() < deadline and process.poll() is None:
                if is_ready():
                    process.returncode = 0  # detached: without it, Popen warns that the process still runs
                    return
                time.sleep(_POLL_SECONDS)
            if process.poll() is None:
                process.kill()
                process.wait()
                break
            time.sleep(_POLL_SECONDS * 4)
        lines = self.log_file.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
        log = " / ".join(line.strip() for line in lines)
        message = f"The embedded {self.name} did not start; {self.log_file} ends with: {log}"
        raise ServerError(message)

    def _spawn(
        self, command: Sequence[str], folder: Path, variables: Mapping[str, str], options: ProcessOptions
    ) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={"PATH": os.defpath, "LANG": "C.UTF-8", **variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **options,
            )
        if not self.writes_pid_file:
            self.pid_file.write_text(str(process.pid))
        return process

    def stop(self, how: signal.Signals, patience_seconds: float = 20.0) -> None:
        """Send a signal to the server, and kill it if it still runs after ``patience_seconds``."""
        process = self._process()
        if process is None:
            return
        with suppress(psutil.NoSuchProcess):
            process.send_signal(how)
            if not wait_until(lambda: self._process() is None, patience_seconds):
                process.kill()
                wait_until(lambda: self._process() is None, _KILL_SECONDS)
        # Reap our own child. A zombie of another parent would block wait() without a timeout.
        with suppress(psutil.TimeoutExpired):
            process.wait(_REAP_SECONDS)


def wait_until(is_met: Callable[[], bool], patience_seconds: float) -> bool:
    """Poll a condition, and return whether it was met in time."""
    retrying = Retrying(
        wait=wait_fixed(_POLL_SECONDS),
        stop=stop_after_delay(patience_seconds),
        retry=retry_if_result(lambda met: not met),
        retry_error_callback=lambda _state: False,
    )
    return retrying(is_met)


def end_titled(title: str) -> None:
    """Kill the processes whose title starts with this, and wait until they are gone."""

    def are_gone() -> bool:
        processes = psutil.process_iter(["cmdline"])
        left = [process for process in processes if " ".join(process.info["cmdline"] or ()).startswith(title)]
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        return not left

    wait_until(are_gone, _KILL_SECONDS)


def free_ports(count: int) -> list[int]:
    """Return free loopback ports, below those that the system gives to outgoing connections (from 32768 on Linux).

    Among those, a client's connection may take the port before the server listens, or while it is stopped.
    """
    with ExitStack() as stack:
        found: list[int] = []
        for port in secrets.SystemRandom().sample(_SERVER_PORTS, k=len(_SERVER_PORTS)):
            if len(found) == count:
                return found
            with suppress(OSError):  # taken
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                found.append(port)
    message = f"No {count} ports of {_SERVER_PORTS.start} to {_SERVER_PORTS.stop - 1} are free on 127.0.0.1."
    raise ServerError(message)


def becomes_free(port: int, patience_seconds: float = 5.0) -> bool:
    """Return whether a loopback port is free, or becomes free when a killed server's children end."""
    return wait_until(lambda: not why_not_free(port), patience_seconds)


def why_not_free(port: int) -> str:
    """Return why nothing can listen on a loopback port, such as "Address already in use", or "" if it is free."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        return os.strerror(error.errno or 0)
    return ""
