"""A tunnel to the token service, for clients that fetch their own credentials (web identity) through their proxy."""

import asyncio

from resources.s3.governor.client import ClientConnection
from resources.s3.governor.connection import Connection

_CONNECT_SECONDS = 5.0
_LONGEST_SECONDS = 60.0


class _FarEnd(Connection):
    """The connection to the token service."""

    def __init__(self, client: ClientConnection) -> None:
        super().__init__()
        self._client = client
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Pass on; what a token service says is small."""
        self._client.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Wake the tunnel."""
        super().connection_lost(error)
        if not self.ended.done():
            self.ended.set_result(None)


async def tunnel(client: ClientConnection, host: str, port: int) -> None:
    """Connect, say so, and move bytes until either side ends or a minute has passed."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, far = await loop.create_connection(lambda: _FarEnd(client), host, port)
    except (OSError, TimeoutError) as error:
        client.refuse(502, f"no connection to {host}:{port}: {error}")
        return
    try:
        client.transport.write(b"HTTP/1.1 200 Connection Established\r\n\r\n")
        client.tunnel_to(far.transport.write)
        async with asyncio.timeout(_LONGEST_SECONDS):
            await far.ended
    except TimeoutError:
        return
    finally:
        far.abort()
