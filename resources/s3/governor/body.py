"""A message body that is passed from one connection to another in bounded memory."""

import asyncio

HIGH_BYTES = 192 << 10
"""Less than one read of the event loop (256 KiB), so a body that nobody consumes holds a single chunk."""


class ConnectionLostError(ConnectionError):
    """The peer closed the connection in the middle of a message."""


class RequestBrokenError(ConnectionLostError):
    """The client closed its connection or sent malformed HTTP; the error says nothing about S3."""


class Body:
    """Chunks that were received and not yet consumed. Pauses the transport above HIGH_BYTES."""

    __slots__ = ("_chunks", "_ended", "_error", "_held", "_paused", "_transport", "_waiter", "taken", "trailers")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._chunks: list[bytes] = []
        self._held = 0
        self._paused = False
        self._ended = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.taken = 0
        self.trailers = b""

    def feed(self, chunk: bytes) -> None:
        """Add a chunk that the connection received."""
        self._chunks.append(chunk)
        self._held += len(chunk)
        if self._held > HIGH_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def end(self) -> None:
        """Mark the body as complete."""
        self._ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """Raise ``error`` to the consumer after the chunks that were received. No effect on a complete body."""
        if not self._ended:
            self._error = error
            self._wake()

    @property
    def whole(self) -> bool:
        """Whether the whole body was received and consumed."""
        return self._ended and not self._chunks

    async def next(self) -> bytes:
        """Return the bytes received since the last call, b"" at the end. Raises ConnectionLostError."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self._ended:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        chunk = b"".join(self._chunks)
        self._chunks.clear()
        self._held = 0
        self.taken += len(chunk)
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        return chunk

    async def up_to(self, limit: int) -> bytes:
        """Return the whole body if it has at most ``limit`` bytes, else a beginning longer than ``limit``."""
        parts: list[bytes] = []
        size = 0
        while size <= limit and (chunk := await self.next()):
            parts.append(chunk)
            size += len(chunk)
        return b"".join(parts)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
