"""One request, from its first slot to the answer that the client gets: attempts, repetition, giving up."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from resources.s3.governor import answers
from resources.s3.governor.answers import Judgement, Verdict
from resources.s3.governor.attempt import ANSWER_SECONDS, Attempt, Received
from resources.s3.governor.body import RequestBrokenError
from resources.s3.governor.budget import SMALL_BYTES, Budget
from resources.s3.governor.client import ClientConnection, ClientRequest
from resources.s3.governor.doubts import Doubts, Write
from resources.s3.governor.gate import Gate
from resources.s3.governor.rate_control import Verb
from resources.s3.governor.request_scheduler import Outcome
from resources.s3.governor.s3_request import Replay, S3Request, deleted_keys
from resources.s3.governor.settings import MIB, GovernorSettings
from resources.s3.governor.tally import Count, Tally
from resources.s3.governor.upstream import UpstreamPool

_MULTI_DELETE_BYTES = 4 * MIB
"""1,000 keys of the greatest length, with their tags."""
_CONDITIONAL_BYTES = 16 * MIB
"""A conditional put is kept up to here (a Delta commit of 500,000 files): one that was not kept cannot be resolved."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.025, 1.0
_UNREACHED_SECONDS = 10.0
_SHORTEST_ATTEMPT = 1.0
_SHARE_OF_DEADLINE = 0.6
"""What one try may take of a request's deadline before it is taken for lost, where another does no harm."""
_LEAST_SHARE = 0.5
"""What a write is given of it however late its turn came."""
_INVOCATION = b"amz-sdk-invocation-id"
"""The same in every try of one call of an AWS SDK."""


@dataclass
class Exchange:
    """A client's request under way. Times are on time.monotonic's clock."""

    request: ClientRequest
    client: ClientConnection
    s3: S3Request
    counts: tuple[Count, ...]
    head: bytes
    deadline: float = 0.0
    body: bytes = b""
    streaming: bool = False
    cost: int = 1
    path: tuple[str, ...] = ()
    attempts: int = 0
    waited: float = 0.0
    started: float = field(default_factory=time.monotonic)
    in_doubt: bool = False
    reached: bool = False
    last: Judgement | None = None
    received: Received | None = None
    writer: str = ""
    kept: int = 0

    def note(self, received: Received) -> None:
        """Count an attempt's outcome."""
        self.received = received
        self.reached |= received.reached
        self.last = judgement = received.judgement
        for count in self.counts:
            count.attempts += 1
            count.throttled += judgement.verdict is Verdict.THROTTLED
            count.failed += judgement.verdict is Verdict.TRANSIENT

    def close(self) -> None:
        """Count the request, whatever became of it."""
        seconds = time.monotonic() - self.started
        answer = self.received.answer if self.received else None
        for count in self.counts:
            count.requests += 1
            count.operations[self.s3.operation] += 1
            count.waited_seconds += self.waited
            count.bytes_up += self.request.body.taken
            count.bytes_down += answer.body.taken if answer else 0
            if seconds > count.slowest_seconds:
                count.slowest_seconds = seconds
                request_id = self.last.request_id if self.last else ""
                count.slowest = f"{self.s3.operation} {self.s3.key} {request_id}".strip()


