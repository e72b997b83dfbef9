"""One connection of the governor: read what arrives in bounded memory, write no faster than the peer reads."""

import asyncio
from typing import cast

from resources.errors import TransientFailure

HIGH_BYTES = 192 << 10
"""Less than one read of the event loop (256 KiB), so a connection that nobody reads from keeps a single chunk."""
WRITE_HIGH_BYTES = 256 << 10


class ConnectionLostError(TransientFailure, ConnectionError):
    """The peer closed the connection in the middle of a message, or sent malformed HTTP."""


class RequestBrokenError(ConnectionLostError):
    """The same for the client's connection; the error says nothing about S3."""


class Stream(asyncio.Protocol):
    """One TCP or TLS connection. ``lost`` is set when either side has closed it; ``unread`` are received bytes."""

    transport: asyncio.Transport
    peer = "the upstream"
    broken: type[ConnectionLostError] = ConnectionLostError

    def __init__(self) -> None:
        self.lost = False
        self.unread = b""
        self._error: Exception | None = None
        self._paused = False
        self._arrival: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and bound its write buffer."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(WRITE_HIGH_BYTES)

    def connection_lost(self, error: Exception | None) -> None:
        """Wake the reader and the writer."""
        self.lost, self._error = True, error
        _wake(self._arrival)
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Keep received bytes; pause the transport above HIGH_BYTES."""
        self.unread += data  # no copy if it was empty
        if len(self.unread) > HIGH_BYTES and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        _wake(self._arrival)

    async def read(self, most: int | None = None) -> bytes:
        """Return received bytes, at most ``most``; b"" at the end. Raises ConnectionLostError after a reset."""
        if not self.unread:
            await self._arrive()
        return self._take(len(self.unread) if most is None else most)

    async def until(self, end: bytes, most: int) -> bytes:
        """Return the bytes up to and with ``end``. Raises ConnectionLostError, ValueError after ``most`` without."""
        while (at := self.unread.find(end, 0, most)) < 0:
            if len(self.unread) > most:
                raise ValueError(f"a head or line is longer than {most} bytes")
            if not await self._arrive():
                raise self.broken(f"{self.peer} closed the connection")
        return self._take(at + len(end))

    async def _arrive(self) -> bool:
        """Wait for more bytes; return False if there are none. Raises ConnectionLostError if it was reset."""
        before = len(self.unread)
        if not self.lost:
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        if len(self.unread) == before and self._error is not None:
            raise self.broken(f"{self.peer} closed the connection: {self._error}")
        return len(self.unread) > before

    def _take(self, size: int) -> bytes:
        data, self.unread = self.unread[:size], self.unread[size:]
        if self._paused and len(self.unread) <= HIGH_BYTES:
            self._paused = False
            self.transport.resume_reading()
        return data

    def pause_writing(self) -> None:
        """Make writers wait while the peer reads too slowly."""
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let writers continue."""
        _wake(self._room)
        self._room = None

    async def drained(self) -> None:
        """Wait until the write buffer has room."""
        if self._room is not None:
            await self._room


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)
