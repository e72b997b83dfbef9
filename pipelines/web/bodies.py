"""Bodies of requests: how large they may be, and how long a client may take to send one."""

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.web.security import refusal

MOST_BYTES, MOST_SECONDS = 65_536, 20.0


class BodyLimit:
    """ASGI middleware: refuse a body that is too large or too slow. While it is read, by an HTTPException."""

    def __init__(self, app: ASGIApp, most_bytes: int = MOST_BYTES, most_seconds: float = MOST_SECONDS) -> None:
        self._app, self._most_bytes, self._most_seconds = app, most_bytes, most_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if declared.isascii() and declared.isdigit() and int(declared[:19]) > self._most_bytes:
            await refusal(scope, 413, self._sentence)(scope, receive, send)
            return
        received, is_whole, until = 0, False, asyncio.get_running_loop().time() + self._most_seconds

        async def limited() -> Message:
            nonlocal received, is_whole
            if is_whole:  # what follows is the end of the connection, for which an answer waits as long as it takes
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"The body took longer than {self._most_seconds:g} seconds.") from None
            if message["type"] == "http.request":
                received, is_whole = received + len(message.get("body", b"")), not message.get("more_body", False)
                if received > self._most_bytes:
                    raise HTTPException(413, self._sentence)
            return message

        await self._app(scope, limited, send)

    @property
    def _sentence(self) -> str:
        return f"The body has more than {self._most_bytes:,} bytes."
