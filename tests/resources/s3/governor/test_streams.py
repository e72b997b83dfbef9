"""The two sides of a governor as protocols, fed directly: any split of the bytes means the same, in bounded memory."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resources.s3.governor.client import ClientConnection, Clients
from resources.s3.governor.message import Body, Message
from resources.s3.governor.stream import HIGH_BYTES, ConnectionLostError, Stream
from resources.s3.governor.upstream import UpstreamConnection, UpstreamPool, UpstreamUnreachableError

GET = b"GET http://h/b/k HTTP/1.1\r\nHost: h\r\n\r\n"


class Line(asyncio.Transport):
    """A transport that keeps what is written and whether it may be read from."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_read(self) -> bool:
        return self.reading

    def is_closing(self) -> bool:
        return self.closed


def _split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(at) if a < b]


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


Seen = tuple[str, bytes, bytes, bytes]


async def _served(parts: list[bytes]) -> tuple[list[Seen], bytes]:
    """The requests that a connection's bytes mean, and what was written to it."""
    seen: list[Seen] = []

    async def handle(request: Message, client: ClientConnection) -> bool:
        body = await request.body.up_to(1 << 24)
        seen.append((request.method, request.target, body, request.body.trailers))
        return client.send(200, [], body)

    connection, line = Clients(handle, most=1).connection(), Line()
    connection.connection_made(line)
    for part in parts:
        connection.data_received(part)
        await _settle()
    connection.connection_lost(None)
    await _settle()
    return seen, line.written


@pytest.mark.parametrize("filler", [b"\r\n\r\n", b"\n\r\n\r\n", b"\r\r\n\r\n"])
def test_a_head_that_never_begins_is_refused_as_one_that_never_ends(filler: bytes) -> None:
    part = filler * (4_096 // len(filler))
    seen, written = asyncio.run(_served([part] * 17))
    assert seen == []
    assert written.startswith(b"HTTP/1.1 400 ")
    assert b"longer than" in written
    assert asyncio.run(_served([part, GET]))[0], "a few empty lines before a head are allowed"


BODIES = st.one_of(st.binary(max_size=40), st.just(bytes(100_000)))
FRAMINGS = st.sampled_from(["length", "chunked", "trailers"])


def _request(number: int, body: bytes, framing: str) -> bytes:
    head = b"PUT http://h/b/%d HTTP/1.1\r\nHost: h\r\n" % number
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    halves = [half for half in (body[: len(body) // 2], body[len(body) // 2 :]) if half]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(half), half) for half in halves)
    trailers = b"X-Sum: 1\r\n" if framing == "trailers" else b""
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailers + b"\r\n"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(BODIES, FRAMINGS), min_size=1, max_size=4), st.lists(st.integers(0), max_size=12))
def test_any_split_of_requests_means_the_same(messages: list[tuple[bytes, str]], cuts: list[int]) -> None:
    sent = b"".join(_request(n, body, framing) for n, (body, framing) in enumerate(messages))
    seen, written = asyncio.run(_served(_split(sent, cuts)))
    assert seen == [
        ("PUT", b"http://h/b/%d" % n, body, b"X-Sum: 1\r\n" if framing == "trailers" else b"")
        for n, (body, framing) in enumerate(messages)
    ]
    assert written == b"".join(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) for body, _ in messages
    )


async def _answered(parts: list[bytes], *, head: bool) -> tuple[int, bytes, bool, bool]:
    """Status, body (or b"lost"), whether the connection can be used again, and whether it was broken off."""
    connection, line = UpstreamConnection(), Line()
    connection.connection_made(line)
    for part in parts:
        connection.data_received(part)
    answer = await connection.response(bodiless=head)
    body = await answer.body.up_to(1 << 24)
    pool = UpstreamPool("127.0.0.1", 9, None)
    pool.release(connection)
    return answer.status, body, connection.reusable, line.closed


@settings(deadline=None, max_examples=50)
@given(BODIES, FRAMINGS, st.booleans(), st.booleans(), st.lists(st.integers(0), max_size=12))
def test_any_split_of_an_answer_means_the_same(
    body: bytes, framing: str, interim: bool, head: bool, cuts: list[int]
) -> None:
    sent = _request(0, body, framing).replace(b"PUT http://h/b/0 HTTP/1.1", b"HTTP/1.1 200 OK")
    if head:
        sent = sent.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    sent = (b"HTTP/1.1 100 Continue\r\n\r\n" if interim else b"") + sent
    found = asyncio.run(_answered(_split(sent, cuts), head=head))
    assert found == (200, b"" if head else body, True, False)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 99_999), st.lists(st.integers(0), max_size=6))
