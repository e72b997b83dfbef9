"""The clients' connections as a whole: how many there may be, and which of them nobody uses."""

import asyncio
import contextlib
import logging
import resource
from collections.abc import Awaitable, Callable

from resources.s3.governor import answers
from resources.s3.governor.client import LINGER_SECONDS, ClientConnection, ClientRequest
from resources.s3.governor.connection import Connection

IDLE_SECONDS = 120.0
"""Longer than the clients themselves keep a connection that they do not use (object_store, the longest: 90 s)."""
_CHECK_SECONDS = 5.0
_MOST_FILES = 1 << 20
_FULL = "Too many connections to this request governor are open at a time; use fewer, or raise `ulimit -n`."
_log = logging.getLogger("cippus.s3_governor")


class Clients:
    """At most ``most`` connections, each with requests that ``handle`` answers.

    A connection has one request under way and so one to the upstream: with a third of the files that may be open
    for either, what is accepted can be forwarded. The rest is for those that are being turned away, and for files.
    """

    def __init__(self, handle: Callable[[ClientRequest, ClientConnection], Awaitable[bool]], most: int) -> None:
        self._handle = handle
        self._most = most
        self._open: set[_OneOfThem] = set()
        self._turned_away: set[_OneOfThem] = set()
        self._is_full = False

    def connection(self) -> ClientConnection:
        """The protocol of a new connection."""
        return _OneOfThem(self._handle, self)

    def take(self, connection: "_OneOfThem") -> bool:
        """Whether there is room for a connection, which counts until it is left."""
        if len(self._open) < self._most:
            self._open.add(connection)
            self._is_full = False
            return True
        if not self._is_full:
            _log.warning("%d clients are connected, which is the most: further ones are turned away", self._most)
        self._is_full = True
        return False

    def turn_away(self, connection: "_OneOfThem") -> None:
        """Say why, and wait a little for the client to end: a close with its request unread would be a reset."""
        if len(self._turned_away) >= max(self._most // 4, 1):
            connection.abort()
            return
        self._turned_away.add(connection)
        body = answers.error_document("ServiceUnavailable", _FULL)
        headers = answers.error_headers("ServiceUnavailable", _FULL, body, "")
        connection.send_head(503, [*headers, (b"Connection", b"close")], body)
        connection.transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, _end, connection)

    def leave(self, connection: "_OneOfThem") -> None:
        """Forget a connection that has ended."""
        self._open.discard(connection)
        self._turned_away.discard(connection)

    def close_idle(self, now: float) -> None:
        """Close what has waited for a request for too long; ``now`` is the loop's time in seconds."""
        for connection in list(self._open):
            if connection.idle_seconds(now) > IDLE_SECONDS:
                connection.transport.close()

    async def close_idle_regularly(self) -> None:
        """Do so until cancelled."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            self.close_idle(asyncio.get_running_loop().time())


class _OneOfThem(ClientConnection):
    """A connection that counts."""

    def __init__(self, handle: Callable[[ClientRequest, ClientConnection], Awaitable[bool]], clients: Clients) -> None:
        super().__init__(handle)
        self._clients = clients

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve, or turn the client away."""
        if self._clients.take(self):
            super().connection_made(transport)
            return
        Connection.connection_made(self, transport)
        self.stop_listening()
        self._clients.turn_away(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Make room."""
        self._clients.leave(self)
        super().connection_lost(error)


def _end(connection: ClientConnection) -> None:
    if not connection.lost:
        connection.abort()


def room_for_clients() -> int:
    """Let this process open as many files as it is allowed to, and say how many of them clients may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems allow fewer than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    files = _MOST_FILES if soft == resource.RLIM_INFINITY else soft
    return max(files // 3, 1)
