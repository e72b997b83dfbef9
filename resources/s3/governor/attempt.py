"""One attempt at a request: sent over one connection, its answer taken in or made ready to stream."""

import asyncio
from dataclasses import dataclass

from resources.s3.governor import answers
from resources.s3.governor.answers import Judgement, Verdict
from resources.s3.governor.body import ConnectionLostError, RequestBrokenError
from resources.s3.governor.client import ClientConnection, ClientRequest
from resources.s3.governor.doubts import Write
from resources.s3.governor.s3_request import Replay, S3Request
from resources.s3.governor.settings import MIB
from resources.s3.governor.upstream import (
    BODILESS,
    CONTINUE_SECONDS,
    UNASKED_SECONDS,
    Answer,
    UpstreamConnection,
    UpstreamNotTrustedError,
    UpstreamPool,
    UpstreamUnreachableError,
)

ANSWER_SECONDS = 300.0
"""How long S3 may take to answer once it has all of a large body."""
_KEPT_BYTES = MIB
"""An answer of up to this size is taken in before the client sees any of it, so that a lost one can be had again."""
_LAST_CHUNK = b"0\r\n%b\r\n"


@dataclass
class Received:
    """What became of an attempt. ``content`` is what was taken in of the answer; more may still be on its way."""

    request: ClientRequest
    client: ClientConnection
    judgement: Judgement
    reached: bool = True
    may_have_applied: bool = False
    repeatable: bool = True
    answer: Answer | None = None
    content: bytes = b""
    connection: UpstreamConnection | None = None
    pool: UpstreamPool | None = None

    async def pass_on(self) -> bool:
        """Give the client S3's answer. True when the client's connection can be used again."""
        answer = self.answer
        assert answer is not None  # noqa: S101  # DONE is said of answers only
        if self.connection is not None:
            return await self._stream(answer, self.connection)
        bodiless = self.request.method == "HEAD" or answer.status in BODILESS
        length = answer.length if bodiless else len(self.content)
        if length is not None:
            answer.lines.append(b"Content-Length: %d\r\n" % length)
        self.client.send_lines(answer.status, answer.lines, self.content)
        return True

    async def _stream(self, answer: Answer, connection: UpstreamConnection) -> bool:
        assert self.pool is not None  # noqa: S101  # it comes with the connection
        chunked = answer.length is None and not self.request.http10  # which ends an answer by closing
        framing = b"Transfer-Encoding: chunked\r\n" if chunked else b""
        if answer.length is not None:
            framing = b"Content-Length: %d\r\n" % answer.length
        self.client.send_lines(answer.status, [*answer.lines, framing])
        write, chunk = self.client.transport.write, self.content
        try:
            while True:
                if chunk:
                    write(_framed(chunk) if chunked else chunk)
                    await self.client.drained()
                chunk = await answer.body.next()
                if not chunk:
                    break
            if chunked:
                write(_LAST_CHUNK % b"")
            self.pool.release(connection)
        except ConnectionLostError:
            # Part of the answer is with the client already, so only it can ask again: it has to see a reset.
            connection.abort()
            self.client.abort()
            return False
        except BaseException:
            connection.abort()
            raise
        return True

    def replace(self, status: int, code: str, message: str) -> bool:
        """Give the client an error of ours in S3's form."""
        self._drop()
        request_id = self.judgement.request_id
        body = answers.error_document(code, message, request_id) if self.request.method != "HEAD" else b""
        self.client.send_head(status, answers.error_headers(code, message, body, request_id), body)
        return True

    def replace_by_success(self, write: Write) -> bool:
        """Give the client the success whose answer was lost."""
        self._drop()
        if write.request.replay is Replay.COMPLETION:
            headers, body = answers.completed(write.request, write.etag, self.judgement.request_id)
        else:
            headers, body = answers.succeeded(write.etag, self.judgement.request_id)
        self.client.send_head(200, headers, body)
        return True

    def _drop(self) -> None:
        if self.connection is not None:
            self.connection.abort()
            self.connection = None


