"""What a governor repeats unseen, what it leaves to the client, and what it says when it gives up."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.misbehaving_upstream import Action, Upstream, Wire, answer, error, hang, reset, upstream
from tests.worlds.governor import Governor, Raw, ask, governor

AT = "http://s3.test.invalid"
COPY = {"x-amz-copy-source": "/b/from"}
LARGE = bytes(3_000_000)
GOOD = answer(200, b"good")
IN_200 = answer(200, b'<?xml version="1.0"?>\n<Error><Code>InternalError</Code><Message>No.</Message></Error>')
PER_KEY = answer(200, b"<DeleteResult><Deleted/><Error><Key>a/2</Key><Code>SlowDown</Code></Error></DeleteResult>")


def _half(wire: Wire) -> None:
    wire.send(answer(200, bytes(500_000))[:250_000])
    reset(wire)


def _close_early(wire: Wire) -> None:
    wire.send(answer(200, bytes(500_000))[:250_000])
    raise EOFError


@pytest.fixture(scope="module")
def s3() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture(scope="module")
def gate(s3: Upstream) -> Iterator[Governor]:
    with governor(s3.url, "--deadline", "3") as found:
        yield found


@pytest.mark.parametrize(
    ("method", "target", "body", "headers", "failures"),
    [
        ("GET", "/b/k", b"", {}, [error(503, "SlowDown")]),
        ("GET", "/b/k", b"", {}, [error(500, "InternalError"), error(500, "InternalError")]),
        ("GET", "/b/k", b"", {}, [answer(502), answer(504), answer(429)]),
        ("GET", "/b/k", b"", {}, [error(400, "RequestTimeout")]),
        ("HEAD", "/b/k", b"", {}, [b"HTTP/1.1 503 X\r\nContent-Length: 90\r\nConnection: close\r\n\r\n"]),
        ("GET", "/b/k", b"", {}, [reset, reset]),
        ("GET", "/b/k", b"", {}, [_half, _close_early]),
        ("GET", "/b/k", b"", {}, [lambda wire: wire.send(b"no HTTP\r\n\r\n")]),
        ("GET", "/b/k", b"", {}, [hang]),
        ("PUT", "/b/k", b"abc", {}, [reset, error(500, "InternalError"), error(503, "SlowDown")]),
        ("PUT", "/b/k", bytes(1 << 20), {}, [reset]),
        ("PUT", "/b/k", b"", {}, [reset]),
        ("DELETE", "/b/k", b"", {}, [reset]),
        ("PUT", "/b/k", b"", COPY, [IN_200]),
        ("POST", "/b/k?uploadId=u", b"<x/>", {}, [IN_200, error(500, "InternalError"), error(503, "SlowDown")]),
        ("POST", "/b?delete", b"<Delete><Key>a/1</Key><Key>a/2</Key></Delete>", {}, [PER_KEY]),
    ],
)
def test_failures_are_repeated_unseen(
    gate: Governor, s3: Upstream, method: str, target: str, body: bytes, headers: dict[str, str], failures: list[Action]
) -> None:
    s3.will(*failures, GOOD if method != "HEAD" else b"HTTP/1.1 200 X\r\nContent-Length: 4\r\n\r\n")
    found = ask(gate.port, method, AT + target, body, headers)
    assert (found.status, found.body) == (200, b"good" if method != "HEAD" else b"")
    assert len(s3.seen) == len(failures) + 1
    assert {seen.body for seen in s3.seen} == {body}
    assert len({seen.head for seen in s3.seen}) == 1


@pytest.mark.parametrize("early", [[error(503, "SlowDown")], [reset], [error(500, "InternalError"), reset]])
@pytest.mark.parametrize("expects", [True, False])
def test_a_large_body_that_s3_did_not_take_is_repeated_unseen(
    gate: Governor, s3: Upstream, early: list[Action], expects: bool
) -> None:
    s3.will(GOOD, early=dict(enumerate(early)))
    found = ask(gate.port, "PUT", f"{AT}/b/k", LARGE, {"Expect": "100-continue"} if expects else {})
    assert (found.status, found.body) == (200, b"good")
    assert s3.seen[-1].body == LARGE
    assert len(s3.seen) == len(early) + 1


def test_a_large_body_that_was_lost_halfway_is_left_to_the_client(gate: Governor, s3: Upstream) -> None:
    def lose(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        wire.exactly(1_000_000)
        reset(wire)

    s3.will(GOOD, early={0: lose})
    with Raw(gate.port) as client:
        client.send(
            f"PUT {AT}/b/k HTTP/1.1\r\nHost: s3.test.invalid\r\nContent-Length: {len(LARGE)}\r\n\r\n".encode(), LARGE
        )
        found = client.answer()
    assert (found.status, found.headers["x-amz-error-code"]) == (500, "InternalError")
    assert "PutObject s3://b/k 1 times" in found.text
    assert len(s3.seen) == 1


@pytest.mark.parametrize("framing", [b"Content-Length: 6000000\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_large_download_that_was_cut_off_is_never_taken_for_whole(
    gate: Governor, s3: Upstream, framing: bytes
) -> None:
    def cut(wire: Wire) -> None:
        wire.send(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + (b"5b8d80\r\n" if b"chunked" in framing else b""))
        wire.send(bytes(3_000_000))
        reset(wire)

    s3.will(cut)
    with Raw(gate.port) as client:
        client.send(f"GET {AT}/b/k HTTP/1.1\r\nHost: s3.test.invalid\r\n\r\n".encode())
        with pytest.raises(Exception, match=r"IncompleteRead|reset by peer"):
            client.answer()


@pytest.mark.parametrize(
    ("refusal", "status"),
    [(error(404, "NoSuchKey"), 404), (error(403, "AccessDenied"), 403), (error(412, "PreconditionFailed"), 412),
     (answer(301), 301), (error(409, "ConditionalRequestConflict"), 409), (error(501, "NotImplemented"), 501)],
)  # fmt: skip
def test_what_no_repetition_changes_is_passed_on_at_once(
    gate: Governor, s3: Upstream, refusal: bytes, status: int
) -> None:
    s3.will(refusal)
    assert ask(gate.port, "PUT", f"{AT}/b/k", b"x", {"If-None-Match": "*"}).status == status
    assert len(s3.seen) == 1


def test_an_error_in_a_200_that_no_repetition_changes_is_passed_on(gate: Governor, s3: Upstream) -> None:
    s3.will(answer(200, b"<Error><Code>InvalidPart</Code></Error>"))
    assert b"InvalidPart" in ask(gate.port, "POST", f"{AT}/b/k?uploadId=u", b"<x/>").body
    assert len(s3.seen) == 1


@pytest.mark.parametrize(
    ("action", "status", "code", "ending"),
    [
        (error(503, "SlowDown", "Please reduce.", "ID7"), 503, "SlowDown", "ended with SlowDown, request id ID7."),
        (error(500, "InternalError", "Oh.", "ID8"), 500, "InternalError", "with InternalError, request id ID8."),
        (reset, 500, "InternalError", "Connection reset by peer"),
        (hang, 500, "InternalError", "the last ended with no answer within"),
    ],
)  # fmt: skip
def test_giving_up_says_what_was_tried(s3: Upstream, action: Action, status: int, code: str, ending: str) -> None:
    s3.will(action)
    with governor(s3.url, "--deadline", "0.6", "--depth", "1") as found:
        told = ask(found.port, "PUT", f"{AT}/b/year/month/k", b"x")
        head = ask(found.port, "HEAD", f"{AT}/b/year/month/k")
        counts = found.counts()["b", "year", "write"]
    pattern = (
        r"Cippus' request governor tried PutObject s3://b/year/month/k \d+ times in \d\.\d s, \d\.\d s of which it "
        r"waited for its turn: prefix year is held to \d+\.\d writes/s; "
    )
    assert (told.status, told.headers["x-amz-error-code"]) == (status, code)
    assert re.search(pattern + ".*" + re.escape(ending), told.text.replace("&apos;", "'")), told.text
    assert re.search(pattern + ".*" + re.escape(ending), told.headers["x-amz-error-message"])
    assert "HeadObject s3://b/year/month/k" in head.headers["x-amz-error-message"]
    assert (head.status, head.body) == (status, b"")
    assert (counts["requests"], counts["given_up"]) == (1, 1)
    assert counts["attempts"] == int(re.findall(r"(\d+) times", told.text)[0])
    assert counts["attempts"] <= len(s3.seen)


def test_an_upstream_that_is_not_there_is_named(tmp_path: Path) -> None:
    with governor("http://127.0.0.1:9", "--deadline", "0.5") as found:
        told = ask(found.port, "GET", f"{AT}/b/k")
    assert told.status == 500
    assert "no connection to 127.0.0.1:9" in told.text


def test_a_request_ends_by_its_deadline_whatever_it_meets(s3: Upstream) -> None:
    s3.will(hang)
    with governor(s3.url, "--deadline", "0.5") as found:
        began = time.monotonic()
        assert ask(found.port, "GET", f"{AT}/b/k").status == 500
        took = time.monotonic() - began
    assert took < 10  # and not the minute that a hanging upstream would take


def test_what_waits_for_its_turn_longer_than_its_deadline_is_given_up(s3: Upstream) -> None:
    s3.will(GOOD)
    with governor(s3.url, "--deadline", "0.3", "--max-writes", "0.5") as found:
        assert ask(found.port, "PUT", f"{AT}/b/k", b"x").status == 200
        told = ask(found.port, "PUT", f"{AT}/b/k", b"x")
    assert told.status == 503
    assert "0 times" in told.text
    assert "no slot was free before the deadline" in told.text
    assert len(s3.seen) == 1


def test_a_large_body_that_s3_had_and_failed_on_is_left_to_the_client(gate: Governor, s3: Upstream) -> None:
    s3.will(error(500, "InternalError"), GOOD)
    assert ask(gate.port, "PUT", f"{AT}/b/k", LARGE).status == 500
    assert len(s3.seen) == 1
