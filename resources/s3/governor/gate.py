"""Waiting for one's turn: the request scheduler on the event loop's clock."""

import asyncio
import time

from resources.s3.governor.rate_control import Verb
from resources.s3.governor.request_scheduler import Outcome, RequestScheduler, Ticket

_TICK = 0.001
"""The event loop's resolution: a shorter timer would fire at once and find nothing to do, over and over."""


class Gate:
    """Lets requests through at the scheduler's pace. One timer, set only while somebody waits."""

    def __init__(self, scheduler: RequestScheduler) -> None:
        self.scheduler = scheduler
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    async def enter(self, path: tuple[str, ...], verb: Verb, cost: int, deadline: float, *, retry: bool) -> Ticket:
        """Wait for a slot. ``deadline`` is on time.monotonic's clock. Raises TimeoutError, the ticket withdrawn.

        Every ticket that is returned has to be settled.
        """
        now = time.monotonic()
        ticket = self.scheduler.submit(now, path, verb, cost, retry)
        if ticket.released:
            return ticket
        loop = asyncio.get_running_loop()
        turn = ticket.payload = loop.create_future()
        late = loop.call_later(max(0.0, deadline - now), _expire, turn)
        self._set_timer()
        try:
            await turn
        except BaseException:
            self.settle(ticket, Outcome.WITHDRAWN)
            raise
        finally:
            late.cancel()
        return ticket

    def settle(self, ticket: Ticket, outcome: Outcome) -> None:
        """Tell the scheduler how it went, which may free a slot for somebody else."""
        self.scheduler.settle(time.monotonic(), ticket, outcome)
        self._set_timer()

    def _set_timer(self) -> None:
        now = time.monotonic()
        due = self.scheduler.next_release(now)
        if due is None:
            return  # a timer that is set finds nothing to do
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.get_running_loop().call_later(max(_TICK, due - now), self._open)

    def _open(self) -> None:
        self._timer = None
        for ticket in self.scheduler.release(time.monotonic()):
            turn = ticket.payload
            if isinstance(turn, asyncio.Future) and not turn.done():
                turn.set_result(None)
        self._set_timer()


def _expire(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_exception(TimeoutError())
