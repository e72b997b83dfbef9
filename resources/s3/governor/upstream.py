"""Connections to S3: kept alive, one request at a time, over TLS where the upstream is https."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import httptools

from resources.errors import TransientFailure
from resources.s3.governor.body import Body, ConnectionLostError
from resources.s3.governor.connection import Connection

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 4.0
"""A connection idle for longer is not used again: S3 closes idle ones, and a reset then would put a write in doubt."""
CONTINUE_SECONDS = 1.0
"""How long S3 may take to ask for a large body before it is sent unasked, as clients do too."""
UNASKED_SECONDS = 0.05
"""So long where it did not ask the last time: a server that knows nothing of it never will."""
BODILESS = frozenset({204, 304})


class UpstreamUnreachableError(TransientFailure, ConnectionError):
    """No connection could be made, so nothing was sent."""


class UpstreamNotTrustedError(UpstreamUnreachableError):
    """Its certificate is not trusted, or is for another name: trying again changes nothing."""


_BETWEEN_NEIGHBOURS = frozenset({b"connection", b"keep-alive", b"te", b"upgrade", b"proxy-authenticate"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Answer:
    """The head of an answer, and its body as it comes.

    ``fields`` are the headers by lower-case name; ``lines`` those for the client but for the framing, as they came.
    """

    __slots__ = ("body", "fields", "length", "lines", "status")

    def __init__(self, status: int, fields: dict[bytes, bytes], lines: list[bytes], body: Body) -> None:
        self.status = status
        self.fields = fields
        self.lines = lines
        self.body = body
        length = fields.get(b"content-length")
        self.length = int(length) if length is not None else None

    def header(self, name: bytes) -> str:
        """A header's value, by its lower-case name, or ""."""
        return self.fields.get(name, b"").decode("latin-1")


