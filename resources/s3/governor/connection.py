"""What a client's and an upstream's connection have in common: writing no faster than the other side reads."""

import asyncio
from typing import cast

WRITE_HIGH_BYTES = 256 << 10


class Connection(asyncio.Protocol):
    """One TCP or TLS connection. ``lost`` is set once it has ended, whichever side ended it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.lost = False
        self._may_write: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(WRITE_HIGH_BYTES)

    def connection_lost(self, error: Exception | None) -> None:
        """Wake a writer, which then finds ``lost``."""
        self.lost = True
        self.resume_writing()

    def pause_writing(self) -> None:
        """Hold writers back: the other side reads too slowly."""
        if self._may_write is None:
            self._may_write = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let writers go on."""
        if self._may_write is not None:
            if not self._may_write.done():
                self._may_write.set_result(None)
            self._may_write = None

    async def drained(self) -> None:
        """Wait until more may be written."""
        if self._may_write is not None:
            await self._may_write

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abort()
