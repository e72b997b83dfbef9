"""Read whole HTTP requests and answers as bytes. Implements the part of HTTP that S3 needs."""

import asyncio
import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

EVENT = "/_event/"
"""Path prefix of a worker's announcements, which are not requests to S3: `EVENT /_event/mark`."""


@dataclass(frozen=True)
class Message:
    """An unchanged request or answer: bytes of the head, words of its first line, bytes of the body."""

    head: bytes
    words: tuple[str, ...]
    body: bytes

    @property
    def event(self) -> str:
        """Return `PUT /bucket/key`, or `LIST /bucket/prefix` for a listing."""
        method, target = self.words[0], urlsplit(self.words[1])
        if target.path.startswith(EVENT):
            return f"EVENT {target.path}"
        query = parse_qs(target.query)
        if method == "GET" and "list-type" in query:
            return f"LIST {unquote(target.path).rstrip('/')}/{query.get('prefix', [''])[0]}"
        return f"{method} {unquote(target.path)}"

    @classmethod
    async def request(cls, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Self | None:
        """Return the next request, or None at the end of the connection. Answer `Expect` with 100 Continue."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"expect:")]
        if len(lines) != head.count(b"\r\n") + 1:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = b"\r\n".join(lines)
        return cls(head, _words(head), await _body(reader, head))

    @classmethod
    async def answer(cls, reader: asyncio.StreamReader, *, bodiless: bool) -> Self:
        """Return the next final answer; skip 1xx answers."""
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            words = _words(head)
            if words[1].startswith("1"):
                continue
            return cls(head, words, b"" if bodiless or words[1] in {"204", "304"} else await _body(reader, head))


def _words(head: bytes) -> tuple[str, ...]:
    return tuple(head.partition(b"\r\n")[0].decode("latin-1").split(" "))


async def _body(reader: asyncio.StreamReader, head: bytes) -> bytes:
    """Return the unchanged bytes of a body, with its chunk headers."""
    lowered = head.lower()
    if found := re.search(rb"\r\ncontent-length: *(\d+)", lowered):
        return await reader.readexactly(int(found.group(1)))
    if b"\r\ntransfer-encoding: chunked" not in lowered:
        return b""
    parts = []
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        parts += [line, await reader.readexactly(size + 2)]
        if not size:
            return b"".join(parts)
