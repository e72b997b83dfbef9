"""HTTP/1.1 messages: heads, which httptools parses, and bodies as they arrive."""

import re
from dataclasses import dataclass, field
from typing import TypeVar

import httptools

from resources.s3.governor.stream import Stream

MAX_HEAD_BYTES = 64 << 10
BODILESS = frozenset({204, 304})
_NOT_TO_S3 = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"upgrade", b"expect"}
)
"""Headers that are not forwarded to S3. No client signs them."""
_NOT_TO_CLIENT = frozenset(
    {b"connection", b"keep-alive", b"te", b"upgrade", b"proxy-authenticate", b"content-length", b"transfer-encoding"}
)
_ONLY_ONCE = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""Headers that the governor and S3 could read differently if they came twice."""
_CHUNK_HEAD = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
Parser = TypeVar("Parser", httptools.HttpRequestParser, httptools.HttpResponseParser)


class Body:
    """A message body, read from its connection. A ``length`` of None means until the end of the connection."""

    def __init__(self, stream: Stream, length: int | None, *, chunked: bool = False) -> None:
        self._stream = stream
        self._left = length
        self._chunked = chunked
        self.whole = length == 0 and not chunked
        self.taken = 0
        self.trailers = b""

    async def next(self) -> bytes:
        """Return the next bytes, b"" at the end. Raises ConnectionLostError."""
        try:
            if self._chunked and not self._left and not self.whole:
                await self._begin_chunk()
            if self.whole:
                return b""
            data = await self._stream.read(self._left)
            if self._left is None:
                self.whole = not data
            elif not data:
                raise self._stream.broken(f"{self._stream.peer} closed the connection")
            else:
                self._left -= len(data)
                self.whole = not self._left and not self._chunked
                if not self._left and self._chunked and await self._line() != b"\r\n":
                    raise ValueError("a chunk is longer than its size")
        except ValueError as error:
            raise self._stream.broken(f"{self._stream.peer} sent no valid HTTP: {error}") from None
        self.taken += len(data)
        return data

    async def up_to(self, limit: int) -> bytes:
        """Return the whole body if it has at most ``limit`` bytes, else a beginning longer than ``limit``."""
        parts: list[bytes] = []
        size = 0
        while size <= limit and (chunk := await self.next()):
            parts.append(chunk)
            size += len(chunk)
        return b"".join(parts)

    async def _begin_chunk(self) -> None:
        found = _CHUNK_HEAD.fullmatch(await self._line())
        if found is None:
            raise ValueError("a chunk has no size")
        self._left = int(found[1], 16)
        self.whole = not self._left
        while self.whole and (line := await self._line()) != b"\r\n":
            self.trailers += line
            if len(self.trailers) > MAX_HEAD_BYTES:
                raise ValueError("its trailers are too long")

    async def _line(self) -> bytes:
        return await self._stream.until(b"\r\n", MAX_HEAD_BYTES)


def chunk_of(data: bytes) -> bytes:
    """Return data in the framing of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def last_chunk(trailers: bytes = b"") -> bytes:
    """Return the end of a chunked body."""
    return b"0\r\n%b\r\n" % trailers


@dataclass(eq=False, slots=True)
class Message:
    """A request, which has a method and a target, or a response, which has a status.

    ``fields`` maps lower-case header names to values; ``lines`` are the header lines to forward, unchanged.
    """

    body: Body
    method: str = ""
    target: bytes = b""
    status: int = 0
    fields: dict[bytes, bytes] = field(default_factory=dict)
    lines: list[bytes] = field(default_factory=list)
    dropped: frozenset[bytes] = frozenset()
    keep_alive: bool = False
    has_head: bool = False

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

    def header(self, name: bytes) -> str:
        """Return the value of a header by its lower-case name, or ""."""
        return self.fields.get(name, b"").decode("latin-1")

    def on_url(self, url: bytes) -> None:
        """Parser callback."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser callback."""
        lower = name.lower()
        if lower in _ONLY_ONCE and lower in self.fields:
            raise ValueError(f"it has two {lower.decode()} headers")
        self.fields[lower] = value
        if lower not in self.dropped:
            self.lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        """Parser callback."""
        self.has_head = True


async def read_request(stream: Stream) -> Message:
    """Read the head of a request. Raises RequestBrokenError, also for HTTP that could be read in two ways."""
    request = Message(Body(stream, 0), dropped=_NOT_TO_S3)
    parser = await _parse(stream, httptools.HttpRequestParser(request), request)
    if parser.get_http_version() != "1.1":
        raise stream.broken(f"{stream.peer} sent HTTP/{parser.get_http_version()}, which is not supported")
    request.method = parser.get_method().decode()
    request.body = Body(stream, request.length or 0, chunked=request.chunked)
    return request


async def read_response(stream: Stream, *, bodiless: bool) -> Message:
    """Read the head of a response; ``bodiless`` for HEAD, whose response has no body. Raises ConnectionLostError."""
    response = Message(Body(stream, 0), dropped=_NOT_TO_CLIENT)
    parser = await _parse(stream, httptools.HttpResponseParser(response), response)
    response.status = parser.get_status_code()
    if not bodiless and response.status not in BODILESS and response.status >= 200:
        response.body = Body(stream, 0 if response.chunked else response.length, chunked=response.chunked)
    return response


async def _parse(stream: Stream, parser: Parser, message: Message) -> Parser:
    left = MAX_HEAD_BYTES
    try:
        while not message.has_head:  # empty lines before a head are no error, but count
            part = await stream.until(b"\r\n\r\n", left)
            left -= len(part)
            parser.feed_data(part)
    except httptools.HttpParserUpgrade:
        raise stream.broken(f"{stream.peer} asked for a tunnel or another protocol, which is not supported") from None
    except (httptools.HttpParserError, ValueError) as error:
        raise stream.broken(f"{stream.peer} sent no valid HTTP: {error.__context__ or error}") from None
    is_closing = b"close" in message.fields.get(b"connection", b"").lower()
    message.keep_alive = parser.get_http_version() == "1.1" and not is_closing
    return parser
