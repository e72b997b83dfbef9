"""One client request in progress: its body, its deadline, and its counts."""

import time
from dataclasses import dataclass, field

from resources.s3.governor.client import ClientConnection
from resources.s3.governor.message import Message
from resources.s3.governor.metrics import PrefixCounts
from resources.s3.governor.request_scheduler import Outcome
from resources.s3.governor.responses import Judgement
from resources.s3.governor.s3_request import Replay, S3Request
from resources.s3.governor.uncertain_writes import Write

_UNREACHED_SECONDS = 10.0


@dataclass
class Exchange:
    """A client request in progress. Times are on time.monotonic's clock.

    ``body`` is the kept part of the request body; ``sent`` is whether S3 may have received the whole last attempt.
    """

    request: Message
    client: ClientConnection
    s3: S3Request
    counts: list[PrefixCounts]
    target: bytes
    path: tuple[str, ...]
    writer: str = ""
    deadline: float = 0.0
    body: bytes = b""
    streaming: bool = False
    cost: int = 1
    kept: int = 0
    attempts: int = 0
    waited: float = 0.0
    started: float = field(default_factory=time.monotonic)
    uncertain: bool = False
    reached: bool = False
    sent: bool = False
    last: Judgement | None = None

    @property
    def head(self) -> bytes:
        """The request head without its final empty line. Headers may be signed, so they are sent unchanged."""
        return b"".join((self.request.method.encode(), b" ", self.target, b" HTTP/1.1\r\n", *self.request.lines))

    @property
    def write(self) -> Write | None:
        """The write to verify if its response is lost; None if the request can simply be retried."""
        if self.s3.replay is Replay.IDEMPOTENT or self.streaming:
            return None
        return Write(self.s3, self.body, self.writer)

    @property
    def has_body(self) -> bool:
        """Whether the body can be sent once more: nothing was read from the client but what is kept."""
        return self.request.body.taken == len(self.body)

    @property
    def end(self) -> float:
        """When to give up; sooner if S3 was never reached, because its address may be wrong."""
        return self.deadline if self.reached else min(self.deadline, self.started + _UNREACHED_SECONDS)

    def count(self, **numbers: float) -> None:
        """Add to the counts of the request's prefix."""
        for counts in self.counts:
            counts.totals.update(numbers)

    def note(self, judgement: Judgement, *, reached: bool) -> None:
        """Count an attempt."""
        self.reached |= reached
        self.last = judgement
        outcome = judgement.outcome
        self.count(attempts=1, throttled=outcome is Outcome.THROTTLED, failed=outcome is Outcome.FAILED)

    def close(self, bytes_down: int) -> None:
        """Count the request."""
        self.count(requests=1, waited_seconds=self.waited, bytes_up=self.request.body.taken, bytes_down=bytes_down)
        seconds = time.monotonic() - self.started
        for counts in self.counts:
            counts.operations[self.s3.operation] += 1
            if seconds > counts.slowest_seconds:
                request_id = self.last.request_id if self.last else ""
                counts.slowest_seconds = seconds
                counts.slowest = f"{self.s3.operation} {self.s3.key} {request_id}".strip()

    def story(self, depth: int, rate: float) -> str:
        """Return one sentence with everything that is needed to find out why a request failed."""
        s3, last = self.s3, self.last
        prefix = "/".join(self.path[1 : 1 + depth])
        ending = "no slot was free before the deadline"
        if last is not None:
            ending = f"the last ended with {last.code}" + (f", request id {last.request_id}" if last.request_id else "")
        return (
            f"Cippus' request governor tried {s3.operation} s3://{s3.bucket}/{s3.key} {self.attempts} times in "
            f"{time.monotonic() - self.started:.1f} s, {self.waited:.1f} s of which it waited for its turn: "
            f"prefix {prefix or '(bucket)'} is held to {rate:.1f} {s3.verb}s/s; {ending}."
        )
