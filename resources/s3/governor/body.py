"""A message body on its way from one connection to another, in memory that is bounded."""

import asyncio
from collections import deque

from resources.errors import TransientFailure

HIGH_BYTES = 192 << 10
"""Less than one read of the event loop (256 KiB): a body that is not taken on holds one chunk, not more."""


class ConnectionLostError(TransientFailure, ConnectionError):
    """The other side went away in the middle of a message."""


class RequestBrokenError(ConnectionLostError):
    """The client's side of it: nothing can be said of S3, and nobody may be there to be answered."""


class Body:
    """Chunks received and not yet taken. The transport is paused while more than HIGH_BYTES wait."""

    __slots__ = (
        "_chunks", "_ended", "_error", "_held", "_paused", "_transport", "_waiter", "taken", "trailers",
    )  # fmt: skip

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.taken = 0
        self.trailers = b""
        """Header lines that came behind the last chunk."""

    def feed(self, chunk: bytes) -> None:
        """Take a chunk from the connection."""
        self._chunks.append(chunk)
        self._held += len(chunk)
        if self._held > HIGH_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def end(self) -> None:
        """Note that the body is whole."""
        self._ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Note that the rest will not come; what came can still be taken. Of no effect after the end."""
        if not self._ended:
            self._error = error
            self._wake()

    @property
    def whole(self) -> bool:
        """Whether all of it has come and has been taken."""
        return self._ended and not self._chunks

    async def next(self) -> bytes:
        """What has come since the last call, or b"" at the end. Raises ConnectionLostError where the rest is lost."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        chunk = self._chunks.popleft() if len(self._chunks) == 1 else b"".join(self._drained())
        self._held = 0
        self.taken += len(chunk)
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return chunk

    async def up_to(self, limit: int) -> bytes:
        """The body, if it is whole within ``limit`` bytes; else at least as much of it as that."""
        parts = []
        size = 0
        while size <= limit:
            chunk = await self.next()
            if not chunk:
                break
            parts.append(chunk)
            size += len(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _drained(self) -> list[bytes]:
        chunks = list(self._chunks)
        self._chunks.clear()
        return chunks

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
