"""Writes whose answer was lost are applied and answered once: conditional puts, completions, witnesses."""

import base64
import hashlib
import itertools
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.fakes.misbehaving_upstream import Action, Upstream, answer, error, hang, reset, upstream
from tests.worlds.governor import Governor, Raw, Reply, ask, governor, until

MINE, OTHER = b'{"commit":"mine"}', b'{"commit":"other"}'
REFUSED = error(412, "PreconditionFailed", request_id="ID412")
HEAD = "PUT {} HTTP/1.1\r\nHost: s3.test.invalid\r\nIf-None-Match: *\r\nContent-Length: {}\r\n\r\n"
GONE = error(404, "NoSuchUpload")
PARTS = "".join(f"<Part><ETag>&quot;{hashlib.md5(part).hexdigest()}&quot;</ETag></Part>" for part in (b"one", b"two"))  # noqa: S324
COMPLETION = f"<CompleteMultipartUpload>{PARTS}</CompleteMultipartUpload>".encode()
WHOLE = hashlib.md5(hashlib.md5(b"one").digest() + hashlib.md5(b"two").digest()).hexdigest() + "-2"  # noqa: S324


def _md5(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'  # noqa: S324


def _object(body: bytes, etag: str = "") -> bytes:
    return answer(200, body, ETag=etag or _md5(body))


def _put(gate: Governor, body: bytes = MINE, **condition: str) -> Reply:
    return ask(gate.port, "PUT", Table.address(), body, condition or {"If-None-Match": "*"})


class Table:
    """The test's own: a governor remembers doubts by key and content."""

    numbers = itertools.count()
    name = ""

    @classmethod
    def address(cls) -> str:
        return f"http://s3.test.invalid/b/{cls.name}/1.json"


@pytest.fixture(autouse=True)
def _own_table() -> None:
    Table.name = f"t{next(Table.numbers)}"


@pytest.fixture(scope="module")
def s3() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture(scope="module")
def gate(s3: Upstream) -> Iterator[Governor]:
    with governor(s3.url, "--deadline", "2") as found:
        yield found


@contextmanager
def _witness(gate: Governor, *told: Any) -> Iterator[list[dict[str, Any]]]:
    """Answers one question after the other; the questions."""
    asked: list[dict[str, Any]] = []

    def testify() -> None:
        for testimony in told:
            question = None
            while question is None:
                question = json.loads(gate.admin("/witness").body)
            asked.append(question)
            text = testimony if isinstance(testimony, bytes) else json.dumps(testimony).encode()
            gate.admin(f"/witness/{question['number']}", "POST", text)

    thread = threading.Thread(target=testify, daemon=True)
    thread.start()
    until(lambda: gate.status()["witnesses"] > 0, 20)
    yield asked
    thread.join(5)
    assert not thread.is_alive(), "a question was not asked"


@pytest.mark.parametrize("condition", [{"If-None-Match": "*"}, {"If-Match": '"old"'}])
@pytest.mark.parametrize("lost", [reset, hang, error(500, "InternalError")])
@pytest.mark.parametrize(("there", "status"), [(MINE, 200), (OTHER, 412)])
def test_a_put_that_anybody_may_read_is_resolved_by_its_content(
    gate: Governor, s3: Upstream, condition: dict[str, str], lost: Action, there: bytes, status: int
) -> None:
    s3.will(lost, REFUSED, _object(there))
    found = _put(gate, MINE, **condition)
    assert found.status == status
    assert [seen.head.split(b" ")[0] for seen in s3.seen] == [b"PUT", b"PUT", b"GET"]
    assert b"authorization" not in s3.seen[2].headers
    if status == 200:
        assert found.headers["etag"] == _md5(MINE)


def test_what_nobody_can_say_is_in_doubt_and_stays_so(gate: Governor, s3: Upstream) -> None:
    s3.will(reset, REFUSED, error(403, "AccessDenied"))
    found = _put(gate)
    assert (found.status, found.headers["x-amz-error-code"]) == (400, "WriteInDoubt")
    for part in (f"PutObject s3://b/{Table.name}/1.json 2 times", "may be yours or another writer", "ID412"):
        assert part in found.text
    s3.will(REFUSED, error(403, "AccessDenied"))
    assert _put(gate).headers["x-amz-error-code"] == "WriteInDoubt"  # the client's own repetition
    s3.will(REFUSED)
    assert _put(gate, OTHER).status == 412  # another write is refused as it should be
    assert gate.counts()["b", Table.name, "write"]["in_doubt"] == 2


def test_a_clients_own_repetition_after_giving_up_finds_its_write(gate: Governor, s3: Upstream) -> None:
    s3.will(reset)
    assert _put(gate).status == 500
    s3.will(REFUSED, _object(MINE))
    assert _put(gate).status == 200
    s3.will(REFUSED)
    assert _put(gate).status == 412  # and it is settled by then


@pytest.mark.parametrize(
    ("there", "status"),
    [(f'"{WHOLE}"', 200), (f'"{"a" * 32}-3"', 404), (f'"{"a" * 32}-2"', 400), ("", 404)],
)
def test_a_completion_is_resolved_by_its_parts(gate: Governor, s3: Upstream, there: str, status: int) -> None:
    s3.will(reset, GONE, answer(200, b"onetwo", ETag=there) if there else error(404, "NoSuchKey"))
    found = ask(gate.port, "POST", f"{Table.address()}?uploadId=u", COMPLETION)
    assert found.status == status
    if status == 200:
        assert f'<ETag>"{WHOLE}"</ETag>' in found.text.replace("&quot;", '"')


def test_a_plain_put_is_simply_repeated(gate: Governor, s3: Upstream) -> None:
    s3.will(reset, answer(200))
    assert ask(gate.port, "PUT", Table.address(), MINE).status == 200
    assert len(s3.seen) == 2


def test_a_conditional_put_too_large_to_keep_is_in_doubt_once_s3_had_it(gate: Governor, s3: Upstream) -> None:
    s3.will(reset)
    found = _put(gate, bytes(17 << 20))
    assert (found.status, found.headers["x-amz-error-code"]) == (400, "WriteInDoubt")
    assert "too large to be kept" in found.text


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"etag": _md5(MINE)}, 200),
        ({"etag": _md5(OTHER)}, 400),  # without the content a tag that is no hash of it shows nothing
        ({"etag": _md5(OTHER), "sha256": hashlib.sha256(OTHER).hexdigest()}, 412),
        ({"etag": '"kms"', "sha256": hashlib.sha256(MINE).hexdigest()}, 200),
        ({"etag": '"kms"', "sha256": hashlib.sha256(OTHER).hexdigest()}, 412),
        ({"etag": ""}, 412),
        (None, 400),
    ],
)
def test_a_witness_resolves_what_takes_credentials(
    gate: Governor, s3: Upstream, told: dict[str, str] | None, status: int
) -> None:
    s3.will(reset, REFUSED, error(403, "AccessDenied"))
    with _witness(gate, told) as asked:
        assert _put(gate).status == status
    assert [(question["bucket"], question["key"]) for question in asked] == [("b", f"{Table.name}/1.json")]


