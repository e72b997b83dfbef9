"""The clients' side: one connection of an S3 client, its requests one after the other."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import httptools

from resources.s3.governor.body import Body, ConnectionLostError, RequestBrokenError
from resources.s3.governor.connection import Connection

MOST_HEADER_BYTES = 64 << 10
LINGER_SECONDS = 2.0
_RESET = struct.pack("ii", 1, 0)
MOST_PIPELINED = 32
"""Requests that may wait for the one before them; a client that sends more is not read from until then."""
_REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 407: b"Proxy Authentication Required", 409: b"Conflict", 412: b"Precondition Failed",
    500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Slow Down", 504: b"Gateway Timeout",
}  # fmt: skip
_BETWEEN_NEIGHBOURS = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"upgrade", b"expect"}
)
"""Headers that are not passed on; none of them is ever signed."""
_ONLY_ONCE = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""Headers of which two would mean one thing here and may mean another one to S3."""


class ClientRequest:
    """One request: its head, and its body as it comes.

    ``fields`` are the headers by lower-case name; ``lines`` those that are passed on, as they came.
    """

    __slots__ = ("body", "fields", "http10", "keep_alive", "length", "lines", "method", "target")

    def __init__(self, method: str, target: bytes, fields: dict[bytes, bytes], lines: list[bytes], body: Body) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.lines = lines
        self.body = body
        self.keep_alive = True
        self.http10 = False
        length = fields.get(b"content-length")
        self.length = int(length) if length is not None else None

    @property
    def chunked(self) -> bool:
        """Whether the body's length is not known beforehand."""
        return b"chunked" in self.fields.get(b"transfer-encoding", b"").lower()

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits to be asked for the body."""
        return self.fields.get(b"expect", b"").lower() == b"100-continue"


class ClientConnection(Connection):
    """One client's connection; ``handle`` answers a request and says whether the connection can be kept."""

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
        self._in_trailers = False
        self._waiting: deque[ClientRequest] = deque()
        self._held_back = False
        self._deaf = False
        self._arrived: asyncio.Future[None] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._served: ClientRequest | None = None
        self._tunnel: Callable[[bytes], object] | None = None
        self._early: list[bytes] = []
        self._idle_since: float | None = None
        self.answer_begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        super().connection_made(transport)
        self._serving = asyncio.get_running_loop().create_task(self._serve())

    def connection_lost(self, error: Exception | None) -> None:
        """Give up what was being done for this client."""
        super().connection_lost(error)
        if self._body is not None:
            self._body.fail(RequestBrokenError("the client went away"))
        if self._serving is not None:
            self._serving.cancel()

    async def _serve(self) -> None:
        keep = True
        try:
            while keep and not self.lost:
                while not self._waiting:
                    if self._deaf:
                        return
                    loop = asyncio.get_running_loop()
                    self._arrived, self._idle_since = loop.create_future(), loop.time()
                    await self._arrived
                self._idle_since = None
                request = self._served = self._waiting.popleft()
                if self._held_back and len(self._waiting) < MOST_PIPELINED:
                    self._held_back = False
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
                self.refuse(400, f"not an HTTP request: {error}")
        finally:
            if not self.lost:
                self.transport.close()

    def idle_seconds(self, now: float) -> float:
        """How long it has waited for a request, or for the rest of a head; 0 while a request is under way."""
        return 0.0 if self._idle_since is None or self._waiting else now - self._idle_since

    def stop_listening(self) -> None:
        """Drop what comes from now on."""
        self._deaf = True

    async def _discard(self, body: Body) -> None:
        """Read on for a while, so that a client that is still sending sees its answer and not a reset."""
        with contextlib.suppress(ConnectionLostError, TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while await body.next():
                    pass

    def data_received(self, data: bytes) -> None:
        """Parse heads; pass a body of known length on without looking into it."""
        if self._tunnel is not None:
            self._tunnel(data)
            return
        if self._deaf:
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
        except httptools.HttpParserUpgrade as upgrade:
            self._tunnel = self._early.append  # what follows is for the tunnel, once there is one
            self.transport.pause_reading()
            if rest := data[upgrade.args[0] :]:
                self._early.append(rest)
        except httptools.HttpParserError as error:
            self._break(str(error.__context__ or error))

    def _break(self, why: str) -> None:
        """Nothing that comes from now on can be understood. What was understood before is answered first."""
        self._deaf = True
        if self._body is not None:
            self._body.fail(RequestBrokenError(why))
        if self._served is None and not self._waiting:
            self.refuse(400, f"not an HTTP request: {why}")

    def refuse(self, status: int, why: str) -> None:
        """Answer with one line of text, and close."""
        body = f"{why}\n".encode()
        self._served = None  # which would say a second time that the connection is closed
        self.send_head(status, [(b"Content-Type", b"text/plain"), (b"Content-Length", str(len(body)).encode()),
                                (b"Connection", b"close")])  # fmt: skip
        self.transport.write(body)
        self.transport.close()

    def on_message_begin(self) -> None:
        """Parser callback."""
        self._target, self._fields, self._lines, self._header_bytes, self._body = b"", {}, [], 0, None
        self._in_trailers = False
        if self._idle_since is not None:
            self._idle_since = asyncio.get_running_loop().time()

    def on_url(self, url: bytes) -> None:
        """Parser callback; a long target comes in parts."""
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser callback."""
        self._count(len(name) + len(value))
        if self._in_trailers:
            assert self._body is not None  # noqa: S101  # trailers come behind a body
            self._body.trailers += b"%b: %b\r\n" % (name, value)
            return
        lower = name.lower()
        if lower in _ONLY_ONCE and lower in self._fields:
            message = f"two {lower.decode()} headers"
            raise ValueError(message)
        self._fields[lower] = value
        if lower not in _BETWEEN_NEIGHBOURS:
            self._lines.append(b"%b: %b\r\n" % (name, value))

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MOST_HEADER_BYTES:
            message = f"a request's head is over {MOST_HEADER_BYTES} bytes"
            raise ValueError(message)

    def on_headers_complete(self) -> None:
        """Parser callback: the request can be handled while its body still comes."""
        self._in_trailers = True
        if b"upgrade" in self._fields and self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT":
            message = "this governor changes to no other protocol"
            raise ValueError(message)
        self._body = Body(self.transport)
        request = ClientRequest(self._parser.get_method().decode(), self._target, self._fields, self._lines, self._body)
        request.http10 = self._parser.get_http_version() == "1.0"
        request.keep_alive = self._parser.should_keep_alive() and not request.http10
        if request.method == "CONNECT":
            request.keep_alive = False
        elif request.length and not request.chunked:
            self._raw_left = request.length
        self._waiting.append(request)
        if len(self._waiting) > MOST_PIPELINED:
            self._held_back = True
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
        """End the connection with a reset: a mere end could be taken for the end of an answer."""
        found = self.transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        super().abort()

    def send_continue(self) -> None:
        """Ask the client for the body."""
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send_head(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes = b"") -> None:
        """Send an answer of the governor's own, with a body that is at hand."""
        self.send_lines(status, [b"%b: %b\r\n" % header for header in headers], body)

    def send_lines(self, status: int, lines: Iterable[bytes], body: bytes = b"") -> None:
        """Send an answer's head, whose header lines are as they came, and what is at hand of its body."""
        self.answer_begun = True
        served = self._served
        ending = b"\r\n"
        if served is not None and not (served.keep_alive and served.body.whole):
            ending = b"Connection: close\r\n\r\n"
        self.transport.write(
            b"".join((b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"Status")), *lines, ending, body))
        )

    def tunnel_to(self, take: Callable[[bytes], object]) -> None:
        """From now on, hand every byte to ``take``: the connection is a tunnel."""
        self._tunnel = take
        for data in self._early:
            take(data)
        self.transport.resume_reading()
