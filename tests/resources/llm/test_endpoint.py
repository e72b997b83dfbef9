"""Requests to an endpoint: retries and what ends them, addresses, keys and quotas."""

import contextlib
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tenacity import RetryCallState

from resources.llm.embedder import EmbedderResource
from resources.llm.embedding_endpoint import MAX_TEXTS, EndpointModel
from resources.llm.endpoint import (
    RETRY,
    Endpoint,
    EndpointSettingError,
    PermanentEndpointError,
    QuotaExhaustedError,
    TransientEndpointError,
)
from resources.models.tokenizer import WordPieceTokenizer
from tests.fakes.embedding_server import Answer, Server
from tests.worlds.endpoint_model import AT_ONCE, KEY, embed_all, expected, model


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
