"""The client side of the proxy: connections of S3 clients, and their requests, one after the other."""

import asyncio
import contextlib
import logging
import resource
from collections.abc import Awaitable, Callable, Iterable

from resources.s3.governor import responses
from resources.s3.governor.message import Message, read_request
from resources.s3.governor.stream import ConnectionLostError, RequestBrokenError, Stream

LINGER_SECONDS = 2.0
IDLE_SECONDS = 120.0
"""Longer than clients keep an unused connection (object_store keeps it longest: 90 s)."""
_MAX_FILES = 1 << 20
_REASONS = {
    200: b"OK", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 407: b"Proxy Authentication Required", 409: b"Conflict", 412: b"Precondition Failed",
    500: b"Internal Server Error", 502: b"Bad Gateway", 503: b"Slow Down", 504: b"Gateway Timeout",
}  # fmt: skip
_FULL = "Too many connections to this request governor are open: use fewer, or raise `ulimit -n`."
_log = logging.getLogger("cippus.s3_governor")


class ClientConnection(Stream):
    """One client connection. ``request`` is the one in progress.

    ``answer_begun`` is whether the client has a part of the response to it, or to an earlier one if there is none.
    """

    peer = "the client"
    broken = RequestBrokenError

    def __init__(self, clients: "Clients") -> None:
        super().__init__()
        self.answer_begun = False
        self.request: Message | None = None
        self._clients = clients

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to serve requests."""
        super().connection_made(transport)
        self._serving = asyncio.get_running_loop().create_task(self._clients.serve(self))

    def connection_lost(self, error: Exception | None) -> None:
        """Cancel the request in progress, and make room for another connection."""
        super().connection_lost(error)
        self._clients.leave(self)
        self._serving.cancel()

    async def next_request(self) -> Message:
        """Read the next request. Raises RequestBrokenError."""
        self.request = None
        self.request = await read_request(self)
        self.answer_begun = False
        return self.request

    async def linger(self) -> None:
        """End the response, and discard input for a while: closing with unread input would reset the connection."""
        if self.lost or self.transport.is_closing():
            return
        self.transport.write_eof()
        with contextlib.suppress(ConnectionLostError, TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while await self.read():
                    pass

    def send_continue(self) -> None:
        """Ask the client for the body."""
        self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send(self, status: int, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bool:
        """Send a response of the governor's own. Return True: the connection can be kept."""
        lines = [f"{name}: {responses.header_value(value)}\r\n".encode() for name, value in headers]
        self.send_lines(status, [*lines, b"Content-Length: %d\r\n" % len(body)], body)
        return True

    def send_error(
        self, status: int, code: str, message: str, request_id: str = "", headers: Iterable[tuple[str, str]] = ()
    ) -> bool:
        """Send an error in S3's form, which every client shows. Return True: the connection can be kept."""
        is_head = self.request is not None and self.request.method == "HEAD"
        body = b"" if is_head else responses.error_document(code, message, request_id)
        # The response to HEAD has no body, so headers repeat code and message.
        named = [("x-amz-error-code", code), ("x-amz-error-message", message), *headers]
        return self.send(status, [*responses.document_headers(request_id), *named], body)

    def send_lines(self, status: int, lines: Iterable[bytes], body: bytes = b"") -> None:
        """Send a response head with header lines unchanged, and the part of its body that is available."""
        self.answer_begun = True
        keeps = self.request is not None and self.request.keep_alive and self.request.body.whole
        ending = b"\r\n" if keeps else b"Connection: close\r\n\r\n"
        head = b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b"Status"))
        self.transport.write(b"".join((head, *lines, ending, body)))


class Clients:
    """At most ``most`` connections. ``handle`` answers a request and returns whether to keep the connection.

    A connection has at most one request in progress, which takes one upstream connection. A third of the files that
    the process may open is therefore the limit for each; the rest is for refused connections and plain files.
    """

    def __init__(self, handle: Callable[[Message, ClientConnection], Awaitable[bool]], most: int) -> None:
        self._handle = handle
        self._most = most
        self._open: set[ClientConnection] = set()
        self._refused: set[ClientConnection] = set()
        self._is_full = False

    def connection(self) -> ClientConnection:
        """Return the protocol of a new connection."""
        return ClientConnection(self)

    def leave(self, client: ClientConnection) -> None:
        """Stop counting a connection that was closed."""
        self._open.discard(client)
        self._refused.discard(client)

    async def serve(self, client: ClientConnection) -> None:
        """Answer the requests of a connection until one side closes it or it is idle, or refuse it."""
        try:
            if len(self._open) < self._most:
                self._open.add(client)
                self._is_full = False
                await self._answer(client)
            else:
                await self._refuse(client)
        except RequestBrokenError as error:
            if not client.answer_begun:
                client.send_error(400, "InvalidRequest", f"The request cannot be read: {error}.")
                await client.linger()
            elif client.request is not None:
                client.transport.abort()
        finally:
            client.transport.close()

    async def _answer(self, client: ClientConnection) -> None:
        keep = True
        while keep and not client.lost:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    request = await client.next_request()
            except TimeoutError:
                return
            keep = await self._handle(request, client) and request.keep_alive
            if not request.body.whole:
                await client.linger()
                return
            await client.drained()

    async def _refuse(self, client: ClientConnection) -> None:
        if not self._is_full:
            _log.warning("%d clients are connected, the maximum: further ones are turned away", self._most)
        self._is_full = True
        if len(self._refused) >= max(self._most // 4, 1):
            client.transport.abort()
            return
        self._refused.add(client)
        client.send_error(503, "ServiceUnavailable", _FULL)
        await client.linger()


def max_clients() -> int:
    """Raise this process' limit of open files to the hard limit; return how many clients it allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # some systems allow fewer than their hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    files = _MAX_FILES if soft == resource.RLIM_INFINITY else soft
    return max(files // 3, 1)
