"""Heads of messages: which headers are forwarded and which never are, how bodies are framed, how long a head may be."""

import asyncio

import pytest

from resources.s3.governor.message import Message, chunk_of, last_chunk, read_request, read_response
from resources.s3.governor.stream import ConnectionLostError, Stream

LONGEST_HEAD = 65_536


def _fed(data: bytes) -> Stream:
    stream = Stream()
    stream.unread, stream.lost = data, True
    return stream


def request(head: bytes, body: bytes = b"") -> Message:
    return asyncio.run(read_request(_fed(b"PUT http://h/b/k HTTP/1.1\r\n" + head + b"\r\n" + body)))


def response(
    status: int, head: bytes = b"", body: bytes = b"", *, bodiless: bool = False, version: bytes = b"1.1"
) -> Message:
    start = b"HTTP/%b %d said\r\n" % (version, status)
    return asyncio.run(read_response(_fed(start + head + b"\r\n" + body), bodiless=bodiless))


def test_headers_for_the_governor_alone_never_reach_s3() -> None:
    own = ("Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Expect")
    head = b"".join(b"%b: own\r\n" % name.encode() for name in own)
    found = request(b"Host: h\r\n" + head + b"X-Amz-Date:  now\r\nAuthorization: x\r\nContent-Length: 0\r\n")
    assert found.lines == [b"Host: h\r\n", b"X-Amz-Date: now\r\n", b"Authorization: x\r\n", b"Content-Length: 0\r\n"]
    assert [found.header(name.lower().encode()) for name in own] == ["own"] * len(own)
    assert (found.method, found.target, found.header(b"x-none")) == ("PUT", b"http://h/b/k", "")


def test_headers_that_frame_an_answer_are_the_governors_own() -> None:
    own = (b"Connection: a\r\n", b"Keep-Alive: a\r\n", b"TE: a\r\n", b"Proxy-Authenticate: a\r\n")
    found = response(200, b"".join(own) + b"Content-Length: 3\r\nETag: e\r\n")
    assert found.lines == [b"ETag: e\r\n"]
    assert response(200, b"Transfer-Encoding: chunked\r\n").lines == []


@pytest.mark.parametrize("name", ["Host", "Content-Length", "Transfer-Encoding"])
def test_a_header_that_decides_comes_once(name: str) -> None:
    value = {"Content-Length": "3", "Transfer-Encoding": "chunked"}.get(name, "h")
    with pytest.raises(ConnectionLostError, match="no valid HTTP"):
        request(f"{name}: {value}\r\n".encode() * 2)
    assert request(b"X-Any: 1\r\n" * 2).lines == [b"X-Any: 1\r\n"] * 2


@pytest.mark.parametrize(("status", "has_body"), [(199, False), (200, True), (203, True), (204, False), (205, True),
                                                  (303, True), (304, False), (305, True)])  # fmt: skip
def test_answers_without_a_body(status: int, has_body: bool) -> None:
    assert response(status, b"Content-Length: 3\r\n").body.whole is not has_body
    assert response(status, b"Transfer-Encoding: chunked\r\n").body.whole is not has_body
    assert response(status, b"Content-Length: 3\r\n", bodiless=True).body.whole


def test_what_a_head_says_of_its_body() -> None:
    assert request(b"Content-Length: 7\r\n").length == 7
    assert request(b"").length is None
    assert request(b"").body.whole
    assert request(b"Transfer-Encoding: Chunked\r\n").chunked
    assert not request(b"Content-Length: 7\r\n").chunked
    assert request(b"Expect: 100-Continue\r\n").expects_continue
    assert not request(b"Expect: more\r\n").expects_continue


def test_a_connection_is_kept_unless_one_side_closes_it() -> None:
    assert request(b"").keep_alive
    assert response(200).keep_alive
    assert not response(200, b"Connection: Close\r\n").keep_alive
    assert not response(200, b"Content-Length: 0\r\n", version=b"1.0").keep_alive


