"""Start the request governor for a bench: as a process, on a free port, without history or token."""

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

GOVERNED_ENDPOINT = "http://s3.test.invalid"
"""The endpoint that clients use; only the governor, their proxy, knows the address."""
_START_SECONDS = 30.0
_POLL_SECONDS = 0.02


class GovernorNotReadyError(RuntimeError):
    """The governor did not answer its health check in time."""


@dataclass(frozen=True)
class GovernorProcess:
    """A running governor: its address as a proxy, and its process id."""

    url: str
    pid: int

    @property
    def port(self) -> int:
        """The loopback port."""
        return int(self.url.rpartition(":")[2])

    def peak_memory_bytes(self) -> int:
        """Return the peak resident memory (Linux)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
        message = f"/proc/{self.pid}/status has no VmHWM: is this Linux?"
        raise OSError(message)


@contextmanager
def governor(upstream: str, depth: int) -> Iterator[GovernorProcess]:
    """Run a governor without learned limits until the block ends. Raises GovernorNotReadyError."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--upstream", upstream, "--depth", str(depth)]
    command = [sys.executable, "-m", "tests.worlds.open_governor", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + _START_SECONDS
            while not _is_healthy(port):
                if process.poll() is not None or time.monotonic() > until:
                    message = f"The governor did not answer on port {port}; exit code {process.poll()}."
                    raise GovernorNotReadyError(message)
                time.sleep(_POLL_SECONDS)
            yield GovernorProcess(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
