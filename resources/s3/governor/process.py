"""A request governor as a process of its own: found or started, asked, stopped."""

import base64
import fcntl
import hashlib
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from resources.errors import PermanentFailure
from resources.s3.governor.settings import refuse_credentials

HOME_FOLDER = "governor"
"""The folder of a Cippus home in which its governors are, each in one of its own."""
_PROJECT = Path(__file__).parents[3]
_ADDRESS_FILE, _TOKEN_FILE, _LOG_FILE, _LOCK_FILE = "governor.json", "token", "governor.log", "start.lock"
_START_SECONDS, _STOP_SECONDS, _POLL_SECONDS = 20.0, 5.0, 0.01
_ANSWER_SECONDS = 3.0
_PATIENCE_SECONDS = 10.0
"""How long a governor that does not answer may be busy, before it is replaced: other processes may rely on it."""
_IDLE_EXIT_SECONDS = 900
"""A governor that nobody uses ends by itself; a process that may still use one keeps asking it (s3_witness.py)."""
_MOST_LOG_BYTES = 1 << 20


class GovernorStartError(PermanentFailure):
    """The request governor could not be started; the message names its log."""


class GovernorGoneError(PermanentFailure):
    """The request governor that a process used has ended, so none of its S3 requests gets through any more."""


@dataclass(frozen=True)
class Governor:
    """A governor that listened when it was last looked at. Its folder holds its address, token, log and limits."""

    folder: Path
    pid: int
    port: int
    upstream: str
    token: str = field(repr=False)

    def proxy_url(self, scope: str) -> str:
        """The address for clients, with the token; the governor counts their requests under ``scope``."""
        return f"http://{scope}:{self.token}@127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: str | None = None, timeout_seconds: float = _ANSWER_SECONDS) -> Any:
        """One request about the governor itself; its JSON answer. Raises OSError, also when it is not a governor's."""
        known = base64.b64encode(f"cippus:{self.token}".encode()).decode()
        return self._ask(method, path, body, {"Authorization": f"Basic {known}"}, timeout_seconds)

    def _ask(self, method: str, path: str, body: str | None, headers: dict[str, str], timeout_seconds: float) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_seconds)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            message = f"{method} {path.split('?')[0]} was answered with {answer.status}"
            raise OSError(message)
        try:
            return json.loads(text)
        except ValueError as error:
            raise OSError(str(error)) from error

    def is_alive(self, timeout_seconds: float = _ANSWER_SECONDS) -> bool:
        """Whether it still answers as itself. Who is asked may be somebody else, so without the token."""
        try:
            found = self._ask("GET", "/healthz", None, {}, timeout_seconds)
        except OSError:
            return False
        return isinstance(found, dict) and (found.get("pid"), found.get("upstream")) == (self.pid, self.upstream)

    def status(self, scope: str = "") -> dict[str, Any]:
        """What the governor says of itself, with the counts of one scope or of everybody. Raises OSError."""
        found: dict[str, Any] = self.ask("GET", f"/status?scope={scope}")
        return found

    def gone(self) -> GovernorGoneError:
        """The error that says so."""
        return GovernorGoneError(
            f"The S3 request governor (process {self.pid}, 127.0.0.1:{self.port}) is gone, so S3 cannot be reached: "
            f"run again, which starts a new one and goes on; its log is {self.folder / _LOG_FILE}."
        )

    def stop(self) -> None:
        """End the process, if it still is a governor's, and wait until it has."""
        how, deadline = signal.SIGTERM, time.monotonic() + _STOP_SECONDS
        while self.is_process():
            with suppress(ProcessLookupError):
                os.kill(self.pid, how)
            while self.is_process() and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            how, deadline = signal.SIGKILL, deadline + _STOP_SECONDS
        with suppress(ChildProcessError):  # another process' child
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)  # it has no arguments any more, shortly before it has ended

    def is_process(self) -> bool:
        """Whether the pid is still this governor's: it has its folder among its arguments, and is no zombie."""
        try:
            arguments = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")
            state = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, IndexError):
            return False
        return os.fsencode(self.folder) in arguments and state != "Z"


