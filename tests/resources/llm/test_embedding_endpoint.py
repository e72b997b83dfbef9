"""The endpoint's client against a real HTTP server of the test's own, which misbehaves as real ones do."""

import base64
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.llm.embedder import EmbedderResource
from resources.llm.embedding_endpoint import MAX_TEXTS, AnswerShapeError, Form, unit_vectors
from resources.llm.endpoint import Endpoint, PermanentEndpointError, RequestTooLargeError
from resources.models.tokenizer import WordPieceTokenizer
from tests.fakes.embedding_server import Answer, Server, answer, vector
from tests.worlds.endpoint_model import KEY, TEXTS, embed_all, expected, model


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
