"""One client request from its first slot to its response: attempts, retries, and giving up."""

import asyncio
import hashlib
import random
import time

from resources.s3.governor.attempt import RESPONSE_SECONDS, Result, attempt
from resources.s3.governor.budget import SMALL_BYTES, Budget
from resources.s3.governor.client import ClientConnection
from resources.s3.governor.exchange import Exchange
from resources.s3.governor.gate import Gate
from resources.s3.governor.message import Body, Message
from resources.s3.governor.metrics import RequestMetrics
from resources.s3.governor.rate_control import Verb
from resources.s3.governor.request_scheduler import Outcome
from resources.s3.governor.responses import WRITE_IN_DOUBT, Judgement
from resources.s3.governor.s3_request import Replay, S3Request, deleted_keys
from resources.s3.governor.settings import MIB, GovernorSettings
from resources.s3.governor.stream import RequestBrokenError
from resources.s3.governor.uncertain_writes import ObjectState, UncertainWrites
from resources.s3.governor.upstream import UpstreamPool

_KEPT_BYTES = MIB
"""Request bodies up to this size are kept in memory for a retry."""
_MULTI_DELETE_BYTES = 4 * MIB
"""1,000 keys of maximum length, with their tags."""
_CONDITIONAL_BYTES = 16 * MIB
"""A conditional put of this size (a Delta commit of 500,000 files) is kept, so that it can be verified."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.025, 1.0
_READ_PAUSE = 0.05
_SHORTEST_ATTEMPT = 1.0
_SHARE_OF_DEADLINE = 0.6
"""The share of the deadline that one attempt may take where a second attempt does no harm."""
_LEAST_SHARE = 0.5
"""The share of the deadline that a write gets however long it waited for a slot."""
_INVOCATION = b"amz-sdk-invocation-id"
"""The same in all attempts of one call of an AWS SDK."""


class Forwarder:
    """Forwards requests to one upstream under the gate's limits."""

    def __init__(
        self,
        settings: GovernorSettings,
        gate: Gate,
        pool: UpstreamPool,
        metrics: RequestMetrics,
        writes: UncertainWrites,
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._pool = pool
        self._metrics = metrics
        self._writes = writes
        self._budget = Budget()

    async def forward(
        self, request: Message, client: ClientConnection, s3: S3Request, target: bytes, scope: str
    ) -> bool:
        """Answer a request. Return whether the client's connection can be kept."""
        writer = request.fields.get(_INVOCATION, b"").decode("latin-1") or scope
        exchange = Exchange(request, client, s3, self._metrics.counts(s3, scope), target, s3.path, writer)
        try:
            await self._read_body(exchange)
            exchange.deadline = time.monotonic() + self._settings.deadline  # a slow upload does not shorten it
            exchange.uncertain = self._writes.is_uncertain(exchange.write)
            return await self._attempts(exchange)
        finally:
            self._budget.give(exchange.kept)

    async def _read_body(self, exchange: Exchange) -> None:
        """Read a body that can be kept for a retry; leave a larger one with the client until S3 asks for it."""
        request, is_delete = exchange.request, exchange.s3.operation == "DeleteObjects"
        limit = _KEPT_BYTES
        if is_delete:
            limit = _MULTI_DELETE_BYTES
        elif exchange.s3.replay is Replay.CONDITIONAL:
            limit = _CONDITIONAL_BYTES
        if request.length is not None and request.length > limit:
            exchange.streaming = True
            return
        if request.length or request.chunked:
            size = limit if request.length is None else request.length
            if size > SMALL_BYTES:
                await self._budget.take(size)
                exchange.kept = size
            if request.expects_continue:
                exchange.client.send_continue()
            exchange.body = await request.body.up_to(limit)
            exchange.streaming = not request.body.whole
        if is_delete:
            exchange.cost, shared = deleted_keys(exchange.body)
            exchange.path = (exchange.s3.bucket, *shared)

    async def _attempts(self, exchange: Exchange) -> bool:
        pause, result = _FIRST_PAUSE, None
        try:
            while True:
                try:
                    result = await self._attempt(exchange)
                except TimeoutError:  # no slot before the deadline
                    return self._give_up(exchange)
                if result.judgement.outcome is Outcome.ACCEPTED:
                    return await self._finish(exchange, result)
                exchange.uncertain |= result.may_have_applied
                if exchange.uncertain:
                    self._writes.remember(exchange.write)
                if not result.repeatable or time.monotonic() >= exchange.end:
                    return self._give_up(exchange)
                if result.judgement.outcome is Outcome.FAILED:
                    left = exchange.deadline - time.monotonic()
                    await asyncio.sleep(min(left, pause * random.uniform(0.5, 1.0)))  # noqa: S311  # jitter
                    pause = min(2 * pause, _LONGEST_PAUSE)
        finally:
            exchange.close(result.response.body.taken if result and result.response else 0)

    async def _attempt(self, exchange: Exchange) -> Result:
        """Make one attempt. Raises TimeoutError if no slot is free before the deadline."""
        asked, verb, retry = time.monotonic(), exchange.s3.verb, exchange.attempts > 0
        try:
            ticket = await self._gate.enter(exchange.path, verb, exchange.cost, exchange.deadline, retry=retry)
        finally:
            exchange.waited += time.monotonic() - asked
        exchange.attempts += 1
        outcome = Outcome.WITHDRAWN
        try:
            result = await attempt(self._pool, exchange, self._attempt_seconds(exchange))
            outcome = result.judgement.outcome
        except (asyncio.CancelledError, RequestBrokenError):  # the client is gone
            if exchange.sent:
                outcome = Outcome.FAILED
                if _INVOCATION in exchange.request.fields:  # otherwise its retry looks like another client's write
                    self._writes.remember(exchange.write)
            raise
        finally:
            self._gate.report(ticket, outcome)
        return result

    def _attempt_seconds(self, exchange: Exchange) -> float:
        """Return how long to wait for the response of an attempt.

        A read or a conditional put that hangs is retried in time. An unconditional write is not sent twice at once, so
        it may take what is left of the deadline. A copy or completion may take S3 minutes.
        """
        if exchange.s3.error_in_body:
            return RESPONSE_SECONDS
        left = exchange.deadline - time.monotonic()
        if exchange.s3.verb is Verb.WRITE and exchange.s3.replay is Replay.IDEMPOTENT:
            return max(left, _LEAST_SHARE * self._settings.deadline)
        return min(max(left, _SHORTEST_ATTEMPT), _SHARE_OF_DEADLINE * self._settings.deadline)

    async def _finish(self, exchange: Exchange, result: Result) -> bool:
        """Answer with S3's final response, or verify the write if an earlier attempt may have caused a refusal."""
        write, status, s3 = exchange.write, result.judgement.status, exchange.s3
        if status < 400:
            self._writes.confirm(write)
            if s3.replay is Replay.IDEMPOTENT and s3.verb is Verb.WRITE:
                self._writes.overwritten(s3)
            return await result.pass_on(self._pool)
        if not exchange.uncertain or write is None or not write.refused_as_if_applied(status):
            return await result.pass_on(self._pool)
        found = await self._writes.ask_verifier(s3) or await self._read_anonymously(exchange)
        applied = None if found is None else self._writes.is_applied(write, found)
        if applied is None:
            exchange.count(in_doubt=1)
            message = (
                f"{self._story(exchange)} The response to an earlier attempt was lost, and the object that exists now "
                "may be yours or another writer's: read it to find out."
            )
            return result.replace_by_error(400, WRITE_IN_DOUBT, message)
        if not applied:
            self._writes.forget(write)
            return await result.pass_on(self._pool)
        self._writes.confirm(write)
        return result.replace_by_success(write)

    async def _read_anonymously(self, exchange: Exchange) -> ObjectState | None:
        """Return what is stored under the key; None if reading takes credentials, or S3 does not answer in time."""
        s3 = S3Request("GetObject", exchange.s3.bucket, exchange.s3.key, Verb.READ, folders=exchange.s3.folders)
        host = b"Host: %b\r\n" % exchange.request.fields[b"host"]
        request = Message(Body(exchange.client, 0), "GET", lines=[host])
        deadline = time.monotonic() + self._settings.deadline
        target = exchange.target.partition(b"?")[0]
        read = Exchange(request, exchange.client, s3, [], target, s3.path, deadline=deadline)
        while time.monotonic() < deadline:
            try:
                result = await self._attempt(read)
            except TimeoutError:
                return None
            if result.judgement.outcome is Outcome.ACCEPTED and result.response is not None:
                result.drop()
                if result.response.status == 404:
                    return ObjectState("")
                digest = hashlib.sha256(result.content).hexdigest() if result.response.body.whole else ""
                is_read = result.response.status == 200
                return ObjectState(result.response.header(b"etag"), digest) if is_read else None
            await asyncio.sleep(_READ_PAUSE)
        return None

    def _give_up(self, exchange: Exchange) -> bool:
        exchange.count(given_up=1)
        last = exchange.last or Judgement(Outcome.THROTTLED, 503, "SlowDown", "Please reduce your request rate.")
        story = self._story(exchange)
        result = Result(exchange, last)
        if exchange.uncertain and exchange.streaming and exchange.s3.replay is not Replay.IDEMPOTENT:
            exchange.count(in_doubt=1)
            message = f"{story} It may have been applied, and was too large to be kept: read the object to find out."
            return result.replace_by_error(400, WRITE_IN_DOUBT, message)
        code = last.code if last.status else "InternalError"
        return result.replace_by_error(last.status or 500, code, f"{last.message} {story}".strip())

    def _story(self, exchange: Exchange) -> str:
        return exchange.story(self._settings.depth, self._gate.scheduler.rate(exchange.path, exchange.s3.verb))