def test_the_longest_head() -> None:
    start = b"PUT http://h/b/k HTTP/1.1\r\n"
    room = LONGEST_HEAD - len(start) - len(b"X: \r\n\r\n")
    assert request(b"X: " + b"x" * room + b"\r\n").header(b"x") == "x" * room
    with pytest.raises(ConnectionLostError, match="longer than 65536 bytes"):
        request(b"X: " + b"x" * (room + 1) + b"\r\n")


def test_chunks() -> None:
    assert (chunk_of(b"x" * 26), chunk_of(b"")) == (b"1a\r\n" + b"x" * 26 + b"\r\n", b"")
    assert (last_chunk(), last_chunk(b"A: 1\r\n")) == (b"0\r\n\r\n", b"0\r\nA: 1\r\n\r\n")
    found = request(b"Transfer-Encoding: chunked\r\n", chunk_of(b"ab") + chunk_of(b"cde") + last_chunk(b"A: 1\r\n"))
    assert asyncio.run(found.body.up_to(9)) == b"abcde"
    assert (found.body.trailers, found.body.taken, found.body.whole) == (b"A: 1\r\n", 5, True)


@pytest.mark.parametrize(("body", "reason"), [(b"zz\r\n", "a chunk has no size"), (b"1\r\nab\r\n", "longer than its")])
def test_a_chunk_of_another_size_is_refused(body: bytes, reason: str) -> None:
    found = request(b"Transfer-Encoding: chunked\r\n", body)
    with pytest.raises(ConnectionLostError, match=reason):
        asyncio.run(found.body.up_to(9))


def test_a_chunk_may_have_an_extension_and_trailers_are_bounded() -> None:
    chunked = b"Transfer-Encoding: chunked\r\n"
    found = response(200, chunked, b"1f;a=b\r\n" + b"x" * 31 + b"\r\n" + last_chunk())
    assert asyncio.run(found.body.up_to(99)) == b"x" * 31
    line = b"A: " + b"x" * 40_000 + b"\r\n"
    assert asyncio.run(request(chunked, last_chunk(line)).body.up_to(9)) == b""
    with pytest.raises(ConnectionLostError, match="trailers are too long"):
        asyncio.run(request(chunked, last_chunk(line * 2)).body.up_to(9))


def test_a_body_without_a_length_ends_with_its_connection_and_one_with_a_length_does_not() -> None:
    found = response(200, b"", b"abc")
    assert asyncio.run(found.body.up_to(9)) == b"abc"
    assert (found.body.whole, found.body.taken) == (True, 3)
    cut = response(200, b"Content-Length: 4\r\n", b"abc")
    with pytest.raises(ConnectionLostError, match="the upstream closed the connection"):
        asyncio.run(cut.body.up_to(9))
    assert (cut.body.whole, cut.body.taken) == (False, 3)
    followed = response(200, b"Content-Length: 3\r\n", b"abcnext")
    assert asyncio.run(followed.body.up_to(9)) == b"abc"
    assert followed.body.whole


def test_other_versions_and_protocols_are_refused() -> None:
    old = _fed(b"GET http://h/b/k HTTP/1.0\r\nHost: h\r\n\r\n")
    with pytest.raises(ConnectionLostError, match=r"sent HTTP/1\.0, which is not supported"):
        asyncio.run(read_request(old))
    with pytest.raises(ConnectionLostError, match="a tunnel or another protocol"):
        request(b"Connection: Upgrade\r\nUpgrade: h2c\r\n")


def test_a_beginning_of_a_body_is_longer_than_the_limit() -> None:
    body = b"".join(map(chunk_of, (b"abc", b"def", b"ghi"))) + last_chunk()
    for limit, beginning in ((2, b"abc"), (3, b"abcdef"), (9, b"abcdefghi")):
        found = request(b"Transfer-Encoding: chunked\r\n", body)
        assert asyncio.run(found.body.up_to(limit)) == beginning
