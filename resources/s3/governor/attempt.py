"""One attempt at a request: send it over one connection, and read the response or prepare to stream it."""

import asyncio
from dataclasses import dataclass

from resources.s3.governor import responses
from resources.s3.governor.body import ConnectionLostError, RequestBrokenError
from resources.s3.governor.exchange import Exchange
from resources.s3.governor.request_scheduler import Outcome
from resources.s3.governor.responses import Judgement
from resources.s3.governor.s3_request import Replay
from resources.s3.governor.settings import MIB
from resources.s3.governor.uncertain_writes import Write
from resources.s3.governor.upstream import (
    BODILESS,
    CONTINUE_SECONDS,
    UNASKED_SECONDS,
    Response,
    UpstreamConnection,
    UpstreamNotTrustedError,
    UpstreamPool,
    UpstreamUnreachableError,
)

RESPONSE_SECONDS = 300.0
"""How long S3 may take to respond after it has received a large body."""
_LAST_CHUNK = b"0\r\n%b\r\n"


@dataclass
class Result:
    """The result of an attempt. ``content`` is the part of the response body that was read so far.

    ``connection`` is set while the rest of the body is still to be read from it.
    """

    exchange: Exchange
    judgement: Judgement
    may_have_applied: bool = False
    repeatable: bool = True
    response: Response | None = None
    content: bytes = b""
    connection: UpstreamConnection | None = None

    async def pass_on(self, pool: UpstreamPool) -> bool:
        """Send S3's response to the client. Return whether the client's connection can be kept."""
        response, client = self.response, self.exchange.client
        assert response is not None  # noqa: S101  # only a response is ACCEPTED
        if self.connection is not None:
            return await self._stream(response, self.connection, pool)
        bodiless = self.exchange.request.method == "HEAD" or response.status in BODILESS
        length = response.length if bodiless else len(self.content)
        framing = [] if length is None else [b"Content-Length: %d\r\n" % length]
        client.send_lines(response.status, [*response.lines, *framing], self.content)
        return True

    async def _stream(self, response: Response, connection: UpstreamConnection, pool: UpstreamPool) -> bool:
        client, length = self.exchange.client, response.length
        framing = b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
        client.send_lines(response.status, [*response.lines, framing])
        try:
            chunk = self.content or await response.body.next()
            while chunk:
                client.transport.write(_framed(chunk) if length is None else chunk)
                await client.drained()
                chunk = await response.body.next()
        except ConnectionLostError:
            # The client has a part of the response, so only the client can retry: reset its connection.
            connection.abort()
            client.abort()
            return False
        except BaseException:
            connection.abort()
            raise
        if length is None:
            client.transport.write(_LAST_CHUNK % b"")
        pool.release(connection)
        return True

    def replace_by_error(self, status: int, code: str, message: str) -> bool:
        """Send the client an error of the governor in S3's form."""
        self.drop()
        request_id, is_head = self.judgement.request_id, self.exchange.request.method == "HEAD"
        body = b"" if is_head else responses.error_document(code, message, request_id)
        self.exchange.client.send_head(status, responses.error_headers(code, message, body, request_id), body)
        return True

    def replace_by_success(self, write: Write) -> bool:
        """Send the client the success response that was lost."""
        self.drop()
        if write.request.replay is Replay.COMPLETION:
            headers, body = responses.upload_completed(write.request, write.etag, self.judgement.request_id)
        else:
            headers, body = responses.put_succeeded(write.etag, self.judgement.request_id)
        self.exchange.client.send_head(200, headers, body)
        return True

    def drop(self) -> None:
        """Discard the rest of S3's response."""
        if self.connection is not None:
            self.connection.abort()
            self.connection = None


