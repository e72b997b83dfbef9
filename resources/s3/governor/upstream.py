"""Connections to S3: kept alive, one request at a time, with TLS if the upstream is https."""

import asyncio
import ssl
import time
from collections import deque

from resources.errors import TransientFailure
from resources.s3.governor.message import Message, read_response
from resources.s3.governor.stream import Stream

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 4.0
"""Maximum age of an idle connection: S3 closes idle ones, and a reset would leave a write uncertain."""
CONTINUE_SECONDS = 1.0
"""How long to wait for `100 Continue` before a large body is sent anyway, as S3 clients do."""
UNASKED_SECONDS = 0.05
"""The same where the upstream did not send it last time: some servers never do."""


class UpstreamUnreachableError(TransientFailure, ConnectionError):
    """No connection could be opened, so nothing was sent."""


class UpstreamNotTrustedError(UpstreamUnreachableError):
    """The upstream's certificate is not trusted, or is for another name. Permanent."""


class UpstreamConnection(Stream):
    """One connection to S3. After a response was read to its end it can be used again if ``reusable``.

    ``continued`` is done when S3 has sent `100 Continue`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.idle_since = 0.0
        self.reusable = False
        self.continued = asyncio.get_running_loop().create_future()

    async def response(self, *, bodiless: bool) -> Message:
        """Read the head of the final response; ``bodiless`` for HEAD. Raises ConnectionLostError."""
        while (response := await read_response(self, bodiless=bodiless)).status < 200:
            if not self.continued.done():
                self.continued.set_result(None)
        self.reusable = response.keep_alive
        return response


class UpstreamPool:
    """Idle connections to one upstream. The last one used is reused first, so that the others age and are closed."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._idle: deque[UpstreamConnection] = deque()
        self.continue_seconds = CONTINUE_SECONDS

    async def acquire(self) -> UpstreamConnection:
        """Return a connection that is ready for a request. Raises UpstreamUnreachableError."""
        oldest = time.monotonic() - IDLE_SECONDS
        while self._idle:
            connection = self._idle.pop()
            # Unexpected bytes would be read as the next request's response.
            if not connection.lost and not connection.unread and connection.idle_since > oldest:
                connection.reusable = False
                connection.continued = asyncio.get_running_loop().create_future()
                return connection
            connection.transport.abort()
        name = self._host if self._tls else None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await asyncio.get_running_loop().create_connection(
                    UpstreamConnection, self._host, self._port, ssl=self._tls, server_hostname=name
                )
        except ssl.SSLCertVerificationError as error:
            raise UpstreamNotTrustedError(
                f"The certificate of {self._host}:{self._port} is not trusted: {error.verify_message}."
            ) from error
        except (OSError, TimeoutError) as error:
            reason = str(error) or f"no answer within {CONNECT_SECONDS:.0f} s"
            raise UpstreamUnreachableError(f"no connection to {self._host}:{self._port}: {reason}") from error
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next request if it is reusable, else close it; close aged ones."""
        if not connection.reusable or connection.lost or connection.unread or connection.transport.is_closing():
            connection.transport.abort()
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        while self._idle[0].lost or self._idle[0].idle_since < connection.idle_since - IDLE_SECONDS:
            self._idle.popleft().transport.abort()

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().transport.abort()
