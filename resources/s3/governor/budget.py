"""Memory for bodies that are kept for another try: so much for all requests together, and no more."""

import asyncio
from collections import deque

BUDGET_BYTES = 48 << 20
SMALL_BYTES = 64 << 10
"""Bodies up to this size are not counted: a thousand of them are what the budget is."""


class Budget:
    """Bytes that may be held at a time. Whoever comes when they are all taken waits, first come, first served."""

    def __init__(self, limit: int = BUDGET_BYTES) -> None:
        self._limit = limit
        self._held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, size: int) -> None:
        """Wait until ``size`` bytes may be held, at most the whole limit; each take is given back."""
        size = min(size, self._limit)
        if not self._waiting and self._held + size <= self._limit:
            self._held += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(size)  # it was granted just before
            else:
                self._grant()
            raise

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self._held -= min(size, self._limit)
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if turn.done():  # its request ended meanwhile
                self._waiting.popleft()
                continue
            if self._held + size > self._limit:
                return
            self._waiting.popleft()
            self._held += size
            turn.set_result(None)