class Attempt:
    """One attempt over one connection. ``sent`` is whether S3 may have received the whole request."""

    def __init__(self, pool: UpstreamPool, exchange: Exchange) -> None:
        self._pool = pool
        self._exchange = exchange
        self._request = exchange.request
        self.sent = False
        self._consumed = False

    async def make(self, seconds: float) -> Result:
        """Send the request and read its response, within ``seconds`` unless the request body is streamed.

        Of a large successful response only the head is read.
        """
        exchange = self._exchange
        try:
            connection = await self._pool.acquire()
        except UpstreamNotTrustedError as error:
            judgement = Judgement(Outcome.FAILED, 400, "UpstreamNotTrusted", str(error))
            exchange.note(judgement, reached=False)
            return Result(exchange, judgement, repeatable=False)
        except UpstreamUnreachableError as error:
            return self._lost(str(error), reached=False)
        try:
            connection.begin(bodiless=self._request.method == "HEAD")
            async with asyncio.timeout(None if exchange.streaming else seconds):
                response = await (self._stream(connection) if exchange.streaming else self._send(connection))
                large = response.length is not None and response.length > MIB and response.status < 300
                content = b"" if large else await response.body.up_to(MIB)
        except RequestBrokenError:
            connection.abort()
            raise
        except ConnectionLostError as error:
            connection.abort()
            return self._lost(str(error))
        except TimeoutError:
            connection.abort()
            return self._lost(f"no answer within {RESPONSE_SECONDS if exchange.streaming else seconds:.1f} s")
        except BaseException:
            connection.abort()
            raise
        return self._received(connection, response, content)

    async def _send(self, connection: UpstreamConnection) -> Response:
        self.sent = True
        body = self._exchange.body
        if self._request.chunked:
            body = (_framed(body) if body else b"") + _LAST_CHUNK % self._request.body.trailers
        connection.send((self._exchange.head, b"\r\n", body))
        return await connection.response()

    async def _stream(self, connection: UpstreamConnection) -> Response:
        """Send a body that is too large to keep, after S3 asked for it.

        If S3 refuses on the head alone, the body is still with the client, and the request can be retried.
        """
        connection.send((self._exchange.head, b"Expect: 100-continue\r\n\r\n"))
        if not await connection.wants_body(self._pool.continue_seconds):
            connection.reusable = False  # S3 may still expect the body
            return await connection.response()
        self._pool.continue_seconds = CONTINUE_SECONDS if connection.asked_for_body else UNASKED_SECONDS
        self.sent = True
        if self._request.expects_continue and not self._request.chunked:
            self._exchange.client.send_continue()
        chunked, chunk = self._request.chunked, self._exchange.body or await self._next_chunk()
        while chunk and not connection.responded:
            connection.send((_framed(chunk) if chunked else chunk,))
            await connection.drained()
            chunk = await self._next_chunk()
        if chunk:  # S3 responded before the end
            connection.reusable = False
        elif chunked:
            connection.send((_LAST_CHUNK % self._request.body.trailers,))
        async with asyncio.timeout(RESPONSE_SECONDS):
            return await connection.response()

    async def _next_chunk(self) -> bytes:
        chunk = await self._request.body.next()
        self._consumed |= bool(chunk)
        return chunk

    def _received(self, connection: UpstreamConnection, response: Response, content: bytes) -> Result:
        whole = response.body.whole and not (response.length and not content and self._request.method != "HEAD")
        request_id, error_in_body = response.header(b"x-amz-request-id"), self._exchange.s3.error_in_body
        judgement = responses.judge(response.status, content, request_id, error_in_body=error_in_body)
        self._exchange.note(judgement, reached=True)
        if whole:
            self._pool.release(connection)
        elif judgement.outcome is not Outcome.ACCEPTED:
            connection.abort()
        failed, rest = judgement.outcome is Outcome.FAILED, None if whole else connection
        return Result(self._exchange, judgement, failed, not self._consumed, response, content, rest)

    def _lost(self, why: str, *, reached: bool = True) -> Result:
        judgement = Judgement(Outcome.FAILED, 0, why)
        self._exchange.note(judgement, reached=reached)
        return Result(self._exchange, judgement, reached and self.sent, not self._consumed)


def _framed(chunk: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(chunk), chunk)
