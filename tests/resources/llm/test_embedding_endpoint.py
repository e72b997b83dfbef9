"""The endpoint's client against a real HTTP server of the test's own, which misbehaves as real ones do."""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tenacity import RetryCallState, stop_after_attempt, wait_none

from resources.llm.embedder import EmbedderResource
from resources.llm.embedding_endpoint import MAX_TEXTS, AnswerShapeError, EndpointModel, Form, unit_vectors
from resources.llm.endpoint import (
    RETRY,
    Endpoint,
    EndpointSettingError,
    PermanentEndpointError,
    QuotaExhaustedError,
    RequestTooLargeError,
    TransientEndpointError,
)
from resources.models.embedder import MiniLmModel
from resources.models.tokenizer import WordPieceTokenizer

KEY = "sk-a-secret-key"
AT_ONCE = RETRY.copy(stop=stop_after_attempt(4), wait=wait_none())
Answer = tuple[int, bytes, dict[str, str]]


@dataclass
class Server:
    """What the server saw, and how it answers: ``faults`` are answers for the next requests, None a good one."""

    faults: list[Answer | None] = field(default_factory=list)
    respond: Callable[[list[str]], Any] = field(default=lambda texts: answer(texts))
    requests: list[list[str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    most_at_once: int = 0
    gate: threading.Barrier | None = None
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    under_way: int = 0

    def take(self, handler: BaseHTTPRequestHandler) -> Answer:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self.lock:
            self.requests.append(body["input"])
            self.headers.append({name.title(): value for name, value in handler.headers.items()})
            self.bodies.append({"path": handler.path, **body})
            self.under_way += 1
            self.most_at_once = max(self.most_at_once, self.under_way)
            fault = self.faults.pop(0) if self.faults else None
        if self.gate is not None:
            self.gate.wait(30)
        with self.lock:
            self.under_way -= 1
        return fault or (200, json.dumps(self.respond(body["input"])).encode(), {})


def vector(text: str) -> list[float]:
    return [float(len(text) + 1), float(text.count("a")), 3.0]


def answer(texts: list[str]) -> dict[str, Any]:
    """As real servers answer, but last first: nothing promises an order."""
    data = [{"object": "embedding", "index": index, "embedding": vector(text)} for index, text in enumerate(texts)]
    return {"object": "list", "data": data[::-1], "usage": {"total_tokens": 1}}


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status, body, headers = state.take(self)
            if status == 0:  # the connection is cut in the middle of the answer
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) + 100))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return MiniLmModel.open_tokenizer()


def model(
    server: Server,
    tokenizer: WordPieceTokenizer,
    requests: int = 2,
    tokens: int | None = None,
    form: Form | None = None,
    query: str = "",
) -> EndpointModel:
    endpoint = Endpoint(server.url + query, "BAAI/bge-small-en-v1.5", KEY)
    return EndpointModel(endpoint, tokenizer, requests=requests, request_tokens=tokens, retry=AT_ONCE, form=form)


def embed_all(found: EndpointModel, texts: list[str]) -> NDArray[np.float32]:
    vectors = np.full((len(texts), 3), np.nan, dtype=np.float32)
    for indices, batch in found.embed(texts):
        assert batch.dtype == np.float32
        assert np.isnan(vectors[indices]).all(), "an index came twice"
        vectors[indices] = batch
    return vectors


def expected(texts: list[str]) -> NDArray[np.float32]:
    raw = np.array([vector(text) for text in texts], dtype=np.float32)
    unit: NDArray[np.float32] = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return unit


TEXTS = [
    "a b",
    "",
    "aaa " * 30,
    "sun",
    "a word " * 60,
    *(f"text {number} {'a' * (number % 7)}" for number in range(95)),
]


def test_vectors_come_to_their_texts_whatever_the_order(server: Server, tokenizer: WordPieceTokenizer) -> None:
    vectors = embed_all(model(server, tokenizer, requests=4), TEXTS)
    np.testing.assert_allclose(vectors, expected(TEXTS), rtol=1e-6)
    assert sorted(text for request in server.requests for text in request) == sorted(TEXTS)


