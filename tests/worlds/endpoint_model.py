"""A model behind an embedding endpoint, and the vectors that it must give."""

import numpy as np
from numpy.typing import NDArray
from tenacity import stop_after_attempt, wait_none

from resources.llm.embedding_endpoint import EndpointModel, Form
from resources.llm.endpoint import RETRY, Endpoint
from resources.models.tokenizer import WordPieceTokenizer
from tests.fakes.embedding_server import Server, vector

KEY = "sk-a-secret-key"
AT_ONCE = RETRY.copy(stop=stop_after_attempt(4), wait=wait_none())


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
