"""Flow control that client and upstream connections share: write no faster than the peer reads."""

import asyncio
from typing import cast

WRITE_HIGH_BYTES = 256 << 10


class Connection(asyncio.Protocol):
    """One TCP or TLS connection. ``lost`` is set when either side has closed it."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.lost = False
        self._may_write: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and bound its write buffer."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(WRITE_HIGH_BYTES)

    def connection_lost(self, error: Exception | None) -> None:
        """Wake the writer, which then checks ``lost``."""
        self.lost = True
        self.resume_writing()

    def pause_writing(self) -> None:
        """Make writers wait while the peer reads too slowly."""
        if self._may_write is None:
            self._may_write = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let writers continue."""
        if self._may_write is not None and not self._may_write.done():
            self._may_write.set_result(None)
        self._may_write = None

    async def drained(self) -> None:
        """Wait until the write buffer has room."""
        if self._may_write is not None:
            await self._may_write

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()