def test_requests_are_those_of_the_protocol(server: Server, tokenizer: WordPieceTokenizer) -> None:
    embed_all(model(server, tokenizer), ["one"])
    [body] = server.bodies
    assert body == {
        "path": "/v1/embeddings", "model": "BAAI/bge-small-en-v1.5", "input": ["one"], "encoding_format": "float",
    }  # fmt: skip
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_request_has_at_most_so_many_texts_and_tokens(server: Server, tokenizer: WordPieceTokenizer) -> None:
    embed_all(model(server, tokenizer, tokens=300), TEXTS)
    for request in server.requests:
        lengths = [count + 2 for count in tokenizer.token_counts(request)]
        assert len(request) <= MAX_TEXTS
        assert len(request) * max(lengths) <= 300
    server.requests.clear()
    embed_all(model(server, tokenizer), ["a"] * 100)
    assert sorted(map(len, server.requests)) == [4, 32, 32, 32]


def test_so_many_requests_are_under_way_and_never_more(server: Server, tokenizer: WordPieceTokenizer) -> None:
    server.gate = threading.Barrier(3)  # no request is answered before three are under way
    embed_all(model(server, tokenizer, requests=3), ["a"] * (MAX_TEXTS * 6))
    assert server.most_at_once == 3
    server.gate, server.most_at_once = None, 0
    embed_all(model(server, tokenizer, requests=1), ["a"] * (MAX_TEXTS * 4))
    assert server.most_at_once == 1


@pytest.mark.parametrize(
    "fault",
    [
        (429, b"slow down", {"Retry-After": "7200"}),
        (503, b"", {}),
        (500, b"oops", {}),
        (424, b"the backend failed", {}),
        (0, b'{"data": [', {}),
        (200, b"<html>restarting</html>", {}),
        (200, b'{"data": [{"index": 0, "embed', {}),
        (200, b"no gzip", {"Content-Encoding": "gzip"}),
        (520, b"unknown error", {}),
        (524, b"a timeout occurred", {}),
    ],
)
def test_what_may_pass_is_tried_again(server: Server, tokenizer: WordPieceTokenizer, fault: Answer) -> None:
    server.faults = [fault, fault, fault]
    np.testing.assert_allclose(embed_all(model(server, tokenizer), ["a b"]), expected(["a b"]), rtol=1e-6)
    assert server.requests == [["a b"]] * 4


def test_what_does_not_pass_is_given_up_after_its_attempts(server: Server, tokenizer: WordPieceTokenizer) -> None:
    server.faults = [(503, b"overloaded", {})] * 9
    message = r"/v1/embeddings answered 503 .* for BAAI/bge-small-en-v1.5: 'overloaded'\. It was tried 4 times\.$"
    with pytest.raises(TransientEndpointError, match=message):
        embed_all(model(server, tokenizer), ["a b"])
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 422, 501])
def test_what_stays_wrong_is_tried_once(server: Server, tokenizer: WordPieceTokenizer, status: int) -> None:
    server.faults = [(status, f"no: {KEY} is wrong".encode(), {"Location": "/v1/elsewhere"})] * 9
    with pytest.raises(PermanentEndpointError, match=f"answered {status} .*'no: .key. is wrong'") as raised:
        embed_all(model(server, tokenizer, requests=1), ["a"] * (MAX_TEXTS * 5))
    assert KEY not in str(raised.value)
    assert len(server.requests) == 1, "nothing more is sent after a permanent failure"


def test_a_request_that_is_too_large_is_halved(server: Server, tokenizer: WordPieceTokenizer) -> None:
    server.respond = answer
    take = server.take

    def limited(handler: BaseHTTPRequestHandler) -> Answer:
        found = take(handler)
        return (413, b"batch size > maximum allowed batch size 5", {}) if len(server.requests[-1]) > 5 else found

    server.take = limited  # type: ignore[method-assign]
    texts = [f"{'a' * number} x" for number in range(20)]
    np.testing.assert_allclose(embed_all(model(server, tokenizer, requests=1), texts), expected(texts), rtol=1e-6)
    server.take = lambda handler: (take(handler), (413, b"too long", {}))[1]  # type: ignore[method-assign]
    with pytest.raises(RequestTooLargeError, match="answered 413"):
        embed_all(model(server, tokenizer, requests=1), texts)


