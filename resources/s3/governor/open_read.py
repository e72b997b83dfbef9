"""Reading an object as anybody may, without credentials: what is under a key where no witness can say."""

import asyncio
import hashlib
import time

from resources.s3.governor import answers
from resources.s3.governor.answers import Verdict
from resources.s3.governor.doubts import Found
from resources.s3.governor.gate import Gate
from resources.s3.governor.rate_control import Verb
from resources.s3.governor.request_scheduler import Outcome
from resources.s3.governor.s3_request import S3Request
from resources.s3.governor.upstream import UpstreamPool

_PAUSE_SECONDS = 0.05


class OpenReader:
    """Reads objects of up to ``most_bytes`` in whole; of larger ones it tells the entity tag alone."""

    def __init__(self, gate: Gate, pool: UpstreamPool, seconds: float, most_bytes: int) -> None:
        self._gate = gate
        self._pool = pool
        self._seconds = seconds
        self._most_bytes = most_bytes

    async def read(self, asked: S3Request) -> Found | None:
        """What anybody may read under a key; None where that takes credentials, or S3 does not tell in time."""
        deadline = time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            try:
                ticket = await self._gate.enter(asked.path, Verb.READ, 1, deadline, retry=True)
            except TimeoutError:
                return None
            outcome = Outcome.FAILED
            try:
                outcome, found = await self._try(asked, deadline)
            finally:
                self._gate.settle(ticket, outcome)
            if outcome is Outcome.ACCEPTED:
                return found
            await asyncio.sleep(_PAUSE_SECONDS)
        return None

    async def _try(self, asked: S3Request, deadline: float) -> tuple[Outcome, Found | None]:
        connection = None
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                connection = await self._pool.acquire()
                connection.begin(bodiless=False)
                connection.send((b"GET %b HTTP/1.1\r\n" % asked.raw_path, b"Host: %b\r\n\r\n" % asked.host.encode()))
                answer = await connection.answer()
                content = await answer.body.up_to(self._most_bytes)
        except (ConnectionError, TimeoutError):
            return Outcome.FAILED, None
        finally:
            if connection is not None:
                connection.abort()
        verdict = answers.judge(answer.status, content, "", error_in_body=False).verdict
        if verdict is not Verdict.DONE:
            return Outcome.THROTTLED if verdict is Verdict.THROTTLED else Outcome.FAILED, None
        if answer.status == 404:
            return Outcome.ACCEPTED, Found("")
        if answer.status != 200:
            return Outcome.ACCEPTED, None
        digest = hashlib.sha256(content).hexdigest() if answer.body.whole else ""
        return Outcome.ACCEPTED, Found(answer.header(b"etag"), digest)
