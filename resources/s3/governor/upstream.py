"""Connections to S3: kept alive, one request at a time, with TLS if the upstream is https."""

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httptools

from resources.s3.governor.body import Body, ConnectionLostError
from resources.s3.governor.connection import Connection

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 4.0
"""Maximum age of an idle connection: S3 closes idle ones, and a reset would leave a write uncertain."""
CONTINUE_SECONDS = 1.0
"""How long to wait for `100 Continue` before a large body is sent anyway, as S3 clients do."""
UNASKED_SECONDS = 0.05
"""The same where the upstream did not send it last time: some servers never do."""
BODILESS = frozenset({204, 304})
_HOP_BY_HOP = frozenset({b"connection", b"keep-alive", b"te", b"upgrade", b"proxy-authenticate"})
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class UpstreamUnreachableError(ConnectionError):
    """No connection could be opened, so nothing was sent."""


class UpstreamNotTrustedError(UpstreamUnreachableError):
    """The upstream's certificate is not trusted, or is for another name. Permanent."""


@dataclass(slots=True)
class Response:
    """The head of a response, and its body as it arrives.

    ``fields`` maps lower-case header names to values; ``lines`` are the forwarded header lines without framing.
    """

    status: int
    fields: dict[bytes, bytes]
    lines: list[bytes]
    body: Body

    @property
    def length(self) -> int | None:
        """The announced length of the body in bytes."""
        length = self.fields.get(b"content-length")
        return None if length is None else int(length)

    def header(self, name: bytes) -> str:
        """Return the value of a header by its lower-case name, or ""."""
        return self.fields.get(name, b"").decode("latin-1")


class UpstreamConnection(Connection):
    """One connection to S3. After a response was read to its end it can be used again if ``reusable``."""

    def __init__(self) -> None:
        super().__init__()
        self.idle_since = 0.0
        self.reusable = False
        self._response: asyncio.Future[Response] | None = None
        self._continue: asyncio.Future[bool] | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._fields: dict[bytes, bytes] = {}
        self._lines: list[bytes] = []
        self._body: Body | None = None
        self._raw_left = 0
        self._bodiless = False
        self._sized = False

    def begin(self, *, bodiless: bool) -> None:
        """Prepare for the response to a request; ``bodiless`` for HEAD, whose response has no body."""
        self.reusable = False
        self._response = asyncio.get_running_loop().create_future()
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

    async def response(self) -> Response:
        """Return the head of the final response. Raises ConnectionLostError."""
        assert self._response is not None  # noqa: S101  # begin() made it
        return await self._response

    async def wants_body(self, seconds: float) -> bool:
        """Return True on `100 Continue` or after ``seconds`` without an answer, False on a final response."""
        assert self._response is not None  # noqa: S101  # begin() made it
        self._continue = asyncio.get_running_loop().create_future()
        waiting: set[asyncio.Future[Any]] = {self._continue, self._response}
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return self._response not in done

    @property
    def asked_for_body(self) -> bool:
        """Whether S3 has sent `100 Continue`."""
        return self._continue is not None and self._continue.done()

    @property
    def responded(self) -> bool:
        """Whether the head of the final response was received, or never will be."""
        return self._response is not None and self._response.done()

    def data_received(self, data: bytes) -> None:
        """Parse response heads; pass on bodies of known length without parsing."""
        if self._raw_left and self._body is not None:
            excess = len(data) > self._raw_left
            self._body.feed(data[: self._raw_left] if excess else data)
            self._raw_left = 0 if excess else self._raw_left - len(data)
            if not self._raw_left:
                self._finish()
            if excess:
                self._out_of_step()
            return
        if self._parser is None:
            self._out_of_step()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(ConnectionLostError(f"the upstream's response is not HTTP: {error}"))
            self.transport.abort()

    def _out_of_step(self) -> None:
        """Drop a connection with unexpected data, which would be read as the next request's response."""
        self.reusable = False
        self.transport.abort()

    def on_message_begin(self) -> None:
        """Parser callback; the headers of a response that was handed over must not change."""
        if self._parser is None:  # to the parser, the beginning of a further response is no error
            self._out_of_step()
        self._fields, self._lines = {}, []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser callback; trailers are dropped."""
        if self._body is not None:
            return
        lower = name.lower()
        self._fields[lower] = value
        if lower not in _HOP_BY_HOP and lower not in _FRAMING:
            self._lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        """Parser callback: hand over the head, unless it is an interim one (1xx)."""
        assert self._parser is not None and self._response is not None  # noqa: S101, PT018  # this parser calls
        status = self._parser.get_status_code()
        if status < 200:
            self._fields, self._lines = {}, []
            if self._continue is not None and not self._continue.done():
                self._continue.set_result(True)
            return
        self._body = Body(self.transport)
        response = Response(status, self._fields, self._lines, self._body)
        self._sized = response.length is not None or "chunked" in response.header(b"transfer-encoding").lower()
        self.reusable = (self._parser.should_keep_alive() and self._sized) or status in BODILESS
        if self._bodiless:
            self.reusable = self._parser.should_keep_alive()
            self._parser = None
            self._body.end()
        elif response.length:
            self._raw_left = response.length
        if not self._response.done():
            self._response.set_result(response)

    def on_body(self, data: bytes) -> None:
        """Parser callback."""
        if self._body is not None and not self._bodiless:
            if self._raw_left:
                self._raw_left -= len(data)
            self._body.feed(data)

    def on_message_complete(self) -> None:
        """Parser callback, also for interim responses."""
        if self._body is not None:
            self._finish()

    def _finish(self) -> None:
        self._raw_left = 0
        self._parser = None
        if self._body is not None:
            self._body.end()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the response in progress, or complete one that only the end of the connection delimits."""
        super().connection_lost(error)
        if self._body is not None and not self._sized and error is None:
            self._body.end()
        reason = f": {error}" if error else ""
        self._fail(ConnectionLostError(f"the upstream closed the connection{reason}"))

    def _fail(self, error: Exception) -> None:
        self.reusable = False
        if self._body is not None:
            self._body.fail(error)
        if self._response is not None and not self._response.done():
            self._response.set_exception(error)
            self._response.exception()  # mark as retrieved: maybe nobody waits for it any more


class UpstreamPool:
    """Idle connections to one upstream. The last one used is reused first, so that the others age and are closed."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._idle: deque[UpstreamConnection] = deque()
        self.continue_seconds = CONTINUE_SECONDS

    async def acquire(self) -> UpstreamConnection:
        """Return a connection that is ready for a request. Raises UpstreamUnreachableError."""
        oldest = time.monotonic() - IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost and connection.idle_since > oldest:
                return connection
            connection.abort()
        name = self._host if self._tls else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await asyncio.get_running_loop().create_connection(
                    UpstreamConnection, self._host, self._port, ssl=self._tls, server_hostname=name
                )
        except ssl.SSLCertVerificationError as error:
            raise UpstreamNotTrustedError(
                f"The certificate of {self._host}:{self._port} is not trusted: {error.verify_message}."
            ) from error
        except (OSError, TimeoutError) as error:
            reason = str(error) or f"no answer within {CONNECT_SECONDS:.0f} s"
            raise UpstreamUnreachableError(f"no connection to {self._host}:{self._port}: {reason}") from error
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request if it is reusable, else close it; close aged ones."""
        if not connection.reusable or connection.lost or connection.transport.is_closing():
            connection.abort()
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        while self._idle[0].lost or self._idle[0].idle_since < connection.idle_since - IDLE_SECONDS:
            self._idle.popleft().abort()

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().abort()