@pytest.mark.parametrize(
    "broken",
    [
        {"data": []},
        {"error": "none"},
        [],
        {"data": [{"index": 1, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": [1.0]}] * 2},
        {"data": [{"index": 0, "embedding": "AAAA"}]},
        {"data": [{"index": 0, "embedding": []}]},
        {"data": [{"index": 0, "embedding": [0.0, 0.0]}]},
        {"data": [{"index": 0, "embedding": [float("nan"), 1.0]}]},
    ],
)
def test_an_answer_that_is_none_is_refused_at_once(server: Server, tokenizer: WordPieceTokenizer, broken: Any) -> None:
    server.respond = lambda _: broken
    with pytest.raises(PermanentEndpointError, match=r"answered with.*expected"):
        embed_all(model(server, tokenizer), ["a"])
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_transient_and_named(tokenizer: WordPieceTokenizer) -> None:
    found = EndpointModel(Endpoint("http://127.0.0.1:9/v1", "m"), tokenizer, retry=AT_ONCE)
    with pytest.raises(TransientEndpointError, match=r"127\.0\.0\.1:9/v1/embeddings did not answer: ConnectError"):
        embed_all(found, ["a"])


def test_a_reader_that_stops_ends_the_work(server: Server, tokenizer: WordPieceTokenizer) -> None:
    found = model(server, tokenizer, requests=1)
    batches = found.embed(["a"] * (MAX_TEXTS * 10))
    next(batches)
    with contextlib.closing(batches):  # type: ignore[type-var]
        pass
    assert len(server.requests) <= 2


def test_a_reader_that_stops_does_not_wait_for_a_retry(server: Server, tokenizer: WordPieceTokenizer) -> None:
    server.faults = [None, *[(503, b"", {"Retry-After": "30"})] * 9]
    batches = EndpointModel(Endpoint(server.url, "m"), tokenizer, requests=2).embed(["a"] * (MAX_TEXTS * 2))
    next(batches)
    started = time.monotonic()
    with contextlib.closing(batches):  # type: ignore[type-var]
        pass
    assert time.monotonic() - started < 15
    assert len(server.requests) == 2


def test_the_dimension_is_asked_for_once(server: Server, tokenizer: WordPieceTokenizer) -> None:
    found = model(server, tokenizer)
    assert server.requests == []
    assert (found.dimension, found.dimension) == (3, 3)
    assert len(server.requests) == 1


def test_texts_are_cut_to_what_the_tokenizer_takes(tokenizer: WordPieceTokenizer, server: Server) -> None:
    found = model(server, tokenizer)
    assert (found.max_content_tokens, found.tokenizer.name) == (254, tokenizer.name)
    assert found.tokenizer.token_counts(["Crème brûlée"]) == [5]
    assert [len(offsets) for offsets in found.tokenizer.token_offsets(["a b"])] == [2]


@pytest.mark.parametrize(
    "url",
    [
        *("", "host:8080/v1", "ftp://host/v1", "http://", "http://user:pass@host/v1"),
        *("http://host:abc", "http://[::1", "http://user:pass@host:abc/v1"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(EndpointSettingError, match="expected http:// or https:// and a host without a key") as raised:
        Endpoint(url, "m")
    assert "pass" not in str(raised.value)


@pytest.mark.parametrize("key", ["sk-pasted\n", "sk-pasté"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(EndpointSettingError, match="is not printable ASCII in one line") as raised:
        Endpoint("http://127.0.0.1:9/v1", "m", key)
    assert "pasted" not in str(raised.value)


def test_an_endpoint_without_a_model_is_refused() -> None:
    with pytest.raises(EndpointSettingError, match="expected the name that it serves"):
        EmbedderResource(endpoint_url="http://127.0.0.1:9/v1").model()


def test_the_resource_opens_the_endpoint_once_and_keeps_its_key_to_itself(server: Server) -> None:
    resource = EmbedderResource(endpoint_url=server.url, endpoint_model="served", endpoint_api_key=KEY)
    assert KEY not in repr(resource)
    assert KEY not in repr(Endpoint(server.url, "served", KEY))
    found = resource.model()
    assert found is EmbedderResource(endpoint_url=server.url, endpoint_model="served", endpoint_api_key=KEY).model()
    assert found.name == "served"
    [(indices, vectors)] = found.embed(["a"])
    assert indices == [0]
    np.testing.assert_allclose(vectors, expected(["a"]), rtol=1e-6)


@given(st.integers(1, 30), st.one_of(st.none(), st.floats(0, 1e6)))
def test_pauses_stay_below_the_ceiling(failures: int, asked_for: float | None) -> None:
    state = RetryCallState(RETRY, None, (), {})
    state.attempt_number = failures
    failed = TransientEndpointError("overloaded", asked_for)
    state.set_exception((type(failed), failed, None))
    pause = RETRY.wait(state)
    assert 0 <= pause <= 30
    assert asked_for is None or pause == min(asked_for, 30)
    assert asked_for is not None or pause <= 0.5 * 2 ** (failures - 1)


@given(st.permutations(range(5)))
def test_vectors_are_placed_by_their_index(order: list[int]) -> None:
    answered = {"data": [{"index": index, "embedding": [index + 1.0, 1.0]} for index in order]}
    raw = np.array([[index + 1.0, 1.0] for index in range(5)], dtype=np.float32)
    np.testing.assert_allclose(unit_vectors(answered, 5), raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=1e-6)
    with pytest.raises(AnswerShapeError):
        unit_vectors(answered, 6)


def test_a_model_that_is_another_one_meanwhile_is_refused(server: Server, tokenizer: WordPieceTokenizer) -> None:
    found = model(server, tokenizer)
    embed_all(found, ["a"])
    server.respond = lambda texts: {"data": [{"index": n, "embedding": [1.0] * 4} for n, _ in enumerate(texts)]}
    with pytest.raises(PermanentEndpointError, match="vectors of 4 numbers, expected 3 as in its first answer"):
        embed_all(found, ["b"])


def test_lists_without_end_are_refused(server: Server, tokenizer: WordPieceTokenizer) -> None:
    server.faults = [(200, b"[" * 200_000, {})]
    with pytest.raises(PermanentEndpointError, match="answered lists in lists without end"):
        embed_all(model(server, tokenizer), ["a"])


def base64_of(vector: list[float]) -> str:
    return base64.b64encode(np.array(vector, "<f4").tobytes()).decode()


@pytest.mark.parametrize(
    "item",
    [
        lambda index, text: {"embedding": vector(text)},
        lambda index, text: {"index": None, "embedding": vector(text)},
        lambda index, text: {"index": str(index), "embedding": vector(text)},
        lambda index, text: {"index": index, "embedding": base64_of(vector(text))},
        lambda index, text: {"embedding": base64_of(vector(text)), "object": "embedding"},
    ],
)
def test_answers_of_other_servers_are_understood(
    server: Server, tokenizer: WordPieceTokenizer, item: Callable[[int, str], dict[str, Any]]
) -> None:
    server.respond = lambda texts: {"data": [item(index, text) for index, text in enumerate(texts)]}
    np.testing.assert_allclose(embed_all(model(server, tokenizer), TEXTS), expected(TEXTS), rtol=1e-6)


@pytest.mark.parametrize(
    "data",
    [
        [{"index": "one", "embedding": [1.0]}, {"index": "two", "embedding": [1.0]}],
        [{"index": 0, "embedding": [1.0]}, {"embedding": [1.0]}],
        [{"embedding": base64_of([1.0, 2.0])}, {"embedding": base64_of([1.0])}],
        [{"embedding": "not base64!"}] * 2,
        ["text", "text"],
    ],
)
def test_an_answer_that_says_two_things_is_refused(data: list[Any]) -> None:
    with pytest.raises(AnswerShapeError, match="without one vector for each of 2 texts"):
        unit_vectors({"data": data}, 2)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (413, b"payload too large"),
        (422, b'{"error": "batch size 32 > maximum allowed batch size 5"}'),
        (400, b'{"error": {"message": "Too many inputs. The maximum number is 5"}}'),
        (400, b"number of inputs must be at most 5"),
    ],
)
def test_a_limit_on_inputs_is_found_and_kept(
    server: Server, tokenizer: WordPieceTokenizer, status: int, message: bytes
) -> None:
    take = server.take

    def limited(handler: BaseHTTPRequestHandler) -> Answer:
        found = take(handler)
        return (status, message, {}) if len(server.requests[-1]) > 5 else found

    server.take = limited  # type: ignore[method-assign]
    texts = [f"{'a' * (number % 9)} x" for number in range(MAX_TEXTS * 3)]
    np.testing.assert_allclose(embed_all(model(server, tokenizer, requests=1), texts), expected(texts), rtol=1e-6)
    refused = [len(request) for request in server.requests if len(request) > 5]
    assert refused == [32, 16, 8], "the limit is learnt once"


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, b"This model's maximum context length is 300 tokens"),
        (400, b"the input length exceeds the context length"),
        (400, b"Input id 0 has 9001 tokens, exceeding max 300 tokens."),
        (413, b"`inputs` must have less than 300 tokens. Given: 600"),
        (422, b"`inputs` must have less than 300 tokens. Given: 600"),
        (500, b"input (600 tokens) is too large to process. increase the physical batch size"),
    ],
)
def test_a_text_that_is_too_long_for_the_server_is_embedded_in_parts(
    server: Server, tokenizer: WordPieceTokenizer, status: int, message: bytes
) -> None:
    take = server.take

    def limited(handler: BaseHTTPRequestHandler) -> Answer:
        found = take(handler)
        is_long = any(len(text) > 300 for text in server.requests[-1])
        return (status, message, {}) if is_long else found

    server.take = limited  # type: ignore[method-assign]
    thai = "กินข้าวกับเพื่อน" * 60
    texts = ["a b", thai, "word " * 100, "end"]
    found = embed_all(model(server, tokenizer, requests=1), texts)
    np.testing.assert_allclose(found[[0, 3]], expected(["a b", "end"]), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    for text in (thai, "word " * 100):
        assert "".join(part for [part] in (r for r in server.requests if len(r) == 1) if part in text).count(text[:9])
    # One such text makes no limit for the others.
    server.requests.clear()
    embed_all(model(server, tokenizer, requests=1), ["a"] * MAX_TEXTS + [thai])
    assert max(map(len, server.requests)) == MAX_TEXTS


def test_each_part_of_a_text_has_the_prefix(server: Server, tokenizer: WordPieceTokenizer) -> None:
    take = server.take

    def limited(handler: BaseHTTPRequestHandler) -> Answer:
        found = take(handler)
        return (413, b"too long", {}) if len(server.requests[-1][0]) > 300 else found

    server.take = limited  # type: ignore[method-assign]
    found = model(server, tokenizer, requests=1, form=Form(query_prefix="query: ", passage_prefix="passage: "))
    embed_all(found, ["word " * 100])
    assert len(server.requests) == 3
    assert all(text.startswith("passage: ") for [text] in server.requests)
    server.requests.clear()
    found.embed_queries(["word " * 100])
    assert all(text.startswith("query: ") for [text] in server.requests if text != "dimension")


def test_a_short_text_that_is_refused_as_too_long_is_named(server: Server, tokenizer: WordPieceTokenizer) -> None:
    server.faults = [(422, b"input too long", {})] * 9
    with pytest.raises(RequestTooLargeError, match=r"answered 422 .* The text begins with 'what\?'\.$"):
        embed_all(model(server, tokenizer), ["what?"])


@pytest.mark.parametrize("location", ["/v1/other/", "other/", "{origin}/v1/other/"])
def test_a_redirect_within_the_host_is_followed(server: Server, tokenizer: WordPieceTokenizer, location: str) -> None:
    origin = server.url.removesuffix("/v1")
    server.faults = [(307, b"", {"Location": location.format(origin=origin)})]
    np.testing.assert_allclose(embed_all(model(server, tokenizer), ["a b"]), expected(["a b"]), rtol=1e-6)
    assert [body["path"] for body in server.bodies] == ["/v1/embeddings", "/v1/other/"]
    assert server.bodies[1]["input"] == ["a b"]
    assert server.headers[1]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "location", ["http://localhost:9/v1?token=x", "https://example.invalid/v1", "//other.invalid/"]
)
def test_no_other_host_gets_the_key(server: Server, tokenizer: WordPieceTokenizer, location: str) -> None:
    server.faults = [(308, b"", {"Location": location})] * 9
    with pytest.raises(PermanentEndpointError, match=r"answered 308 .* It redirects to .*, another host") as raised:
        embed_all(model(server, tokenizer), ["a b"])
    assert "token" not in str(raised.value)
    assert len(server.requests) == 1


def test_redirects_without_end_are_given_up(server: Server, tokenizer: WordPieceTokenizer) -> None:
    server.faults = [(307, b"", {"Location": "/v1/embeddings"})] * 99
    with pytest.raises(PermanentEndpointError, match="answered 307"):
        embed_all(model(server, tokenizer), ["a b"])
    assert len(server.requests) == 6


def test_the_query_of_the_address_is_sent_and_not_shown(server: Server, tokenizer: WordPieceTokenizer) -> None:
    query = "?api-version=2024-10-21&key=hidden"
    embed_all(model(server, tokenizer, query=query), ["a"])
    assert server.bodies[0]["path"] == f"/v1/embeddings{query}"
    assert server.headers[0]["Api-Key"] == KEY
    server.faults = [(401, b"", {})]
    with pytest.raises(PermanentEndpointError) as raised:
        embed_all(model(server, tokenizer, query=query), ["a"])
    assert "hidden" not in str(raised.value)
    embed_all(model(server, tokenizer), ["a"])
    assert "Api-Key" not in server.headers[-1]


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"code": "insufficient_quota", "message": "quota"}}',
        b'{"error": {"message": "You exceeded your current quota, please check your plan and billing details."}}',
        b'{"error": {"type": "billing_hard_limit_reached"}}',
        b"Your credit balance is too low",
    ],
)
def test_an_exhausted_quota_is_not_tried_again(server: Server, tokenizer: WordPieceTokenizer, body: bytes) -> None:
    server.faults = [(429, body, {"Retry-After": "1"})] * 9
    with pytest.raises(QuotaExhaustedError, match="Its quota is exhausted: raise it, then run again"):
        embed_all(model(server, tokenizer), ["a"])
    assert len(server.requests) == 1


