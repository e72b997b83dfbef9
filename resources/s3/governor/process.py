"""A request governor as a process of its own: find it, start it, query it, stop it."""

import base64
import fcntl
import hashlib
import http.client
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import psutil

from resources.errors import PermanentFailure
from resources.local_stack import write_private
from resources.s3.governor.settings import ADDRESS_FILE, GovernorSettings

HOME_FOLDER = "governor"
"""The folder of a Cippus home that holds one folder per governor."""
_PROJECT = Path(__file__).parents[3]
_TOKEN_FILE, _LOG_FILE, _LOCK_FILE = "token", "governor.log", "start.lock"
_START_SECONDS, _STOP_SECONDS, _POLL_SECONDS = 20.0, 5.0, 0.01
_ANSWER_SECONDS = 3.0
_PATIENCE_SECONDS = 10.0
"""How long to wait for a busy governor before it is replaced: other processes may rely on it."""
_IDLE_EXIT_SECONDS = 900
"""An unused governor ends by itself; processes that may still use it keep polling it (write_verifier.py)."""
_MAX_LOG_BYTES = 1 << 20
_NO_PROXY = build_opener(ProxyHandler({}))


class GovernorStartError(PermanentFailure):
    """The request governor could not be started; the message names its log."""


class GovernorGoneError(PermanentFailure):
    """The request governor that this process used has ended, so its S3 requests fail."""


@dataclass(frozen=True)
class Governor:
    """A governor that listened when it was found. Its folder holds its address, token, log and limits."""

    folder: Path
    pid: int
    port: int
    upstream: str
    token: str = field(repr=False)

    def proxy_url(self, scope: str) -> str:
        """Return the proxy address for clients, with the token; their requests are counted under ``scope``."""
        return f"http://{scope}:{self.token}@127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, timeout_seconds: float = _ANSWER_SECONDS) -> Any:
        """Send a request about the governor itself and return the JSON response. Raises OSError.

        Does not send the token when the process has ended: another user's may have its port.
        """
        if not self.is_process():
            raise ConnectionRefusedError(f"The governor, process {self.pid}, has ended")
        known = base64.b64encode(f"cippus:{self.token}".encode()).decode()
        return self._ask(method, path, body, {"Authorization": f"Basic {known}"}, timeout_seconds)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout_seconds: float) -> Any:
        request = Request(f"http://127.0.0.1:{self.port}{path}", body, headers, method=method)
        try:
            with _NO_PROXY.open(request, timeout=timeout_seconds) as response:
                return json.load(response)
        except HTTPError as error:
            error.close()
            raise OSError(f"{method} {path.split('?')[0]} was answered with {error.code}") from None
        except (http.client.HTTPException, ValueError) as error:
            raise OSError(f"The governor's response is not valid: {error}") from error

    def is_alive(self, timeout_seconds: float = _ANSWER_SECONDS) -> bool:
        """Return whether the governor answers. Does not send the token: another process may have its port."""
        try:
            found = self._ask("GET", "/healthz", None, {}, timeout_seconds)
        except OSError:
            return False
        return isinstance(found, dict) and (found.get("pid"), found.get("upstream")) == (self.pid, self.upstream)

    def status(self, scope: str = "") -> dict[str, Any]:
        """Return the governor's status, with the counts of one scope or of all. Raises OSError."""
        return dict(self.ask("GET", f"/status?scope={scope}"))

    def ended_error(self) -> GovernorGoneError:
        """Return the error to raise when the governor has ended."""
        return GovernorGoneError(
            f"The S3 request governor (process {self.pid}, 127.0.0.1:{self.port}) is gone, so S3 cannot be reached: "
            f"run again, which starts a new governor; its log is {self.folder / _LOG_FILE}."
        )

    def stop(self) -> None:
        """End the process and wait until it has ended. No effect if the pid is another process by now."""
        process = self._process()
        if process is None:
            return
        with suppress(psutil.NoSuchProcess):
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait(_STOP_SECONDS)

    def is_process(self) -> bool:
        """Return whether the pid is still this governor's process."""
        return self._process() is not None

    def is_listening(self) -> bool:
        """Return whether the governor's own process has its port, and not another one."""
        process = self._process()
        try:
            found = process.net_connections("tcp4") if process else []
        except psutil.Error:
            return False
        return any(at.status == psutil.CONN_LISTEN and at.laddr.port == self.port for at in found)

    def _process(self) -> psutil.Process | None:
        """Return the running process of this user whose arguments name this governor's folder."""
        try:
            process = psutil.Process(self.pid)
            is_governor = (
                process.uids().real == os.getuid()
                and str(self.folder) in process.cmdline()
                and process.status() != psutil.STATUS_ZOMBIE
            )
        except psutil.Error:
            return None
        return process if is_governor else None


