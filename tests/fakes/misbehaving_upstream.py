"""A fake upstream in this process that answers, resets or hangs as a test tells it to."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

SECONDS = 30.0
_RESET = struct.pack("ii", 1, 0)


@dataclass
class Seen:
    """A request as the upstream received it."""

    head: bytes
    body: bytes

    @property
    def target(self) -> bytes:
        """The request line's target."""
        return self.head.split(b" ", 2)[1]

    @property
    def headers(self) -> dict[bytes, bytes]:
        """By lower-case name."""
        lines = (line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line)
        return {name.lower(): value.strip() for name, _, value in lines}


Action = bytes | Callable[["Wire"], None]


class Wire:
    """One connection at the upstream, for actions that do more than answer."""

    def __init__(self, found: socket.socket) -> None:
        self.socket = found
        self._held = b""

    def until(self, end: bytes) -> bytes:
        """Return bytes up to and including ``end``. Raises EOFError if the client closes first."""
        while end not in self._held:
            part = self.socket.recv(1 << 16)
            if not part:
                raise EOFError
            self._held += part
        found, _, self._held = self._held.partition(end)
        return found + end

    def exactly(self, size: int) -> bytes:
        """Return exactly ``size`` bytes. Raises EOFError if the client closes first."""
        while len(self._held) < size:
            part = self.socket.recv(1 << 16)
            if not part:
                raise EOFError
            self._held += part
        found, self._held = self._held[:size], self._held[size:]
        return found

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def body(self, head: bytes) -> bytes:
        """Return the body of a request; a chunked one with its framing."""
        seen = Seen(head, b"").headers
        if b"expect" in seen:
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if b"chunked" not in seen.get(b"transfer-encoding", b""):
            return self.exactly(int(seen.get(b"content-length", b"0")))
        body = b""
        while True:
            line = self.until(b"\r\n")
            body += line
            if not int(line, 16):
                break
            body += self.exactly(int(line, 16) + 2)
        while (line := self.until(b"\r\n")) != b"\r\n":
            body += line
        return body + b"\r\n"


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """Return the bytes of a response; `_` in a header's name stands for `-`."""
    fields = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


def error(status: int, code: str, message: str = "No.", request_id: str = "REQ1") -> bytes:
    """Return the bytes of an S3 error."""
    document = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
    return answer(status, document.encode(), x_amz_request_id=request_id)


def reset(wire: Wire) -> None:
    """Reset the connection."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    raise EOFError


def hang(wire: Wire) -> None:
    """Send nothing until the client closes the connection."""
    wire.until(b"\0 never sent \0")


class Upstream:
    """Takes one action per request; the last one also for all further requests.

    ``early`` actions run before the body is read, the others after it.
    """

    def __init__(self) -> None:
        self.actions: list[Action] = [answer()]
        self.early: dict[int, Action] = {}
        self.seen: list[Seen] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._open: list[socket.socket] = []
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def will(self, *actions: Action, early: dict[int, Action] | None = None) -> Self:
        """Set the actions from now on; ``early`` maps request numbers, from 0, to actions."""
        with self._lock:
            self.actions, self.early = list(actions), early or {}
            self.seen.clear()
        return self

    def _accept(self) -> None:
        while True:
            try:
                found, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(found)
                thread = threading.Thread(target=self._serve, args=(found,))
                self._threads.append(thread)
            thread.start()

    def _serve(self, found: socket.socket) -> None:
        wire = Wire(found)
        with found, suppress(EOFError, OSError):
            while True:
                head = wire.until(b"\r\n\r\n")[:-2]
                with self._lock:
                    seen = Seen(head, b"")
                    number = len(self.seen)
                    self.seen.append(seen)
                    action = self.early.get(number)
                    after = self.actions[min(number, len(self.actions) - 1)]
                if action is None:
                    seen.body = wire.body(head)
                    action = after
                if isinstance(action, bytes):
                    wire.send(action)
                else:
                    action(wire)

    def close(self) -> None:
        """Close the listener and all connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            still = list(self._open)
        for found in still:
            with suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(SECONDS)


@contextmanager
def upstream() -> Iterator[Upstream]:
    """Run an upstream until the block ends."""
    found = Upstream()
    try:
        yield found
    finally:
        found.close()
