"""Start the server in a process of its own, query it over HTTP, and stop it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from ssl import create_default_context
from typing import Any
from urllib.parse import quote, urlsplit

from tests.benchmarks.limited_s3.settings import Settings

_ASK_SECONDS = 30.0
_STOP_SECONDS = 10.0


class LimitedS3Error(RuntimeError):
    """The server did not start, or refused a control request."""


@dataclass(frozen=True)
class RunningServer:
    """A running server: its address (``http://127.0.0.1:port``) and its control API."""

    url: str
    pid: int
    ca_file: Path | None = None

    @property
    def port(self) -> int:
        """The loopback port."""
        return urlsplit(self.url).port or 0

    def stats(self) -> dict[str, Any]:
        """Return totals, counts per (prefix, verb, operation), and timelines; see counts.py."""
        return dict(self._ask("GET", "stats"))

    def keys(self, prefix: str = "") -> dict[str, tuple[int, int, str | None]]:
        """Map bucket/key to (times applied, of these without response, etag or None if it does not exist)."""
        return {name: tuple(found) for name, found in self._ask("GET", f"keys?prefix={quote(prefix)}").items()}

    def failures(self) -> list[dict[str, str]]:
        """Return the last failed requests: request_id, code, operation, name."""
        return list(self._ask("GET", "failures"))

    def change(self, **settings: dict[str, Any]) -> None:
        """Change limits or faults, such as ``change(limits={"writes_per_second": 20})``."""
        self._ask("PUT", "settings", settings)

    def reset(self) -> None:
        """Reset the counts."""
        self._ask("POST", "reset")

    def clear(self) -> None:
        """Delete all objects and reset the counts."""
        self._ask("POST", "clear")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        secure = self.url.startswith("https:")
        connection = (
            HTTPSConnection(
                "127.0.0.1", self.port, timeout=_ASK_SECONDS, context=create_default_context(cafile=self.ca_file)
            )
            if secure
            else HTTPConnection("127.0.0.1", self.port, timeout=_ASK_SECONDS)
        )
        try:
            connection.request(method, f"/_control/{path}", None if body is None else json.dumps(body))
            answer = connection.getresponse()
            found = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != 200:
            message = f"The limited S3 server refused {method} {path}: {found.get('error')}"
            raise LimitedS3Error(message)
        return found


@contextmanager
def running(
    settings: Settings | None = None,
    *,
    buckets: tuple[str, ...] = ("bench",),
    seed: int = 0,
    certificate: tuple[Path, Path, Path] | None = None,
    options: tuple[str, ...] = (),
) -> Iterator[RunningServer]:
    """Run the server on a free loopback port until the block ends.

    ``certificate`` is (certificate chain, key, CA to ask the control API with) for TLS; ``options`` are further ones of
    the command. Raises LimitedS3Error when it does not start.
    """
    arguments = ["--port", "0", "--seed", str(seed), "--settings", json.dumps((settings or Settings()).to_json())]
    arguments += [part for name in buckets for part in ("--bucket", name)]
    if certificate is not None:
        arguments += ["--certificate", str(certificate[0]), "--key", str(certificate[1])]
    command = [sys.executable, "-m", "tests.benchmarks.limited_s3", *arguments, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                message = f"The limited S3 server did not start: exit code {process.wait()}."
                raise LimitedS3Error(message)
            yield RunningServer(json.loads(line)["url"], process.pid, certificate and certificate[2])
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
