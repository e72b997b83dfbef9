"""HTTP/1.1 of the server: requests in order, refusals before the body is read, and injected faults."""

import asyncio
import socket
import struct
import time
from collections import deque
from http import HTTPStatus

import httptools

from tests.benchmarks.limited_s3 import control
from tests.benchmarks.limited_s3.answers import STATUS_LINES, Answer, Body, error_answer
from tests.benchmarks.limited_s3.counts import Tally
from tests.benchmarks.limited_s3.limiter import Fault
from tests.benchmarks.limited_s3.operations import http_date
from tests.benchmarks.limited_s3.request import Request, understand
from tests.benchmarks.limited_s3.service import Service

_LINGER_SECONDS = 1.0
"""How long a refused upload is discarded: closing at once would reset the connection before the response."""
_RESET = struct.pack("ii", 1, 0)
_SMALL_BYTES = 16_384


class _Exchange:
    """One request, and the decision that was made on its head."""

    __slots__ = ("begun", "chunks", "fault", "keep_alive", "refusal", "request", "tally")

    def __init__(self, request: Request, *, keep_alive: bool) -> None:
        self.request = request
        self.keep_alive = keep_alive
        self.chunks: list[bytes] = []
        self.begun = False
        self.tally: Tally | None = None
        self.refusal: str | None = None
        self.fault: Fault | None = None

    def body(self) -> Body:
        """Return the body as it was sent."""
        chunks = self.chunks
        return b"".join(chunks) if len(chunks) != 1 else chunks[0]


class S3Protocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._service = service
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._current: _Exchange | None = None
        self._waiting: deque[_Exchange] = deque()
        self._withheld: tuple[_Exchange, Answer] | None = None
        self._closing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._service.counts.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a slow response that the client no longer waits for as not delivered."""
        self._closing = True
        if self._withheld is not None:
            exchange, answer = self._withheld
            self._service.not_delivered(exchange.request, answer)
            self._withheld = None

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the ``on_`` methods."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self._closing:
                answer = error_answer("InvalidRequest", "This is not HTTP/1.1 as S3 speaks it.", "", "", "0")
                self._write(answer, keep_alive=False, with_body=True)

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url, self._headers = b"", {}

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Admit the request now, unless an earlier one is still in progress."""
        method = self._parser.get_method().decode()
        request = understand(method, self._url, self._headers)
        self._current = _Exchange(request, keep_alive=self._parser.should_keep_alive())
        if not self._closing and self._withheld is None and not self._waiting:
            self._begin(self._current)

    def on_body(self, data: bytes) -> None:
        """A part of the body; discarded if the request was refused."""
        if not self._closing and self._current is not None:
            self._current.chunks.append(data)

    def on_message_complete(self) -> None:
        """Execute the request in its turn."""
        exchange, self._current = self._current, None
        if self._closing:
            self._transport.close()
        elif exchange is not None:
            self._waiting.append(exchange)
            self._advance()

    def _begin(self, exchange: _Exchange) -> None:
        exchange.begun = True
        request = exchange.request
        exchange.tally, exchange.refusal, exchange.fault = self._service.admit(request)
        if exchange.refusal is not None:
            self._refuse(exchange)
        elif exchange.fault is Fault.RESET_BEFORE:
            self._reset()
        elif b"expect" in request.headers:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, exchange: _Exchange) -> None:
        """Answer SlowDown and close; discard an incoming body for a while first."""
        request, request_id = exchange.request, self._service.request_id()
        answer = self._service.slow_down(request, request_id)
        headers = request.headers
        coming = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        linger = coming and b"expect" not in headers and exchange is self._current
        self._answer(exchange, answer, request_id, close=True, linger=linger)

    def _advance(self) -> None:
        while self._waiting and self._withheld is None and not self._closing:
            exchange = self._waiting.popleft()
            if not exchange.begun:
                self._begin(exchange)
            if not self._closing:
                self._carry_out(exchange)

    def _carry_out(self, exchange: _Exchange) -> None:
        service, request, fault = self._service, exchange.request, exchange.fault
        body = exchange.body()
        exchange.chunks.clear()
        if exchange.tally is not None:
            exchange.tally.bytes_in += len(body)
        request_id = service.request_id()
        if request.operation == "Control":
            self._answer(exchange, control.answer(service, request, body), request_id)
            return
        if fault is Fault.ERROR_BEFORE:
            self._answer(exchange, service.internal_error(request, request_id), request_id)
            return
        answer = service.carry_out(request, body, request_id)
        if fault is None:
            self._answer(exchange, answer, request_id, close=answer.status == HTTPStatus.SERVICE_UNAVAILABLE)
        elif fault is Fault.SLOW:
            self._withheld = exchange, answer
            self._loop.call_later(service.settings.faults.slow_seconds, self._release, request_id)
        else:
            service.not_delivered(request, answer)
            if fault is Fault.ERROR_AFTER:
                self._answer(exchange, service.internal_error(request, request_id), request_id)
            elif fault is Fault.RESET_MIDWAY and len(answer.body) > 1 and request.method == "GET":
                half = memoryview(answer.body)[: len(answer.body) // 2]
                self._write(Answer(answer.status, half, answer.headers, len(answer.body)), keep_alive=True)
                self._loop.call_soon(self._loop.call_soon, self._reset)  # behind the loop's own flush of the half
            else:
                self._reset()

    def _release(self, request_id: str) -> None:
        """Send a slow response if the client still waits."""
        if self._withheld is not None:
            (exchange, answer), self._withheld = self._withheld, None
            self._answer(exchange, answer, request_id)
            self._advance()

    def _answer(
        self, exchange: _Exchange, answer: Answer, request_id: str, *, close: bool = False, linger: bool = False
    ) -> None:
        if exchange.tally is not None:
            exchange.tally.answers += 1
            exchange.tally.bytes_out += len(answer.body)
        keep_alive = exchange.keep_alive and not close
        self._write(
            answer,
            request_id=request_id,
            keep_alive=keep_alive,
            with_body=exchange.request.method != "HEAD",
            linger=linger,
        )

    def _write(
        self,
        answer: Answer,
        *,
        keep_alive: bool,
        with_body: bool = True,
        request_id: str = "0",
        linger: bool = False,
    ) -> None:
        head = [
            STATUS_LINES[answer.status],
            f"x-amz-request-id: {request_id}\r\nx-amz-id-2: limited-s3\r\nDate: {http_date(int(time.time()))}\r\n",
            *(f"{name}: {value}\r\n" for name, value in answer.headers),
        ]
        if answer.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            head.append(f"Content-Length: {len(answer.body) if answer.length is None else answer.length}\r\n")
        head.append("Server: AmazonS3\r\n\r\n" if keep_alive else "Connection: close\r\nServer: AmazonS3\r\n\r\n")
        start = "".join(head).encode("latin-1")
        body = answer.body if with_body else b""
        if len(body) <= _SMALL_BYTES:
            self._transport.write(start + body)
        else:
            self._transport.write(start)
            self._transport.write(body)
        if not keep_alive:
            self._close(linger=linger)

    def _close(self, *, linger: bool) -> None:
        self._closing = True
        if not linger:
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._loop.call_later(_LINGER_SECONDS, self._transport.close)

    def _reset(self) -> None:
        """Close with a TCP reset."""
        self._closing = True
        found = self._transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()
