"""Governors in processes of their own, and raw clients."""

import base64
import io
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any, Self, cast

SECONDS = 30.0


def until(true: Callable[[], bool], seconds: float = SECONDS) -> None:
    """Wait until a condition is true; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end


_RESET = struct.pack("ii", 1, 0)


@dataclass
class Governor:
    """A running governor; ``log`` grows while it runs."""

    process: "subprocess.Popen[bytes]"
    port: int
    token: str = ""
    log: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The proxy address without a token."""
        return f"http://127.0.0.1:{self.port}"

    def admin(self, path: str, method: str = "GET", body: bytes | None = None, token: str | None = None) -> "Reply":
        """Send a request about the governor itself."""
        known = base64.b64encode(f"test:{self.token if token is None else token}".encode()).decode()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, {"Authorization": f"Basic {known}"})
            answer = connection.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def status(self, scope: str = "") -> dict[str, Any]:
        """Return the JSON status."""
        return dict(json.loads(self.admin(f"/status?scope={scope}").body))

    def counts(self, scope: str = "") -> dict[tuple[str, str, str], dict[str, Any]]:
        """Return the counts by bucket, prefix and verb."""
        return {(at["bucket"], at["prefix"], at["verb"]): at for at in self.status(scope)["prefixes"]}

    def end(self) -> int:
        """Send SIGTERM and return the exit status."""
        self.process.terminate()
        try:
            status = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        if self.reader is not None:
            self.reader.join(SECONDS)
        return status


@dataclass(frozen=True)
class Reply:
    """A response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


def command(upstream: str, *options: str) -> list[str]:
    """Return the command line of a governor."""
    return [sys.executable, "-m", "tests.worlds.open_governor", "--upstream", upstream, *options]


@contextmanager
def governor(upstream: str, *options: str, token: str = "") -> Iterator[Governor]:
    """Run a governor until the block ends. Fails if its log has an unhandled exception."""
    process = subprocess.Popen(command(upstream, *options), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    found = Governor(process, 0, token)
    try:
        for line in process.stderr:
            found.log.append(line.decode())
            if b"S3 request governor on" in line:
                found.port = int(line.split(b"127.0.0.1:")[1].split(b",")[0])
                break
        assert found.port, "".join(found.log)
        found.reader = threading.Thread(target=lambda: found.log.extend(line.decode() for line in process.stderr or ()))
        found.reader.start()
        yield found
        if process.poll() is None:
            found.end()
        log = "".join(found.log)
        assert "Traceback" not in log, log
        assert "never retrieved" not in log, log
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if found.reader is not None:
            found.reader.join(SECONDS)
        process.stderr.close()


class _Kept(io.BufferedReader):
    """A reader for consecutive responses: http.client would close it and lose buffered bytes."""

    def makefile(self, *_: object) -> Self:
        """Act as the socket that http.client expects."""
        return self

    def close(self) -> None:
        """Stay open."""


class Raw:
    """A client that sends exactly the given bytes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self._file = _Kept(socket.SocketIO(self.socket, "r"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> Self:
        """Send bytes."""
        self.socket.sendall(b"".join(parts))
        return self

    def answer(self, method: str = "GET") -> Reply:
        """Return the next final response to a request of ``method``. Raises if it is cut off."""
        answer = HTTPResponse(cast("socket.socket", self._file), method=method)
        answer.begin()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, headers, answer.read())

    def rest(self) -> bytes:
        """Return everything until the connection ends or is reset."""
        parts = []
        with suppress(ConnectionResetError):
            while part := self.some():
                parts.append(part)
        return b"".join(parts)

    def some(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        return self._file.read1(1 << 16)

    def reset(self) -> None:
        """Reset the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.socket.close()


def ask(port: int, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
    """Send one request over a new connection; ``target`` is in absolute form."""
    host = target.split("://", 1)[-1].split("/", 1)[0]
    fields = {
        "Host": host,
        **({"Content-Length": str(len(body))} if body or method == "PUT" else {}),
        **(headers or {}),
    }
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with Raw(port) as client:
        return client.send(head.encode("latin-1"), b"\r\n", body).answer(method)


def write_token(folder: Path, token: str) -> str:
    """Write a token file and return its path."""
    path = folder / "token"
    path.write_text(token + "\n")
    return str(path)
