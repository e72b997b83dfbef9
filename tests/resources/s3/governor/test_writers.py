"""Writes beside other writers, and beside themselves: who is told of success, and what is not sent twice."""

from collections.abc import Iterator

import pytest

from resources.s3.governor.s3_request import HostRefusedError, bucket_of_host
from tests.fakes.misbehaving_upstream import Upstream, answer, error, hang, reset, upstream
from tests.worlds.governor import Governor, Raw, ask, governor, until

LOCK = b"held"
TAKEN = error(412, "PreconditionFailed")
HELD = answer(200, LOCK, ETag='"kms"')
SLOW_DOWN = error(503, "SlowDown")
INVOCATION = {"If-None-Match": "*", "amz-sdk-invocation-id": "one call"}
ADDRESS = "http://s3.test.invalid/b/{}/lock"


@pytest.fixture(scope="module")
def s3() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture(scope="module")
def gate(s3: Upstream) -> Iterator[Governor]:
    with governor(s3.url, "--deadline", "3") as found:
        yield found


def put(gate: Governor, name: str, **headers: str) -> int:
    return ask(gate.port, "PUT", ADDRESS.format(name), LOCK, headers or {"If-None-Match": "*"}).status


def abandon(gate: Governor, s3: Upstream, name: str, headers: dict[str, str]) -> None:
    """Send a put that S3 applies and whose client does not wait for the answer."""
    s3.will(hang)
    lines = "".join(f"{field}: {value}\r\n" for field, value in headers.items())
    with Raw(gate.port) as client:
        head = f"PUT {ADDRESS.format(name)} HTTP/1.1\r\nHost: s3.test.invalid\r\n{lines}Content-Length: {len(LOCK)}"
        client.send(head.encode(), b"\r\n\r\n", LOCK)
        until(lambda: bool(s3.seen), 10)
    until(lambda: gate.counts().get(("b", name, "write"), {"requests": 0})["requests"] == 1, 10)


def test_the_same_call_of_an_sdk_is_recognised_again(gate: Governor, s3: Upstream) -> None:
    abandon(gate, s3, "sdk", INVOCATION)
    s3.will(TAKEN, HELD)
    assert put(gate, "sdk", **INVOCATION) == 200


def test_what_another_client_left_is_not_mine_though_it_is_equal(gate: Governor, s3: Upstream) -> None:
    abandon(gate, s3, "other", {"If-None-Match": "*"})
    s3.will(TAKEN, HELD)
    assert put(gate, "other") == 412
    abandon(gate, s3, "other-sdk", INVOCATION)
    s3.will(TAKEN, HELD)
    assert put(gate, "other-sdk", **{**INVOCATION, "amz-sdk-invocation-id": "another call"}) == 412


def test_of_equal_writers_one_is_told_that_it_won(gate: Governor, s3: Upstream) -> None:
    s3.will(answer(200))
    assert put(gate, "race") == 200
    s3.will(reset, TAKEN, HELD)
    assert put(gate, "race") == 412


def test_who_takes_a_lock_anew_wins_again(gate: Governor, s3: Upstream) -> None:
    for _ in range(2):
        s3.will(reset, TAKEN, HELD)
        assert put(gate, "anew") == 200
        s3.will(answer(204))
        assert ask(gate.port, "DELETE", ADDRESS.format("anew")).status == 204


def test_the_question_what_is_there_is_repeated_under_limits(gate: Governor, s3: Upstream) -> None:
    s3.will(reset, TAKEN, SLOW_DOWN, error(500, "InternalError"), reset, HELD)
    assert put(gate, "limited") == 200


def test_a_write_under_way_is_not_written_beside_itself(s3: Upstream) -> None:
    with governor(s3.url, "--deadline", "0.5") as brief:
        s3.will(hang)
        assert put(brief, "slow", Plain="1") == 500
        assert len(s3.seen) == 1
        s3.will(hang)
        assert ask(brief.port, "GET", ADDRESS.format("slow")).status == 500
        assert len(s3.seen) > 1


@pytest.mark.parametrize("host", ["169.254.169.254", "169.254.170.23", "[fe80::1]", "metadata.google.internal"])
def test_what_serves_a_machines_credentials_is_no_s3(host: str) -> None:
    with pytest.raises(HostRefusedError, match="not to"):
        bucket_of_host(host, "127.0.0.1")


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost", "s3.evil.example", "b.s3.evil.example"])
def test_an_upstream_with_a_name_is_asked_for_by_that_name_alone(host: str) -> None:
    with pytest.raises(HostRefusedError, match=r"s3\.eu-west-1\.amazonaws\.com only"):
        bucket_of_host(host, "s3.eu-west-1.amazonaws.com")
