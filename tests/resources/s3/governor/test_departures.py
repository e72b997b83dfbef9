"""Clients that go away, stall or read slowly: their slots are free again, and a governor's memory stays bounded."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.misbehaving_upstream import Upstream, Wire, answer, hang, upstream
from tests.worlds.governor import SECONDS, Governor, Raw, ask, governor, until

AT = "http://s3.test.invalid"
PUT = b"PUT http://s3.test.invalid/b/a/k HTTP/1.1\r\nHost: s3.test.invalid\r\nContent-Length: "
GET = b"GET http://s3.test.invalid/b/a/k HTTP/1.1\r\nHost: s3.test.invalid\r\n\r\n"
MIB = 1 << 20
LARGE = 100 * MIB


def _limits(gate: Governor) -> list[tuple[int, int]]:
    return [(limit["queued"], limit["in_flight"]) for limit in gate.status()["limits"]]


def _nothing_is_left(gate: Governor) -> bool:
    return all(limit == (0, 0) for limit in _limits(gate))


def _resident_bytes(gate: Governor) -> int:
    text = Path(f"/proc/{gate.process.pid}/status").read_text()
    return 1024 * int(text.split("VmRSS:")[1].split()[0])


@pytest.fixture(scope="module")
def s3() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture(scope="module")
def gate(s3: Upstream) -> Iterator[Governor]:
    with governor(s3.url, "--deadline", "60") as found:
        yield found


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_the_queue_leaves_nothing(s3: Upstream, how: str) -> None:
    s3.will(answer())
    with governor(s3.url, "--deadline", "600", "--max-writes", "0.5") as found:
        ask(found.port, "PUT", f"{AT}/b/a/first", b"x")
        clients = [Raw(found.port).send(PUT, b"1\r\n\r\nx") for _ in range(20)]
        until(lambda: max(queued for queued, _ in _limits(found)) == 20)
        for client in clients:
            if how == "reset":
                client.reset()
            else:
                client.socket.close()
        until(lambda: _nothing_is_left(found))
        assert ask(found.port, "GET", f"{AT}/b/a/k").status == 200
    assert len(s3.seen) == 2


def test_a_client_that_leaves_in_flight_leaves_nothing(gate: Governor, s3: Upstream) -> None:
    s3.will(hang)
    clients = [Raw(gate.port).send(GET) for _ in range(20)]
    until(lambda: len(s3.seen) == 20)
    for client in clients:
        client.socket.close()
    until(lambda: _nothing_is_left(gate))
    s3.will(answer(200, b"later"))
    assert ask(gate.port, "GET", f"{AT}/b/a/k").body == b"later"


@pytest.mark.parametrize(
    "body", [b"1000000\r\n\r\nstart", b"3000000\r\n\r\nstart", b"3000000\r\nExpect: 100-continue\r\n\r\n"]
)
def test_a_client_that_leaves_within_its_body_leaves_nothing(gate: Governor, s3: Upstream, body: bytes) -> None:
    s3.will(answer())
    client = Raw(gate.port).send(PUT, body)
    if b"3000000" in body:
        until(lambda: bool(s3.seen))
    client.reset()
    until(lambda: _nothing_is_left(gate))
    s3.will(answer(200, b"later"))
    assert ask(gate.port, "GET", f"{AT}/b/a/k").body == b"later"


def test_a_client_that_leaves_within_its_answer_leaves_nothing(gate: Governor, s3: Upstream) -> None:
    gone: list[bool] = []

    def endless(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
        try:
            while True:
                wire.send(bytes(MIB))
        finally:
            gone.append(True)

    s3.will(endless)
    with Raw(gate.port) as client:
        client.send(GET)
        assert client.some().startswith(b"HTTP/1.1 200 ")
    until(lambda: bool(gone))
    until(lambda: _nothing_is_left(gate))


def test_slow_readers_and_slow_senders_do_not_grow_memory(gate: Governor, s3: Upstream) -> None:
    def much(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        wire.socket.settimeout(0.3)  # until nobody takes any more
        wire.send(bytes(LARGE))

    before = _resident_bytes(gate)
    s3.will(much)
    readers = [Raw(gate.port).send(GET) for _ in range(8)]
    for reader in readers:
        assert reader.some().startswith(b"HTTP/1.1 200 ")

    def take_nothing(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        wire.socket.settimeout(SECONDS)
        until(lambda: stalled)

    stalled = False
    s3.will(answer(), early=dict.fromkeys(range(8), take_nothing))
    senders = [Raw(gate.port).send(PUT, b"%d\r\n\r\n" % LARGE) for _ in range(8)]
    for sender in senders:
        sender.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):  # which says that the governor takes no more from it
            sender.socket.sendall(bytes(LARGE))
    assert _resident_bytes(gate) - before < 80 * MIB
    stalled = True
    for client in (*readers, *senders):
        client.reset()
    until(lambda: _nothing_is_left(gate))


def test_pipelined_answers_that_nobody_reads_do_not_grow_memory(gate: Governor, s3: Upstream) -> None:
    s3.will(answer(200, bytes(MIB)))
    before = _resident_bytes(gate)
    client = Raw(gate.port)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.send(GET * 200)
    until(lambda: len(s3.seen) > 1)
    for _ in range(100):  # in the time of which the others would be answered as well
        ask(gate.port, "GET", f"{AT}/b/other/k")
    assert len(s3.seen) < 200
    assert _resident_bytes(gate) - before < 50 * MIB
    client.reset()
    until(lambda: _nothing_is_left(gate))


def test_a_client_that_sends_slowly_has_its_deadline_before_it(s3: Upstream) -> None:
    s3.will(answer(503), answer(503), answer(200, b"good"))
    with governor(s3.url, "--deadline", "0.8") as found, Raw(found.port) as client:
        client.send(PUT, b"2\r\n\r\na")
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 0.9)
        assert client.send(b"b").answer().body == b"good"