class Forwarder:
    """Forwards requests to one upstream under the gate's limits."""

    def __init__(
        self, settings: GovernorSettings, gate: Gate, pool: UpstreamPool, tally: Tally, doubts: Doubts
    ) -> None:
        self._settings = settings
        self._gate = gate
        self._pool = pool
        self._tally = tally
        self._doubts = doubts
        self._budget = Budget()

    async def forward(
        self, request: ClientRequest, client: ClientConnection, s3: S3Request, target: bytes, scope: str
    ) -> bool:
        """Answer a request. True when the client's connection can be used again."""
        exchange = Exchange(
            request,
            client,
            s3,
            self._tally.counts(s3, scope),
            request_head(request, target),
            path=s3.path,
            writer=request.fields.get(_INVOCATION, b"").decode("latin-1") or scope,
        )
        try:
            await self._take_body(exchange)
            # From here on: a client that sends slowly loses nothing of it.
            exchange.deadline = time.monotonic() + self._settings.deadline
            exchange.in_doubt = self._doubts.remembers(self._write(exchange))
            try:
                return await self._attempts(exchange)
            finally:
                exchange.close()
        finally:
            if exchange.kept:
                self._budget.give(exchange.kept)

    async def _take_body(self, exchange: Exchange) -> None:
        """Take in a body that can be kept for another try; leave the others with the client until S3 wants them."""
        request = exchange.request
        keep = self._settings.replay_bytes
        if exchange.s3.operation == "DeleteObjects":
            keep = _MULTI_DELETE_BYTES
        elif exchange.s3.replay is Replay.CONDITIONAL:
            keep = _CONDITIONAL_BYTES
        if request.length is not None and request.length > keep:
            exchange.streaming = True
            return
        if request.length or request.chunked:
            size = request.length if request.length is not None else keep
            if size > SMALL_BYTES:
                await self._budget.take(size)
                exchange.kept = size
            if request.expects_continue:
                exchange.client.send_continue()
            exchange.body = await request.body.up_to(keep)
            exchange.streaming = not request.body.whole
        if exchange.s3.operation == "DeleteObjects":
            exchange.cost, shared = deleted_keys(exchange.body)
            exchange.path = (exchange.s3.bucket, *shared)

    async def _attempts(self, exchange: Exchange) -> bool:
        pause = _FIRST_PAUSE
        while True:
            received = await self._one_attempt(exchange)
            if received is None:  # no slot within the deadline
                return await self._give_up(exchange)
            if received.judgement.verdict is Verdict.DONE:
                if exchange.in_doubt and received.judgement.status >= 400:
                    return await self._settle_doubt(exchange, received)
                if received.judgement.status < 400:
                    self._note_success(exchange)
                return await received.pass_on()
            exchange.in_doubt |= received.may_have_applied
            if exchange.in_doubt:
                self._doubts.remember(self._write(exchange))
            if not received.repeatable or time.monotonic() >= self._end(exchange):
                return await self._give_up(exchange)
            if received.judgement.verdict is Verdict.TRANSIENT:
                left = exchange.deadline - time.monotonic()
                await asyncio.sleep(min(left, pause * random.uniform(0.5, 1.0)))  # noqa: S311  # spreads repetitions
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _note_success(self, exchange: Exchange) -> None:
        s3 = exchange.s3
        self._doubts.succeeded(self._write(exchange))
        if s3.replay is Replay.FREELY and s3.verb is Verb.WRITE and self._doubts.has_told:
            self._doubts.overwritten(s3)

    async def _one_attempt(self, exchange: Exchange) -> Received | None:
        asked = time.monotonic()
        try:
            ticket = await self._gate.enter(
                exchange.path, exchange.s3.verb, exchange.cost, exchange.deadline, retry=exchange.attempts > 0
            )
        except TimeoutError:
            exchange.waited += time.monotonic() - asked
            return None
        exchange.waited += time.monotonic() - asked
        exchange.attempts += 1
        attempt = Attempt(self._pool, exchange.request, exchange.client, exchange.s3)
        outcome = Outcome.WITHDRAWN
        try:
            received = await attempt.make(
                exchange.head, exchange.body, self._attempt_seconds(exchange), streaming=exchange.streaming
            )
            outcome = _OUTCOMES[received.judgement.verdict]
            exchange.note(received)
        except (asyncio.CancelledError, RequestBrokenError):  # the client is gone
            if attempt.sent:
                outcome = Outcome.FAILED
                if _INVOCATION in exchange.request.fields:  # else its own next try cannot be told from another's
                    self._doubts.remember(self._write(exchange))
            raise
        finally:
            self._gate.settle(ticket, outcome)
        return received

    def _end(self, exchange: Exchange) -> float:
        """Until when to go on; an S3 that was never reached is given up sooner, for its address may be wrong."""
        if exchange.reached:
            return exchange.deadline
        return min(exchange.deadline, exchange.started + _UNREACHED_SECONDS)

    def _attempt_seconds(self, exchange: Exchange) -> float:
        """How long an attempt may take before it is taken for lost.

        A read that hangs is asked again, and so is a conditional put, of which one at most takes effect. Another write
        that is under way is not written beside itself: it is waited for, and what copies or assembles objects, which
        may take minutes, for as long as the client waits.
        """
        if exchange.s3.error_in_body:
            return ANSWER_SECONDS
        left = exchange.deadline - time.monotonic()
        if exchange.s3.verb is Verb.WRITE and exchange.s3.replay is Replay.FREELY:
            return max(left, _LEAST_SHARE * self._settings.deadline)
        return min(max(left, _SHORTEST_ATTEMPT), _SHARE_OF_DEADLINE * self._settings.deadline)

    def _write(self, exchange: Exchange) -> Write | None:
        """What has to be resolved when its answer is lost, or None where another try is as good as the first."""
        if exchange.s3.replay is Replay.FREELY or exchange.streaming:
            return None
        return Write(exchange.s3, exchange.body, exchange.writer)

    async def _settle_doubt(self, exchange: Exchange, received: Received) -> bool:
        """A refusal after an attempt whose answer was lost: find out whether that attempt is why."""
        write = self._write(exchange)
        if write is None or not write.refused_as_if_applied(received.judgement.status):
            return await received.pass_on()
        applied = await self._doubts.was_applied(write)
        if applied is None:
            for count in exchange.counts:
                count.in_doubt += 1
            message = (
                f"{self._story(exchange)} The answer to an earlier attempt was lost, and now there is an object, which "
                "may be yours or another writer's: read it to know."
            )
            return received.replace(400, answers.WRITE_IN_DOUBT, message)
        if not applied:
            self._doubts.forget(write)
            return await received.pass_on()
        self._doubts.succeeded(write)
        return received.replace_by_success(write)

    async def _give_up(self, exchange: Exchange) -> bool:
        for count in exchange.counts:
            count.given_up += 1
        last = exchange.last or Judgement(Verdict.THROTTLED, 503, "SlowDown", "Please reduce your request rate.")
        story = self._story(exchange)
        received = Received(exchange.request, exchange.client, last)
        if exchange.in_doubt and exchange.streaming and exchange.s3.replay is not Replay.FREELY:
            for count in exchange.counts:
                count.in_doubt += 1
            message = f"{story} It may have been applied, and was too large to be kept: read the object to know."
            return received.replace(400, answers.WRITE_IN_DOUBT, message)
        message = f"{last.message} {story}".strip()
        return received.replace(last.status or 500, last.code if last.status else "InternalError", message)

    def _story(self, exchange: Exchange) -> str:
        """One sentence with everything that somebody needs who has to find out why."""
        s3, last = exchange.s3, exchange.last
        prefix = "/".join(exchange.path[1 : 1 + self._settings.depth])
        rate = self._gate.scheduler.rate(exchange.path, s3.verb)
        ending = "there was no slot for it"
        if last is not None:
            ending = f"the last ended with {last.code}" + (f", request id {last.request_id}" if last.request_id else "")
        return (
            f"Cippus' request governor tried {s3.operation} s3://{s3.bucket}/{s3.key} {exchange.attempts} times in "
            f"{time.monotonic() - exchange.started:.1f} s, {exchange.waited:.1f} s of which it waited for its turn: "
            f"prefix {prefix or '(bucket)'} is held to {rate:.1f} {s3.verb}s/s; {ending}."
        )


_OUTCOMES = {
    Verdict.DONE: Outcome.ACCEPTED,
    Verdict.THROTTLED: Outcome.THROTTLED,
    Verdict.TRANSIENT: Outcome.FAILED,
}


def request_head(request: ClientRequest, target: bytes) -> bytes:
    """The head for the upstream, with every header that may be signed as it came, up to the empty line."""
    return b"".join((request.method.encode(), b" ", target, b" HTTP/1.1\r\n", *request.lines))