@dataclass(frozen=True)
class GovernorArguments:
    """What a governor is started for; governors that differ in any of it live side by side."""

    upstream: str
    depth: int = 2
    deadline_seconds: float = 60.0
    write_ceiling: float | None = None
    read_ceiling: float | None = None
    emf: str = ""
    ca_file: str = ""

    def __post_init__(self) -> None:
        """Refuse credentials in the URL, which would be part of a folder's name and of a process' arguments."""
        refuse_credentials("The URL of the S3 service", self.upstream)

    @property
    def folder_name(self) -> str:
        """The upstream, legibly, with a digest of everything."""
        digest = hashlib.blake2b(repr(astuple(self)).encode(), digest_size=4).hexdigest()
        return f"{re.sub('[^A-Za-z0-9.]+', '-', self.upstream.partition('://')[2])}-{digest}"

    def command(self, folder: Path) -> list[str]:
        """The command line of a governor in a folder; the token is in a file, because arguments are public."""
        optional = {"--max-writes": self.write_ceiling, "--max-reads": self.read_ceiling,
                    "--emf": self.emf, "--ca-file": self.ca_file}  # fmt: skip
        return [
            *(sys.executable, "-m", "resources.s3.governor", "--upstream", self.upstream, "--folder", str(folder)),
            *("--token-file", str(folder / _TOKEN_FILE), "--idle-exit", str(_IDLE_EXIT_SECONDS)),
            *("--depth", str(self.depth), "--deadline", str(self.deadline_seconds)),
            *(part for name, value in optional.items() if value for part in (name, str(value))),
        ]


def find(folder: Path, timeout_seconds: float = _ANSWER_SECONDS) -> Governor | None:
    """The governor of a folder, or None where it never was, has ended, or does not answer.

    That it answers is not enough: after its end anybody of this host may listen on its port, and get the token.
    """
    found = _read(folder)
    return found if found is not None and found.is_process() and found.is_alive(timeout_seconds) else None


def _read(folder: Path) -> Governor | None:
    try:
        kept = json.loads((folder / _ADDRESS_FILE).read_text())
        return Governor(folder, int(kept["pid"]), int(kept["port"]), str(kept["upstream"]), str(kept["token"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def find_or_start(home: Path, arguments: GovernorArguments) -> Governor:
    """The governor for these arguments among those of a home, started where there is none.

    Two processes that come at once start one. Raises GovernorStartError.
    """
    folder = home.absolute() / arguments.folder_name
    found = find(folder)
    if found is not None:
        return found
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _exclusively(folder):
            return find(folder, _PATIENCE_SECONDS) or _start(folder, arguments)
    except OSError as error:
        message = f"The S3 request governor could not be started in {folder}: {error.strerror or error}."
        raise GovernorStartError(message) from error


@contextmanager
def _exclusively(folder: Path) -> Iterator[None]:
    with (folder / _LOCK_FILE).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(folder: Path, arguments: GovernorArguments) -> Governor:
    """Start a governor, detached, and wait until it listens. What holds a stale address does not answer."""
    if (stale := _read(folder)) is not None:
        stale.stop()  # one that hangs would write the learned limits beside the new one
    (folder / _ADDRESS_FILE).unlink(missing_ok=True)
    token = folder / _TOKEN_FILE
    token.unlink(missing_ok=True)
    token.touch(mode=0o600)
    token.write_text(secrets.token_urlsafe(24))
    log_file = folder / _LOG_FILE
    if log_file.exists() and log_file.stat().st_size > _MOST_LOG_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
    with log_file.open("ab") as log:
        # No variables but these: a governor holds no credentials, and takes no proxy from its surroundings.
        process = subprocess.Popen(
            arguments.command(folder),
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
            process.returncode = 0  # detached: it outlives this object, which would warn of that
            return found
        time.sleep(_POLL_SECONDS)
    process.kill()
    process.wait()
    said = log_file.read_text(errors="replace").strip().splitlines()
    message = f"The S3 request governor did not start; {log_file} ends with: {said[-1] if said else 'nothing'}"
    raise GovernorStartError(message)


def running(home: Path) -> list[Governor]:
    """Every governor of a home that answers, by folder."""
    found = (find(folder) for folder in sorted(home.absolute().glob("*")) if folder.is_dir())
    return [governor for governor in found if governor is not None]


def stop_all(home: Path) -> None:
    """End every governor of a home, also those that do not answer any more."""
    for folder in sorted(home.absolute().glob("*")):
        with suppress(OSError):
            if folder.is_dir():
                with _exclusively(folder):
                    if (found := _read(folder)) is not None:
                        found.stop()
                        (folder / _ADDRESS_FILE).unlink(missing_ok=True)