def test_dimensions_prefixes_and_inputs_are_those_of_the_form(server: Server, tokenizer: WordPieceTokenizer) -> None:
    form = Form(inputs=2, dimensions=3, query_prefix="query: ", passage_prefix="passage: ")
    found = model(server, tokenizer, form=form)
    assert found.dimension == 3
    server.requests.clear()
    np.testing.assert_allclose(embed_all(found, ["a", "b", "c"]), expected([f"passage: {x}" for x in "abc"]), rtol=1e-6)
    assert sorted(map(len, server.requests)) == [1, 2]
    assert server.bodies[-1]["dimensions"] == 3
    np.testing.assert_allclose(found.embed_queries(["b"]), expected(["query: b"]), rtol=1e-6)
    server.respond = lambda texts: {"data": [{"index": n, "embedding": [1.0] * 4} for n, _ in enumerate(texts)]}
    with pytest.raises(PermanentEndpointError, match="4 numbers, expected 3 by CIPPUS_EMBEDDINGS_DIMENSIONS"):
        embed_all(found, ["b"])


def test_what_changes_vectors_changes_the_name_of_their_generation() -> None:
    names = [Form(**values).named("e5") for values in ({}, {"inputs": 1}, {"dimensions": 8}, {"query_prefix": "q"})]
    assert names[0] == names[1] == "e5"
    assert len(set(names)) == 3
    assert all(name.startswith("e5") for name in names)