class Attempt:
    """One try over one connection. ``sent`` is whether S3 may have seen the whole request."""

    def __init__(self, pool: UpstreamPool, request: ClientRequest, client: ClientConnection, s3: S3Request) -> None:
        self._pool = pool
        self._request = request
        self._client = client
        self._s3 = s3
        self.sent = False
        self._consumed = False

    async def make(self, head: bytes, body: bytes, seconds: float, *, streaming: bool) -> Received:
        """Send the request and take in its answer, or as much as shows what it is, within ``seconds``."""
        try:
            connection = await self._pool.acquire()
        except UpstreamNotTrustedError as error:
            judgement = Judgement(Verdict.TRANSIENT, 400, "UpstreamNotTrusted", str(error))
            return Received(self._request, self._client, judgement, reached=False, repeatable=False)
        except UpstreamUnreachableError as error:
            unreached = self._lost(str(error), may_have_applied=False)
            unreached.reached = False
            return unreached
        try:
            connection.begin(bodiless=self._request.method == "HEAD")
            if streaming:
                answer = await self._send_streaming(connection, head, body)
                content = await self._content(answer)
            else:
                async with asyncio.timeout(seconds):
                    self.sent = True
                    if self._request.chunked:
                        body = (_framed(body) if body else b"") + _LAST_CHUNK % self._request.body.trailers
                    connection.send((head, b"\r\n", body) if body else (head, b"\r\n"))
                    answer = await connection.answer()
                    content = await self._content(answer)
        except RequestBrokenError:
            connection.abort()
            raise
        except ConnectionLostError as error:
            connection.abort()
            return self._lost(str(error), may_have_applied=self.sent)
        except TimeoutError:
            connection.abort()
            seconds = ANSWER_SECONDS if streaming else seconds
            return self._lost(f"no answer within {seconds:.1f} s", may_have_applied=self.sent)
        except BaseException:
            connection.abort()
            raise
        return self._received(connection, answer, content)

    async def _send_streaming(self, connection: UpstreamConnection, head: bytes, begun: bytes) -> Answer:
        """Send a body that is too large to keep, once S3 has said that it wants it: until then nothing is lost.

        So a refusal, which S3 gives on the head alone, can be repeated here.
        """
        connection.send((head, b"Expect: 100-continue\r\n\r\n"))
        if not await connection.goes_on(self._pool.continue_seconds):
            connection.reusable = False  # S3 may still expect the body
            return await connection.answer()
        self._pool.continue_seconds = CONTINUE_SECONDS if connection.asked_for_body else UNASKED_SECONDS
        self.sent = True
        if self._request.expects_continue and not self._request.chunked:
            self._client.send_continue()
        chunked, chunk = self._request.chunked, begun
        while not connection.answered:
            if chunk:
                connection.send((_framed(chunk),) if chunked else (chunk,))
                await connection.drained()
            chunk = await self._request.body.next()
            self._consumed |= bool(chunk)
            if not chunk:
                if chunked:
                    connection.send((_LAST_CHUNK % self._request.body.trailers,))
                break
        else:
            connection.reusable = False
        async with asyncio.timeout(ANSWER_SECONDS):
            return await connection.answer()

    async def _content(self, answer: Answer) -> bytes:
        """The answer's body where it is small or has to be read to know what the answer says; else nothing yet."""
        if answer.length is not None and answer.length > _KEPT_BYTES and answer.status < 300:
            return b""
        return await answer.body.up_to(_KEPT_BYTES)

    def _received(self, connection: UpstreamConnection, answer: Answer, content: bytes) -> Received:
        whole = answer.body.whole and not (answer.length and not content and self._request.method != "HEAD")
        judgement = answers.judge(
            answer.status, content, answer.header(b"x-amz-request-id"), error_in_body=self._s3.error_in_body
        )
        if whole:
            self._pool.release(connection)
        elif judgement.verdict is not Verdict.DONE:
            connection.abort()
        return Received(
            self._request,
            self._client,
            judgement,
            may_have_applied=judgement.verdict is Verdict.TRANSIENT,
            repeatable=not self._consumed,
            answer=answer,
            content=content,
            connection=None if whole else connection,
            pool=self._pool,
        )

    def _lost(self, why: str, *, may_have_applied: bool) -> Received:
        judgement = Judgement(Verdict.TRANSIENT, 0, why)
        received = Received(self._request, self._client, judgement)
        received.may_have_applied = may_have_applied
        received.repeatable = not self._consumed
        return received


def _framed(chunk: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(chunk), chunk)