def test_an_answer_that_was_cut_off_is_never_whole(size: int, cuts: list[int]) -> None:
    sent = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(size)
    assert asyncio.run(_cut_off(_split(sent, cuts))) == b"lost"


async def _cut_off(parts: list[bytes]) -> bytes:
    connection = UpstreamConnection()
    connection.connection_made(Line())
    for part in parts:
        connection.data_received(part)
    connection.connection_lost(None)
    try:
        return await (await connection.response(bodiless=False)).body.up_to(1 << 24)
    except ConnectionLostError:
        return b"lost"


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=1, max_size=30), st.lists(st.integers(0), max_size=6))
@example(b"H", [])
@example(b"HTTP/1.1 200 OK", [])
@example(b"\r\nHT", [3])
def test_what_comes_unasked_never_reaches_the_next_request(more: bytes, cuts: list[int]) -> None:
    sent = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc" + more
    found = asyncio.run(_answered(_split(sent, cuts), head=False))
    assert found == (200, b"abc", True, True)


def test_what_comes_while_a_connection_is_idle_never_reaches_the_next_request() -> None:
    async def scene() -> None:
        connection, line = UpstreamConnection(), Line()
        connection.connection_made(line)
        connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await connection.response(bodiless=False)
        pool = UpstreamPool("127.0.0.1", 9, None)
        pool.release(connection)
        assert not line.closed
        connection.data_received(b"HTTP/1.1 200 OK\r\n")
        with pytest.raises(UpstreamUnreachableError):
            await pool.acquire()
        assert line.closed

    _run(scene)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200), st.lists(st.integers(0), max_size=6))
def test_anything_at_all_is_answered_or_refused(noise: bytes, cuts: list[int]) -> None:
    _, written = asyncio.run(_served(_split(GET + noise + b"\r\n\r\n", cuts)))
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")


def _run(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 20))


@pytest.mark.parametrize("pipelined", [True, False])
def test_a_client_is_read_from_no_faster_than_it_is_served(pipelined: bool) -> None:
    async def scene() -> None:
        go_on = asyncio.Event()

        async def handle(request: Message, client: ClientConnection) -> bool:
            await go_on.wait()
            await request.body.up_to(1 << 24)
            return client.send(200, [])

        connection, line = Clients(handle, most=1).connection(), Line()
        connection.connection_made(line)
        sent = 0
        if not pipelined:
            connection.data_received(b"PUT http://h/b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n")
        while line.is_read():
            connection.data_received(GET if pipelined else bytes(65536))
            sent += 1
            await asyncio.sleep(0)
            assert sent <= HIGH_BYTES // (len(GET) if pipelined else 65536) + 2
        go_on.set()
        await _settle()
        assert line.is_read()
        connection.connection_lost(None)
        await _settle()

    _run(scene)


def test_a_body_that_fails_gives_what_came_and_then_the_error() -> None:
    async def scene() -> None:
        stream = Stream()
        stream.connection_made(Line())
        body = Body(stream, 10)
        stream.data_received(b"part")
        stream.connection_lost(ConnectionResetError("gone"))
        assert await body.next() == b"part"
        with pytest.raises(ConnectionLostError, match="gone"):
            await body.next()
        assert not body.whole

    _run(scene)
