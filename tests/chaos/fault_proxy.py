"""A proxy in front of an S3 server that stops chosen requests and injects faults."""

import asyncio
import os
import re
import select
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from tests.chaos.http_messages import Message

SECONDS = 180.0
"""Time limit for a wait: longer than any client retries."""
_RESET = struct.pack("ii", 1, 0)
_ERROR = b"HTTP/1.1 %d %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nx-amz-request-id: CHAOS\r\n\r\n%s"
_ERROR_BODY = b"<Error><Code>%s</Code><Message>Made by the fault proxy.</Message><RequestId>CHAOS</RequestId></Error>"
_NOTED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Decision(StrEnum):
    """The fate of a stopped request. A request that was stopped after S3 applied it is not forwarded again."""

    GO_ON = "go on"
    ERROR = "500"
    SLOW_DOWN = "503"
    RESET = "reset"


@dataclass
class Stop:
    """Stop the n-th matching request of a lane: before it is forwarded or, with ``applied``, before it is answered."""

    pattern: str
    nth: int = 1
    applied: bool = False
    event: str = ""
    _left: int = field(init=False)
    _reached: int = field(init=False)
    _decision: "Future[Decision]" = field(default_factory=Future)
    _settled: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._left, self._reached = self.nth, os.eventfd(0)

    def matches(self, event: str) -> bool:
        """Count matching requests, and return whether this is the one to stop."""
        if re.search(self.pattern, event) is None:
            return False
        self._left -= 1
        return self._left == 0

    async def decision(self, event: str) -> Decision:
        """Report that the request is stopped, and wait for the decision."""
        self.event = event
        os.eventfd_write(self._reached, 1)
        return await asyncio.wrap_future(self._decision)

    def wait(self, *others: socket.socket) -> bool:
        """Wait until the request is stopped or a socket is readable. Return whether the request is stopped."""
        watched: list[int | socket.socket] = [self._reached, *others]
        ready, _, _ = select.select(watched, [], [], SECONDS)
        if not ready:
            message = f"No request matched {self.pattern!r} for {SECONDS:.0f} s."
            raise TimeoutError(message)
        return self._reached in ready

    def decide(self, decision: Decision) -> None:
        """Decide the fate of the request; only the first decision counts."""
        if not self._decision.done():
            self._decision.set_result(decision)

    def settled(self) -> None:
        """Report that S3 has answered the request."""
        self._settled.set()

    def let_through(self) -> None:
        """Forward a stopped request, and return when S3 has answered it."""
        self.decide(Decision.GO_ON)
        self._settled.wait(SECONDS)

    def close(self) -> None:
        """Close the descriptor. Reset a request that is still stopped."""
        self.decide(Decision.RESET)
        os.close(self._reached)


@dataclass
class Lane:
    """The endpoint of one worker, and the stop that is set."""

    upstream: tuple[str, int]
    endpoint: str = ""
    stop: Stop | None = None
    _serving: "set[asyncio.Task[None] | None]" = field(default_factory=set)
    """References to the tasks; the event loop holds none."""

    def stopped_at(self, event: str, *, applied: bool) -> Stop | None:
        """Return the stop if this event reaches it, and clear it."""
        stop = self.stop
        if stop is None or stop.applied is not applied or not stop.matches(event):
            return None
        self.stop = None
        return stop

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client's connection, with its own connection to S3."""
        onward: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._serving.add(asyncio.current_task())
        try:
            while request := await Message.request(reader, writer):
                if onward is None or onward[1].is_closing():
                    onward = await asyncio.open_connection(*self.upstream)
                answer = await self._answer(request, *onward)
                if answer is None:
                    _reset(writer)
                    return
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, EOFError):
            return  # either side closed the connection, as killed workers do
        finally:
            self._serving.discard(asyncio.current_task())
            writer.close()
            if onward:
                onward[1].close()

    async def _answer(
        self, request: "Message", reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes | None:
        """Return the bytes of an answer, or None to reset the connection."""
        event = request.event
        before = self.stopped_at(event, applied=False)
        if before:
            decision = await before.decision(event)
            if decision is not Decision.GO_ON:
                return _fault(decision)
        if event.startswith("EVENT"):
            return _NOTED
        writer.write(request.head + request.body)
        answer = await Message.answer(reader, bodiless=event.startswith("HEAD"))
        if before:
            before.settled()
        if stop := self.stopped_at(event, applied=True):
            decision = await stop.decision(event)
            if decision is not Decision.GO_ON:
                return _fault(decision)
        return answer.head + answer.body


def _fault(decision: Decision) -> bytes | None:
    if decision is Decision.RESET:
        return None
    status, code = (500, b"InternalError") if decision is Decision.ERROR else (503, b"SlowDown")
    body = _ERROR_BODY % code
    return _ERROR % (status, code, len(body), body)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a TCP reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


@contextmanager
def fault_proxy(upstream: str, lanes: int) -> Iterator[list[Lane]]:
    """Run the proxy on free loopback ports, one for each lane, until the block ends."""
    at = urlsplit(upstream)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    made = [Lane((at.hostname or "", at.port or 80)) for _ in range(lanes)]
    servers = []
    try:
        for lane in made:
            opened = asyncio.run_coroutine_threadsafe(asyncio.start_server(lane.serve, "127.0.0.1", 0), loop)
            servers.append(opened.result())
            lane.endpoint = f"http://127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(_end(servers), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(servers: Sequence[asyncio.Server]) -> None:
    """Stop listening, and cancel open connections."""
    for server in servers:
        server.close()
    mine = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not mine]
    for task in tasks:
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*tasks, return_exceptions=True)