def test_a_commit_above_what_is_kept_of_others_is_resolved_too(gate: Governor, s3: Upstream) -> None:
    large = bytes(3_000_000)
    s3.will(reset, REFUSED, error(403, "AccessDenied"))
    with _witness(gate, {"etag": _md5(large)}):
        assert _put(gate, large).status == 200


@pytest.mark.parametrize(
    "told", [b"", b"[]", b"{}", b"{", b"7", b'"x"', b'{"etag":null}', b'{"etag":1}', b'{"etag":"x","sha256":null}',
             b"[" * 4000, b'{"etag":"' + b"x" * 9000 + b'"}', b"\xff"],
)  # fmt: skip
def test_damaged_testimonies_are_refused(gate: Governor, told: bytes) -> None:
    assert gate.admin("/witness/1", "POST", told).status == 400


def test_only_questions_are_answered(gate: Governor) -> None:
    assert gate.admin("/witness/99", "POST", b"null").status == 200  # came too late
    for method, path in (("POST", "/witness"), ("POST", "/witness/x"), ("POST", "/witness/%B2"), ("GET", "/witness/1")):
        assert gate.admin(path, method, b"null").status == 405
    with Raw(gate.port) as client:
        known = base64.b64encode(b"test:").decode()
        client.send(b"POST /witness/\xb2 HTTP/1.1\r\nAuthorization: Basic %b\r\n\r\n" % known.encode())
        assert client.answer().status in {400, 405}


def test_a_witness_that_damages_its_testimony_leaves_the_write_in_doubt(gate: Governor, s3: Upstream) -> None:
    s3.will(reset, REFUSED, error(403, "AccessDenied"))
    with _witness(gate, b"{"):
        assert _put(gate).status == 400


def test_two_doubts_at_once_are_both_resolved_by_one_witness_and_one_wins(gate: Governor, s3: Upstream) -> None:
    s3.will(reset, reset, REFUSED, REFUSED, error(403, "AccessDenied"))
    found: list[int] = []
    with _witness(gate, {"etag": _md5(MINE)}, {"etag": _md5(MINE)}):
        threads = [threading.Thread(target=lambda: found.append(_put(gate).status)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(found) == [200, 412]  # they write the same, and an object is one writer's


def test_a_question_waits_for_a_witness_that_is_busy(gate: Governor, s3: Upstream) -> None:
    s3.will(reset, REFUSED, reset, REFUSED, error(403, "AccessDenied"))
    with ThreadPoolExecutor() as pool:
        polled = pool.submit(gate.admin, "/witness")
        until(lambda: gate.status()["witnesses"] > 0, 20)
        first = pool.submit(_put, gate)
        question = json.loads(polled.result().body)
        second = pool.submit(_put, gate, OTHER)
        until(lambda: len(s3.seen) >= 4, 20)
        gate.admin(f"/witness/{question['number']}", "POST", json.dumps({"etag": _md5(MINE)}).encode())
        question = json.loads(gate.admin("/witness").body)
        gate.admin(f"/witness/{question['number']}", "POST", json.dumps({"etag": _md5(OTHER)}).encode())
        assert (first.result().status, second.result().status) == (200, 200)
