"""The client side of the proxy: one connection of an S3 client and its requests, one after the other."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import httptools

from resources.s3.governor.body import Body, ConnectionLostError, RequestBrokenError
from resources.s3.governor.connection import Connection

MAX_HEADER_BYTES = 64 << 10
LINGER_SECONDS = 2.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with a timeout of 0: closing the socket sends a reset."""
MAX_PIPELINED = 32
"""Requests that may wait for an earlier one; reading is paused while more of them wait."""
_REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 407: b"Proxy Authentication Required", 409: b"Conflict", 412: b"Precondition Failed",
    500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Slow Down", 504: b"Gateway Timeout",
}  # fmt: skip
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"upgrade", b"expect"}
)
"""Headers that are not forwarded. No client signs them."""
_ONLY_ONCE = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""Headers that the governor and S3 could read differently if they came twice."""


@dataclass(slots=True)
class ClientRequest:
    """The head of one request, and its body as it arrives.

    ``fields`` maps lower-case header names to values; ``lines`` are the forwarded header lines, unchanged.
    """

    method: str
    target: bytes
    fields: dict[bytes, bytes]
    lines: list[bytes]
    body: Body
    keep_alive: bool = True

    @property
    def length(self) -> int | None:
        """The announced length of the body in bytes."""
        length = self.fields.get(b"content-length")
        return None if length is None else int(length)

    @property
    def chunked(self) -> bool:
        """Whether the body has chunked framing, so that its length is unknown."""
        return b"chunked" in self.fields.get(b"transfer-encoding", b"").lower()

    @property
    def expects_continue(self) -> bool:
        """Whether the client sends the body only after `100 Continue`."""
        return self.fields.get(b"expect", b"").lower() == b"100-continue"


class ClientConnection(Connection):
    """One client connection. ``handle`` answers a request and returns whether to keep the connection."""

    def __init__(self, handle: Callable[[ClientRequest, "ClientConnection"], Awaitable[bool]]) -> None:
        super().__init__()
        self._handle = handle
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._fields: dict[bytes, bytes] = {}
        self._lines: list[bytes] = []
        self._header_bytes = 0
        self._body: Body | None = None
        self._raw_left = 0
        self._waiting: deque[ClientRequest] = deque()
        self._ignores_input = False
        self._arrived: asyncio.Future[None] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._served: ClientRequest | None = None
        self._idle_since: float | None = None
        self.answer_begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to serve requests."""
        super().connection_made(transport)
        self._serving = asyncio.get_running_loop().create_task(self._serve())

    def connection_lost(self, error: Exception | None) -> None:
        """Cancel the request in progress."""
        super().connection_lost(error)
        if self._body is not None:
            self._body.fail(RequestBrokenError("the client closed the connection"))
        if self._serving is not None:
            self._serving.cancel()

    async def _serve(self) -> None:
        keep = True
        try:
            while keep and not self.lost:
                while not self._waiting:
                    if self._ignores_input:
                        return
                    loop = asyncio.get_running_loop()
                    self._arrived, self._idle_since = loop.create_future(), loop.time()
                    await self._arrived
                self._idle_since = None
                request = self._served = self._waiting.popleft()
                if len(self._waiting) == MAX_PIPELINED:
                    self.transport.resume_reading()
                self.answer_begun = False
                keep = await self._handle(request, self) and request.keep_alive
                if not request.body.whole:
                    await self._discard(request.body)
                    keep = False
                self._served = None
                await self.drained()
        except RequestBrokenError as error:
            if self.answer_begun:
                self.abort()
            else:
                self._refuse(str(error))
        finally:
            if not self.lost:
                self.transport.close()

    def idle_seconds(self, now: float) -> float:
        """Return how long the connection has waited for a complete request head; 0 during a request."""
        return 0.0 if self._idle_since is None or self._waiting else now - self._idle_since

    def stop_listening(self) -> None:
        """Discard all further input."""
        self._ignores_input = True

    async def _discard(self, body: Body) -> None:
        """Read the rest of a body for a while: closing at once would reset the connection before the answer."""
        with contextlib.suppress(ConnectionLostError, TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while await body.next():
                    pass

    def data_received(self, data: bytes) -> None:
        """Parse request heads; pass on bodies of known length without parsing."""
        if self._ignores_input:
            return
        if self._raw_left and self._body is not None:
            part, data = data[: self._raw_left], data[self._raw_left :]
            self._raw_left -= len(part)
            self._body.feed(part)
            if not self._raw_left:
                self.on_message_complete()
                self._parser = httptools.HttpRequestParser(self)
            if not data:
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._break(str(error.__context__ or error))

    def _break(self, why: str) -> None:
        """Stop parsing. Requests that were parsed before are answered first."""
        self._ignores_input = True
        if self._body is not None:
            self._body.fail(RequestBrokenError(why))
        if self._served is None and not self._waiting:
            self._refuse(why)

    def _refuse(self, why: str) -> None:
        body = f"The request is not valid: {why}.\n".encode()
        self._served = None  # send_head would add a second `Connection: close`
        headers = (b"Content-Type", b"text/plain"), (b"Content-Length", b"%d" % len(body)), (b"Connection", b"close")
        self.send_head(400, headers, body)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Parser callback."""
        self._target, self._fields, self._lines, self._header_bytes, self._body = b"", {}, [], 0, None
        if self._idle_since is not None:
            self._idle_since = asyncio.get_running_loop().time()

    def on_url(self, url: bytes) -> None:
        """Parser callback; a long target arrives in parts."""
        self._target += url
        self._limit_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser callback; headers behind the body are trailers."""
        self._limit_head(len(name) + len(value))
        if self._body is not None:
            self._body.trailers += b"%b: %b\r\n" % (name, value)
            return
        lower = name.lower()
        if lower in _ONLY_ONCE and lower in self._fields:
            raise ValueError(f"it has two {lower.decode()} headers")
        self._fields[lower] = value
        if lower not in _HOP_BY_HOP:
            self._lines.append(b"%b: %b\r\n" % (name, value))

    def _limit_head(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError(f"its head is longer than {MAX_HEADER_BYTES} bytes")

    def on_headers_complete(self) -> None:
        """Parser callback: queue the request while its body still arrives."""
        method = self._parser.get_method().decode()
        if method == "CONNECT" or (b"upgrade" in self._fields and self._parser.should_upgrade()):
            raise ValueError("tunnels and protocol upgrades are not supported")
        if self._parser.get_http_version() != "1.1":
            raise ValueError(f"HTTP/{self._parser.get_http_version()} is not supported")
        self._body = Body(self.transport)
        keep_alive = self._parser.should_keep_alive()
        request = ClientRequest(method, self._target, self._fields, self._lines, self._body, keep_alive)
        if request.length and not request.chunked:
            self._raw_left = request.length
        self._waiting.append(request)
        if len(self._waiting) > MAX_PIPELINED:
            self.transport.pause_reading()
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    def on_body(self, data: bytes) -> None:
        """Parser callback."""
        if self._body is not None:
            if self._raw_left:
                self._raw_left -= len(data)
            self._body.feed(data)

    def on_message_complete(self) -> None:
        """Parser callback."""
        self._raw_left = 0
        if self._body is not None:
            self._body.end()

    def abort(self) -> None:
        """Close the connection with a reset: a plain close could be read as the end of a response."""
        found = self.transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        super().abort()

    def send_continue(self) -> None:
        """Ask the client for the body."""
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_head(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
        """Send a response of the governor's own."""
        self.send_lines(status, [b"%b: %b\r\n" % header for header in headers], body)

    def send_lines(self, status: int, lines: Iterable[bytes], body: bytes = b"") -> None:
        """Send a response head with header lines unchanged, and the part of its body that is available."""
        self.answer_begun = True
        served = self._served
        closes = served is not None and not (served.keep_alive and served.body.whole)
        ending = b"Connection: close\r\n\r\n" if closes else b"\r\n"
        self.transport.write(
            b"".join((b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"Status")), *lines, ending, body))
        )