def find(folder: Path, timeout_seconds: float = _ANSWER_SECONDS) -> Governor | None:
    """Return the governor of a folder, None if there is none or it does not answer.

    Checks that its process has the port: after its end any process of this host may listen there, and would receive
    the token.
    """
    found = _read(folder)
    return found if found is not None and found.is_listening() and found.is_alive(timeout_seconds) else None


def _read(folder: Path) -> Governor | None:
    try:
        kept = json.loads((folder / ADDRESS_FILE).read_text())
        return Governor(folder, int(kept["pid"]), int(kept["port"]), str(kept["upstream"]), str(kept["token"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def folder_name(settings: GovernorSettings) -> str:
    """Return the folder of a governor in its home: the upstream, with a digest of all settings."""
    digest = hashlib.blake2b(repr(astuple(settings)).encode(), digest_size=4).hexdigest()
    return f"{re.sub('[^A-Za-z0-9.]+', '-', settings.upstream.partition('://')[2])}-{digest}"


def find_or_start(home: Path, settings: GovernorSettings) -> Governor:
    """Return the governor of a home that has these settings; start it if there is none.

    Concurrent callers start one governor. Raises GovernorStartError.
    """
    folder = home.absolute() / folder_name(settings)
    found = find(folder)
    if found is not None:
        return found
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _exclusively(folder):
            return find(folder, _PATIENCE_SECONDS) or _start(folder, settings)
    except OSError as error:
        raise GovernorStartError(
            f"The S3 request governor could not be started in {folder}: {error.strerror or error}."
        ) from error


@contextmanager
def _exclusively(folder: Path) -> Iterator[None]:
    with (folder / _LOCK_FILE).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(folder: Path, settings: GovernorSettings) -> Governor:
    """Start a detached governor and wait until it listens."""
    if (stale := _read(folder)) is not None:
        stale.stop()  # one that hangs would write the learned limits beside the new one
    (folder / ADDRESS_FILE).unlink(missing_ok=True)
    write_private(folder / _TOKEN_FILE, secrets.token_urlsafe(24))
    log_file = folder / _LOG_FILE
    if log_file.exists() and log_file.stat().st_size > _MAX_LOG_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
    with log_file.open("ab") as log:
        # A minimal environment: the governor gets no credentials and no proxy of its own.
        process = subprocess.Popen(
            command(folder, settings),
            cwd=_PROJECT,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        found = _read(folder)
        if found is not None and found.pid == process.pid:
            process.returncode = 0  # it outlives this Popen object, which would otherwise warn
            return found
        time.sleep(_POLL_SECONDS)
    process.kill()
    process.wait()
    lines = log_file.read_text(errors="replace").strip().splitlines() or ["nothing"]
    raise GovernorStartError(f"The S3 request governor did not start; {log_file} ends with: {lines[-1]}")


def command(folder: Path, settings: GovernorSettings) -> list[str]:
    """Return the command line. The token is passed in a file, because other users can see arguments."""
    options = {
        "--upstream": settings.upstream,
        "--folder": folder,
        "--token-file": folder / _TOKEN_FILE,
        "--idle-exit": _IDLE_EXIT_SECONDS,
        "--depth": settings.depth,
        "--deadline": settings.deadline,
        "--max-writes": settings.max_writes,
        "--max-reads": settings.max_reads,
        "--emf": settings.emf,
        "--ca-file": settings.ca_file,
    }
    given = [str(part) for name, value in options.items() if value not in (None, "") for part in (name, value)]
    return [sys.executable, "-m", "resources.s3.governor", *given]


def running(home: Path) -> list[Governor]:
    """Return all governors of a home that answer, by folder."""
    found = (find(folder) for folder in sorted(home.absolute().glob("*")) if folder.is_dir())
    return [governor for governor in found if governor is not None]


def stop_all(home: Path) -> None:
    """End all governors of a home, also those that hang."""
    for folder in sorted(home.absolute().glob("*")):
        with suppress(OSError):
            if folder.is_dir():
                with _exclusively(folder):
                    if (found := _read(folder)) is not None:
                        found.stop()
                        (folder / ADDRESS_FILE).unlink(missing_ok=True)
