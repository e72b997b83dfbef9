"""Run the request scheduler on the event loop: requests wait here for their slots."""

import asyncio
import time

from resources.s3.governor.prefix_tree import Ticket
from resources.s3.governor.rate_control import Verb
from resources.s3.governor.request_scheduler import Outcome, RequestScheduler

_TICK = 0.001
"""The event loop's resolution: a shorter timer would fire too early and busy-loop."""


class Gate:
    """Releases requests at the scheduler's pace. Has one timer, set only while requests wait."""

    def __init__(self, scheduler: RequestScheduler) -> None:
        self.scheduler = scheduler
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    async def enter(self, path: tuple[str, ...], verb: Verb, cost: int, deadline: float, *, retry: bool) -> Ticket:
        """Wait for a slot until ``deadline``, on time.monotonic's clock. Raises TimeoutError.

        The caller must report the outcome of the ticket that is returned.
        """
        now = time.monotonic()
        ticket = self.scheduler.submit(now, path, verb, cost, retry)
        if ticket.released:
            return ticket
        turn = ticket.payload = asyncio.get_running_loop().create_future()
        self._set_timer()
        try:
            async with asyncio.timeout(max(0.0, deadline - now)):
                await turn
        except BaseException:
            self.report(ticket, Outcome.WITHDRAWN)
            raise
        return ticket

    def report(self, ticket: Ticket, outcome: Outcome) -> None:
        """Report a ticket's outcome, which may free a slot for another request."""
        self.scheduler.report(time.monotonic(), ticket, outcome)
        self._set_timer()

    def _set_timer(self) -> None:
        now = time.monotonic()
        due = self.scheduler.next_release(now)
        if due is None:
            return  # an earlier timer will find nothing to do
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = asyncio.get_running_loop().call_later(max(_TICK, due - now), self._release)

    def _release(self) -> None:
        self._timer = None
        for ticket in self.scheduler.release(time.monotonic()):
            turn = ticket.payload
            if isinstance(turn, asyncio.Future) and not turn.done():
                turn.set_result(None)
        self._set_timer()
