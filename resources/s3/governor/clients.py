"""All client connections: their maximum number, and closing idle ones."""

import asyncio
import contextlib
import logging
import resource
from collections.abc import Awaitable, Callable

from resources.s3.governor import responses
from resources.s3.governor.client import LINGER_SECONDS, ClientConnection, ClientRequest
from resources.s3.governor.connection import Connection

IDLE_SECONDS = 120.0
"""Longer than clients keep an unused connection (object_store keeps it longest: 90 s)."""
_CHECK_SECONDS = 5.0
_MAX_FILES = 1 << 20
_FULL = "Too many connections to this request governor are open: use fewer, or raise `ulimit -n`."
_log = logging.getLogger("cippus.s3_governor")

Handle = Callable[[ClientRequest, ClientConnection], Awaitable[bool]]


class Clients:
    """At most ``most`` connections, whose requests ``handle`` answers.

    A connection has at most one request in progress, which takes one upstream connection. A third of the files that
    the process may open is therefore the limit for each; the rest is for refused connections and plain files.
    """

    def __init__(self, handle: Handle, most: int) -> None:
        self._handle = handle
        self._most = most
        self._open: set[ClientConnection] = set()
        self._refused: set[ClientConnection] = set()
        self._is_full = False

    def connection(self) -> ClientConnection:
        """Return the protocol of a new connection."""
        return _LimitedConnection(self._handle, self)

    def admit(self, connection: ClientConnection) -> bool:
        """Return whether there is room for a connection, and count it until `leave`."""
        if len(self._open) < self._most:
            self._open.add(connection)
            self._is_full = False
            return True
        if not self._is_full:
            _log.warning("%d clients are connected, the maximum: further ones are turned away", self._most)
        self._is_full = True
        return False

    def refuse(self, connection: ClientConnection) -> None:
        """Answer 503, and close a little later: closing with unread input would reset the connection."""
        if len(self._refused) >= max(self._most // 4, 1):
            connection.abort()
            return
        self._refused.add(connection)
        body = responses.error_document("ServiceUnavailable", _FULL)
        headers = responses.error_headers("ServiceUnavailable", _FULL, body, "")
        connection.send_head(503, [*headers, (b"Connection", b"close")], body)
        connection.transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, _close, connection)

    def leave(self, connection: ClientConnection) -> None:
        """Stop counting a connection."""
        self._open.discard(connection)
        self._refused.discard(connection)

    def close_idle(self, now: float) -> None:
        """Close connections without a request for IDLE_SECONDS; ``now`` is the loop's time in seconds."""
        for connection in list(self._open):
            if connection.idle_seconds(now) > IDLE_SECONDS:
                connection.transport.close()

    async def close_idle_regularly(self) -> None:
        """Close idle connections until cancelled."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            self.close_idle(asyncio.get_running_loop().time())


class _LimitedConnection(ClientConnection):
    """A connection that counts towards the limit."""

    def __init__(self, handle: Handle, clients: Clients) -> None:
        super().__init__(handle)
        self._clients = clients

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to serve requests, or refuse the client."""
        if self._clients.admit(self):
            super().connection_made(transport)
            return
        Connection.connection_made(self, transport)
        self.stop_listening()
        self._clients.refuse(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Make room for another connection."""
        self._clients.leave(self)
        super().connection_lost(error)


def _close(connection: ClientConnection) -> None:
    if not connection.lost:
        connection.abort()


def max_clients() -> int:
    """Raise this process' limit of open files to the hard limit; return how many clients it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems allow fewer than their hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    files = _MAX_FILES if soft == resource.RLIM_INFINITY else soft
    return max(files // 3, 1)
