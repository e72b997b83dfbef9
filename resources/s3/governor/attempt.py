"""One attempt at a request: send it over one connection, and read the response or prepare to stream it."""

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

from resources.s3.governor import responses
from resources.s3.governor.exchange import Exchange
from resources.s3.governor.message import BODILESS, Message, chunk_of, last_chunk
from resources.s3.governor.request_scheduler import Outcome
from resources.s3.governor.responses import Judgement
from resources.s3.governor.s3_request import Replay
from resources.s3.governor.settings import MIB
from resources.s3.governor.stream import ConnectionLostError, RequestBrokenError
from resources.s3.governor.uncertain_writes import Write
from resources.s3.governor.upstream import (
    CONTINUE_SECONDS,
    UNASKED_SECONDS,
    UpstreamConnection,
    UpstreamNotTrustedError,
    UpstreamPool,
    UpstreamUnreachableError,
)

RESPONSE_SECONDS = 300.0
"""How long S3 may take to respond after it has received a large body."""


@dataclass
class Result:
    """The result of an attempt. ``content`` is the part of the response body that was read so far.

    ``connection`` is set while the rest of the body is still to be read from it.
    """

    exchange: Exchange
    judgement: Judgement
    may_have_applied: bool = False
    repeatable: bool = True
    response: Message | None = None
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

    async def _stream(self, response: Message, connection: UpstreamConnection, pool: UpstreamPool) -> bool:
        client, length = self.exchange.client, response.length
        framing = b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
        client.send_lines(response.status, [*response.lines, framing])
        try:
            chunk = self.content or await response.body.next()
            while chunk:
                client.transport.write(chunk_of(chunk) if length is None else chunk)
                await client.drained()
                chunk = await response.body.next()
        except ConnectionLostError:
            # The client has a part of the response, so only the client can retry. Its framing shows that it is cut off.
            connection.transport.abort()
            client.transport.abort()
            return False
        except BaseException:
            connection.transport.abort()
            raise
        if length is None:
            client.transport.write(last_chunk())
        pool.release(connection)
        return True

    def replace_by_error(self, status: int, code: str, message: str) -> bool:
        """Send the client an error of the governor in S3's form."""
        self.drop()
        return self.exchange.client.send_error(status, code, message, self.judgement.request_id)

    def replace_by_success(self, write: Write) -> bool:
        """Send the client the success response that was lost."""
        self.drop()
        succeeded = responses.upload_completed if write.request.replay is Replay.COMPLETION else responses.put_succeeded
        return self.exchange.client.send(200, *succeeded(write.request, write.etag, self.judgement.request_id))

    def drop(self) -> None:
        """Discard the rest of S3's response."""
        if self.connection is not None:
            self.connection.transport.abort()
            self.connection = None


async def attempt(pool: UpstreamPool, exchange: Exchange, seconds: float) -> Result:
    """Send the request and read its response, within ``seconds`` unless the request body is streamed.

    Of a large successful response only the head is read.
    """
    exchange.sent = False
    try:
        connection = await pool.acquire()
    except UpstreamNotTrustedError as error:
        judgement = Judgement(Outcome.FAILED, 400, "UpstreamNotTrusted", str(error))
        exchange.note(judgement, reached=False)
        return Result(exchange, judgement, repeatable=False)
    except UpstreamUnreachableError as error:
        return _lost(exchange, str(error), reached=False)
    send = partial(_send_streamed, pool) if exchange.streaming else _send
    try:
        async with asyncio.timeout(None if exchange.streaming else seconds):
            response = await send(connection, exchange)
            is_large = response.length is not None and response.length > MIB and response.status < 300
            content = b"" if is_large else await response.body.up_to(MIB)
    except BaseException as error:
        connection.transport.abort()
        if isinstance(error, TimeoutError):
            return _lost(exchange, f"no answer within {RESPONSE_SECONDS if exchange.streaming else seconds:.1f} s")
        if isinstance(error, ConnectionLostError) and not isinstance(error, RequestBrokenError):
            return _lost(exchange, str(error))
        raise
    request_id, error_in_body = response.header(b"x-amz-request-id"), exchange.s3.error_in_body
    judgement = responses.judge(response.status, content, request_id, error_in_body=error_in_body)
    exchange.note(judgement, reached=True)
    rest = None if response.body.whole else connection
    if rest is None:
        pool.release(connection)
    elif judgement.outcome is not Outcome.ACCEPTED:
        connection.transport.abort()
    has_failed = judgement.outcome is Outcome.FAILED
    return Result(exchange, judgement, has_failed, exchange.has_body, response, content, rest)


def _lost(exchange: Exchange, why: str, *, reached: bool = True) -> Result:
    judgement = Judgement(Outcome.FAILED, 0, why)
    exchange.note(judgement, reached=reached)
    return Result(exchange, judgement, reached and exchange.sent, exchange.has_body)


async def _send(connection: UpstreamConnection, exchange: Exchange) -> Message:
    exchange.sent = True
    request, body = exchange.request, exchange.body
    if request.chunked:
        body = chunk_of(body) + last_chunk(request.body.trailers)
    connection.transport.writelines((exchange.head, b"\r\n", body))
    return await connection.response(bodiless=request.method == "HEAD")


async def _send_streamed(pool: UpstreamPool, connection: UpstreamConnection, exchange: Exchange) -> Message:
    """Send a body that is too large to keep, after S3 asked for it.

    If S3 refuses on the head alone, the body is still with the client, and the request can be retried.
    """
    request, chunk = exchange.request, b""
    connection.transport.writelines((exchange.head, b"Expect: 100-continue\r\n\r\n"))
    answer = asyncio.ensure_future(connection.response(bodiless=request.method == "HEAD"))
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # maybe nobody waits for it any more
    try:
        waiting: set[asyncio.Future[Any]] = {answer, connection.continued}
        await asyncio.wait(waiting, timeout=pool.continue_seconds, return_when=asyncio.FIRST_COMPLETED)
        is_wanted = not answer.done()
        if is_wanted:
            pool.continue_seconds = CONTINUE_SECONDS if connection.continued.done() else UNASKED_SECONDS
            exchange.sent = True
            if request.expects_continue and not request.chunked:
                exchange.client.send_continue()
            chunk = exchange.body or await request.body.next()
            while chunk and not (answer.done() or connection.transport.is_closing()):
                connection.transport.write(chunk_of(chunk) if request.chunked else chunk)
                await connection.drained()
                chunk = await request.body.next()
            if request.chunked and not (chunk or connection.transport.is_closing()):
                connection.transport.write(last_chunk(request.body.trailers))
        async with asyncio.timeout(RESPONSE_SECONDS):
            response = await answer
        if chunk or not is_wanted:  # S3 may still expect the rest of the body
            connection.reusable = False
        return response
    finally:
        answer.cancel()
