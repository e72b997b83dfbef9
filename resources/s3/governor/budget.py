"""Memory limit for request bodies that are kept for a retry."""

import asyncio

BUDGET_BYTES = 48 << 20
SMALL_BYTES = 64 << 10
"""Bodies up to this size are not counted: a thousand of them fill the budget."""


class Budget:
    """At most ``limit`` bytes at a time for all requests together; requests wait in order of arrival."""

    def __init__(self, limit: int = BUDGET_BYTES) -> None:
        self._limit = self._free = limit
        self._turn = asyncio.Lock()
        self._given = asyncio.Event()

    async def take(self, size: int) -> None:
        """Wait until ``size`` bytes (at most the whole limit) are free, and reserve them until `give`."""
        size = min(size, self._limit)
        async with self._turn:
            while size > self._free:
                self._given.clear()
                await self._given.wait()
            self._free -= size

    def give(self, size: int) -> None:
        """Release a reservation."""
        self._free += min(size, self._limit)
        self._given.set()
