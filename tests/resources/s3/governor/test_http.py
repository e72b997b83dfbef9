"""HTTP through a governor, byte for byte: bodies of every framing, ranges, keys, pipelines, what is no HTTP."""

from collections.abc import Iterator

import pytest

from tests.fakes.misbehaving_upstream import Upstream, Wire, answer, error, reset, upstream
from tests.worlds.governor import Governor, Raw, ask, governor

HOST = b"Host: s3.test.invalid\r\n"
AT = "http://s3.test.invalid"
MIB = 1 << 20
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BEGUN = b" http://s3.test.invalid/b/k HTTP/1.1\r\nHost: s3.test.invalid\r\n"
NO_KEY = b"<Error><Code>NoSuchKey</Code></Error>"


@pytest.fixture(scope="module")
def s3() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture(scope="module")
def gate(s3: Upstream) -> Iterator[Governor]:
    with governor(s3.url) as found:
        yield found


def _chunks(*parts: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailers + b"\r\n"


@pytest.mark.parametrize(
    "target",
    [b"/b/a%2Fc/k%20x%2By+z%C3%A9?x=%2F&y=a+b", b"/b//k", b"/b/.././k%7E~", b"/?list-type=2&prefix=a%2F", b"/b/%0Ak"],
)  # fmt: skip
def test_targets_and_headers_arrive_as_they_were_sent(gate: Governor, s3: Upstream, target: bytes) -> None:
    s3.will(answer())
    lines = (
        HOST
        + b"X-Amz-Meta-A:  two  words \r\nx-AMZ-date: now\r\nAuthorization: AWS4 x, y\r\nX-Twice: 1\r\nX-Twice: 2\r\n"
    )
    with Raw(gate.port) as client:
        client.send(
            b"GET http://s3.test.invalid%b HTTP/1.1\r\n%bTE: x\r\nConnection: keep-alive\r\n\r\n" % (target, lines)
        )
        assert client.answer().status == 200
    sent = [line.split(b":", 1) for line in lines.split(b"\r\n") if line]
    found = [line.split(b":", 1) for line in s3.seen[0].head.split(b"\r\n")[1:] if line]
    assert s3.seen[0].target == target
    assert [(name, value.strip()) for name, value in found] == [(name, value.strip()) for name, value in sent]


@pytest.mark.parametrize(
    ("rest", "target"),
    [(b"", b"/"), (b"/", b"/"), (b"?list-type=2", b"/?list-type=2"), (b"?prefix=a/b", b"/?prefix=a/b")],
)
def test_an_address_without_a_path_means_the_root(gate: Governor, s3: Upstream, rest: bytes, target: bytes) -> None:
    s3.will(answer())
    with Raw(gate.port) as client:
        client.send(b"GET http://b.s3.test.invalid%b HTTP/1.1\r\nHost: b.s3.test.invalid\r\n\r\n" % rest).answer()
    assert s3.seen[0].target == target


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 3 * MIB])
def test_bodies_of_known_length_arrive_whole(gate: Governor, s3: Upstream, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    s3.will(answer(200, body[::-1]))
    found = ask(gate.port, "PUT", f"{AT}/b/k", body)
    assert (found.status, found.body == body[::-1]) == (200, True)
    assert s3.seen[0].body == body
    assert s3.seen[0].headers[b"content-length"] == b"%d" % size


@pytest.mark.parametrize("trailers", [b"", b"X-Sum: abc\r\nX-More: d\r\n"])
@pytest.mark.parametrize("parts", [[b"hello", b" world"], [b"x" * MIB] * 3, []])
def test_chunked_bodies_arrive_chunked_with_their_trailers(
    gate: Governor, s3: Upstream, parts: list[bytes], trailers: bytes
) -> None:
    s3.will(answer())
    with Raw(gate.port) as client:
        client.send(b"PUT http://s3.test.invalid/b/k HTTP/1.1\r\n", HOST, b"Transfer-Encoding: chunked\r\n\r\n")
        client.send(_chunks(*parts, trailers=trailers))
        assert client.answer().status == 200
        client.send(b"GET http://s3.test.invalid/b/k HTTP/1.1\r\n", HOST, b"\r\n")
        assert client.answer().status == 200  # the connection is in step
    arrived, head = s3.seen[0].body, s3.seen[0].head
    assert b"Transfer-Encoding: chunked" in head
    assert b"X-Sum" not in head
    whole, rest = b"", arrived
    while (size := int(rest.partition(b"\r\n")[0], 16)) > 0:
        rest = rest.partition(b"\r\n")[2]
        whole, rest = whole + rest[:size], rest[size + 2 :]
    assert whole == b"".join(parts)
    assert rest == b"0\r\n" + trailers + b"\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "method", "expected"),
    [
        (answer(206, b"part", Content_Range="bytes 0-3/9"), 206, "GET", b"part"),
        (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, "GET", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "GET", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, "DELETE", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7000000\r\n\r\n", 200, "HEAD", b""),
        (CHUNKED + _chunks(b"a", b"b", trailers=b"X-T: 1\r\n"), 200, "GET", b"ab"),
        (CHUNKED + _chunks(b"a" * MIB, b"b"), 200, "GET", b"a" * MIB + b"b"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(200, b"x"), 200, "GET", b"x"),
        (answer(404, NO_KEY), 404, "GET", NO_KEY),
    ],
)  # fmt: skip
def test_answers_arrive_as_they_were_given_and_connections_are_kept(
    gate: Governor, s3: Upstream, sent: bytes, status: int, method: str, expected: bytes
) -> None:
    s3.will(sent, answer(200, b"next"))
    request = b"http://s3.test.invalid/b/k HTTP/1.1\r\n" + HOST + b"\r\n"
    with Raw(gate.port) as client:
        found = client.send(method.encode(), b" ", request).answer(method)
        assert (found.status, found.body) == (status, expected)
        assert "x-t" not in found.headers
        assert client.send(b"GET ", request).answer().body == b"next"
    if method == "HEAD":
        assert found.headers["content-length"] == "7000000"


def test_an_answer_that_ends_with_its_connection_is_framed_for_the_client(gate: Governor, s3: Upstream) -> None:
    def close(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        raise EOFError

    s3.will(close)
    assert ask(gate.port, "GET", f"{AT}/b/k").body == b"all of it"


def test_more_than_was_announced_never_reaches_a_client(gate: Governor, s3: Upstream) -> None:
    def too_much(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n")
        wire.send(b"a" * 3_000_000 + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")

    s3.will(too_much, answer(200, b"good"))
    with Raw(gate.port) as client:
        request = b"GET http://s3.test.invalid/b/k HTTP/1.1\r\n" + HOST + b"\r\n"
        assert client.send(request).answer().body == b"a" * 3_000_000
        assert client.send(request).answer().body == b"good"


def test_pipelined_requests_are_answered_in_order(gate: Governor, s3: Upstream) -> None:
    s3.will(lambda wire: wire.send(answer(200, s3.seen[-1].target)))
    with Raw(gate.port) as client:
        client.send(
            *(
                b"PUT http://s3.test.invalid/b/%d HTTP/1.1\r\n%bContent-Length: 3\r\n\r\nabc" % (n, HOST)
                for n in range(300)
            )
        )
        assert [client.answer().body for _ in range(300)] == [b"/b/%d" % n for n in range(300)]


def test_a_large_body_is_asked_for_only_when_s3_wants_it(gate: Governor, s3: Upstream) -> None:
    s3.will(error(403, "AccessDenied"), early={0: error(403, "AccessDenied")})
    with Raw(gate.port) as client:
        client.send(
            b"PUT http://s3.test.invalid/b/k HTTP/1.1\r\n%bContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n"
            % HOST
        )
        found = client.answer()
        assert (found.status, found.headers["connection"]) == (403, "close")
    s3.will(answer())
    with Raw(gate.port) as client:
        client.send(
            b"PUT http://s3.test.invalid/b/k HTTP/1.1\r\n%bContent-Length: 2000000\r\nExpect: 100-continue\r\n\r\n"
            % HOST
        )
        assert client.some() == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.send(bytes(2_000_000)).answer().status == 200
    assert len(s3.seen[0].body) == 2_000_000


@pytest.mark.parametrize(
    "bad",
    [
        b"nonsense\r\n\r\n",
        b"GET http://s3.test.invalid/b/k HTTP/1.0\r\nHost: s3.test.invalid\r\n\r\n",
        b"PUT" + BEGUN + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        b"PUT" + BEGUN + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT" + BEGUN + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"PUT" + BEGUN + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET" + BEGUN + b"Host: example.com\r\n\r\n",
        b"GET" + BEGUN + b"X: a\r\n Y: b\r\n\r\n",
        b"GET" + BEGUN + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET" + BEGUN + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(gate: Governor, s3: Upstream, bad: bytes) -> None:
    s3.will(answer())
    with Raw(gate.port) as client:
        told = client.send(bad).rest()
    assert told.startswith(b"HTTP/1.1 400 ")
    assert told.count(b"HTTP/1.1") == 1
    assert [seen for seen in s3.seen if b"Upgrade" not in seen.head] == []


def test_what_follows_a_good_request_does_not_spoil_its_answer(gate: Governor, s3: Upstream) -> None:
    s3.will(answer(200, b"good"))
    for more in (b"Connection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n", b"\r\nnonsense\r\n\r\n"):
        with Raw(gate.port) as client:
            client.send(b"GET http://s3.test.invalid/b/k HTTP/1.1\r\n", HOST, more)
            assert client.answer().body == b"good"
            assert client.rest() == b""


def test_a_key_with_line_ends_writes_no_header(s3: Upstream) -> None:
    s3.will(reset)
    with governor(s3.url, "--deadline", "0.05") as found:
        told = ask(found.port, "GET", f"{AT}/b/k%0D%0AX-Evil:%20yes%00%1F")
        head = ask(found.port, "HEAD", f"{AT}/b/k%0D%0AX-Evil:%20yes")
    assert told.status == head.status == 500
    assert "x-evil" not in {**told.headers, **head.headers}
    assert "\0" not in told.text
    assert "s3://b/k??X-Evil: yes" in head.headers["x-amz-error-message"]