class UpstreamConnection(Connection):
    """One connection to S3. After ``answer`` and the end of its body it can be used again while ``reusable``."""

    def __init__(self) -> None:
        super().__init__()
        self.idle_since = 0.0
        self.reusable = False
        self._answer: asyncio.Future[Answer] | None = None
        self._continue: asyncio.Future[bool] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._fields: dict[bytes, bytes] = {}
        self._lines: list[bytes] = []
        self._body: Body | None = None
        self._raw_left = 0
        self._bodiless = False
        self._sized = False

    def begin(self, *, bodiless: bool) -> None:
        """Prepare for the answer to a request; ``bodiless`` where it has no body whatever its headers say (HEAD)."""
        loop = asyncio.get_running_loop()
        self.reusable = False
        self._answer = loop.create_future()
        self._continue = None
        self._parser = httptools.HttpResponseParser(self)
        self._fields, self._lines = {}, []
        self._body = None
        self._raw_left = 0
        self._bodiless = bodiless
        self._sized = False

    def send(self, parts: Sequence[bytes]) -> None:
        """Send bytes of the request."""
        self.transport.writelines(parts)

    async def answer(self) -> Answer:
        """The final answer's head. Raises ConnectionLostError."""
        assert self._answer is not None  # noqa: S101  # begin() made it
        return await self._answer

    async def goes_on(self, seconds: float) -> bool:
        """Whether S3 asks for the body: it said 100, or nothing within ``seconds``; False when it has answered."""
        assert self._answer is not None  # noqa: S101  # begin() made it
        self._continue = asyncio.get_running_loop().create_future()
        waiting: set[asyncio.Future[Any]] = {self._continue, self._answer}
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return self._answer not in done

    @property
    def asked_for_body(self) -> bool:
        """Whether S3 has said 100."""
        return self._continue is not None and self._continue.done()

    @property
    def answered(self) -> bool:
        """Whether the head of the final answer is there, or will never be."""
        return self._answer is not None and self._answer.done()

    def data_received(self, data: bytes) -> None:
        """Parse the head; pass a body of known length on without looking into it."""
        if self._raw_left and self._body is not None:
            more = len(data) > self._raw_left
            self._body.feed(data[: self._raw_left] if more else data)
            self._raw_left = 0 if more else self._raw_left - len(data)
            if not self._raw_left:
                self._finish()
            if more:
                self._out_of_step()
            return
        if self._parser is None:
            self._out_of_step()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(ConnectionLostError(f"the upstream's answer is not HTTP: {error}"))
            self.transport.abort()

    def _out_of_step(self) -> None:
        """S3 spoke without being asked: what it says next would be taken for another request's answer."""
        self.reusable = False
        self.transport.abort()

    def on_message_begin(self) -> None:
        """Parser callback; trailers and what comes unasked must not get into a head that was handed over."""
        if self._parser is None:  # a beginning that may come to be an answer is no error to the parser
            self._out_of_step()
        self._fields, self._lines = {}, []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser callback."""
        if self._body is not None:
            return  # a trailer
        lower = name.lower()
        self._fields[lower] = value
        if lower not in _BETWEEN_NEIGHBOURS and lower not in _FRAMING:
            self._lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        """Parser callback: hand the head over, unless it is an interim one."""
        assert self._parser is not None and self._answer is not None  # noqa: S101, PT018  # it is this parser that calls
        status = self._parser.get_status_code()
        if status < 200:  # 1xx: the final head is still to come
            self._fields, self._lines = {}, []
            if self._continue is not None and not self._continue.done():
                self._continue.set_result(True)
            return
        self._body = Body(self.transport)
        answer = Answer(status, self._fields, self._lines, self._body)
        self._sized = answer.length is not None or "chunked" in answer.header(b"transfer-encoding").lower()
        self.reusable = (self._parser.should_keep_alive() and self._sized) or status in BODILESS
        if self._bodiless:
            self.reusable = self._parser.should_keep_alive()
            self._parser = None
            self._body.end()
        elif answer.length:
            self._raw_left = answer.length
        if not self._answer.done():
            self._answer.set_result(answer)

    def on_body(self, data: bytes) -> None:
        """Parser callback."""
        if self._body is not None and not self._bodiless:
            if self._raw_left:
                self._raw_left -= len(data)
            self._body.feed(data)

    def on_message_complete(self) -> None:
        """Parser callback; an interim answer completes too."""
        if self._body is not None:
            self._finish()

    def _finish(self) -> None:
        self._raw_left = 0
        self._parser = None
        if self._body is not None:
            self._body.end()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits for an answer or the rest of it."""
        super().connection_lost(error)
        if self._body is not None and not self._sized and error is None:
            self._body.end()  # an answer without a length ends with its connection
        reason = f": {error}" if error else ""
        self._fail(ConnectionLostError(f"the upstream closed the connection{reason}"))

    def _fail(self, error: Exception) -> None:
        self.reusable = False
        if self._body is not None:
            self._body.fail(error)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # nobody may be waiting for it any more


class UpstreamPool:
    """Connections to one upstream; the one used last is used next, so that the others grow old and are closed."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._idle: deque[UpstreamConnection] = deque()
        self.continue_seconds = CONTINUE_SECONDS

    async def acquire(self) -> UpstreamConnection:
        """A connection that is ready for a request. Raises UpstreamUnreachableError."""
        oldest = time.monotonic() - IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost and connection.idle_since > oldest:
                return connection
            connection.abort()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(
                    UpstreamConnection,
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                )
        except ssl.SSLCertVerificationError as error:
            message = f"The certificate of {self._host}:{self._port} is not trusted: {error.verify_message}."
            raise UpstreamNotTrustedError(message) from error
        except (OSError, TimeoutError) as error:
            reason = str(error) or f"no answer within {CONNECT_SECONDS:.0f} s"
            message = f"no connection to {self._host}:{self._port}: {reason}"
            raise UpstreamUnreachableError(message) from error
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Give a connection back; one that cannot be used again is closed."""
        if connection.reusable and not connection.lost and not connection.transport.is_closing():
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
            self._close_old()
        else:
            connection.abort()

    def _close_old(self) -> None:
        oldest = time.monotonic() - IDLE_SECONDS
        while self._idle and (self._idle[0].lost or self._idle[0].idle_since < oldest):
            self._idle.popleft().abort()

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().abort()
