"""Unit vectors from an OpenAI-compatible embeddings endpoint: TEI, vLLM or a provider."""

import base64
import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
import openai
from numpy.typing import NDArray
from tenacity import Retrying

from resources.errors import PermanentFailure
from resources.llm.endpoint import (
    RETRY,
    Endpoint,
    PermanentEndpointError,
    RequestTooLargeError,
    TransientEndpointError,
)
from resources.models.embedder import EmbeddingModel
from resources.models.tokenizer import SPECIAL_TOKENS, TextTokenizer, length_batches

DEFAULT_REQUEST_TOKENS = 8_192
MAX_TEXTS = 32  # TEI's default limit (max_client_batch_size); a larger request is refused with 413
_SHOWN_CHARACTERS = 60
_LEAST_SPLIT = 128
"""Characters of the shortest text that is embedded in parts. If a shorter one is too long, the endpoint is wrong."""


@dataclass(frozen=True)
class Form:
    """What an endpoint expects: most inputs a request, length of vectors (0: its own), and prefixes of texts.

    Models such as e5 are trained with ``query: `` and ``passage: ``.
    """

    inputs: int = MAX_TEXTS
    dimensions: int = 0
    query_prefix: str = ""
    passage_prefix: str = ""

    def named(self, model: str) -> str:
        """Return the name of the vectors' generation: the model's, and a hash of what else changes its vectors."""
        changed = (self.dimensions, self.query_prefix, self.passage_prefix)
        if changed == (0, "", ""):
            return model
        return f"{model}/{hashlib.sha256(json.dumps(changed).encode()).hexdigest()[:8]}"


class EndpointModel(EmbeddingModel):
    """The model behind an endpoint. Safe to use from several threads.

    Texts are measured and cut with the local encoder's tokenizer: served models accept longer texts, and no server
    says how it counts.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        tokenizer: TextTokenizer,
        *,
        requests: int = 8,
        request_tokens: int | None = None,
        retry: Retrying | None = None,
        form: Form | None = None,
    ) -> None:
        """Send nothing yet. ``requests`` run concurrently, each with at most ``request_tokens`` tokens."""
        self._form = form or Form()
        self.name = self._form.named(endpoint.model)
        self._tokenizer = tokenizer
        self._inputs, self._accepted = self._form.inputs, 1
        self._endpoint = endpoint
        self._requests = requests
        self._request_tokens = request_tokens or DEFAULT_REQUEST_TOKENS
        self._retry = retry or RETRY
        self._lock, self._dimension = threading.Lock(), 0

    @property
    def tokenizer(self) -> TextTokenizer:
        """The local encoder's tokenizer."""
        return self._tokenizer

    @property
    def dimension(self) -> int:
        """Length of the vectors in the first response; sends a request when there is none yet. Raises EndpointError."""
        if not self._dimension:
            with self._endpoint.client(self._requests) as client:
                self._vectors(client, ["dimension"], threading.Event())
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Yield (indices into ``texts``, float32 unit vectors) as responses arrive, every index once.

        The vector of a text that the endpoint finds too long is the mean of its parts'. Raises PermanentEndpointError
        at once, and TransientEndpointError after the last attempt. Requests that are running are then abandoned.
        """
        yield from self._embed(texts, self._form.passage_prefix)

    def _embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found = np.zeros((len(texts), self.dimension), np.float32)
        for indices, vectors in self._embed(texts, self._form.query_prefix):
            found[indices] = vectors
        return found

    def _embed(self, texts: Sequence[str], prefix: str) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        counts = self.tokenizer.token_counts([f"{prefix}{text}" for text in texts])
        lengths = np.array(counts, dtype=np.int32) + SPECIAL_TOKENS
        waiting = deque(length_batches(lengths, self._request_tokens, self._inputs))
        stopped = threading.Event()
        running: dict[Future[NDArray[np.float32]], list[int]] = {}
        with (
            self._endpoint.client(self._requests) as client,
            ThreadPoolExecutor(self._requests, thread_name_prefix="embed") as pool,
        ):
            try:
                while waiting or running:
                    while waiting and len(running) < self._requests:
                        indices = waiting.popleft()
                        if len(indices) > self._inputs:  # the endpoint has refused so many meanwhile
                            waiting.appendleft(indices[self._inputs :])
                            indices = indices[: self._inputs]
                        batch = [texts[index] for index in indices]
                        running[pool.submit(self._vectors, client, batch, stopped, prefix)] = indices
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield running.pop(future), future.result()
            finally:
                stopped.set()

    def _vectors(
        self, client: openai.OpenAI, texts: Sequence[str], stopped: threading.Event, prefix: str = ""
    ) -> NDArray[np.float32]:
        """Return the unit vectors of a few texts, each behind the prefix; split a request that is too large."""

        def sleep(seconds: float) -> None:
            if stopped.wait(seconds):
                raise CancelledError

        retry, middle = self._retry.copy(sleep=sleep), len(texts) // 2
        try:
            if len(texts) <= self._inputs:
                return retry(self._request, client, [f"{prefix}{text}" for text in texts])
        except RequestTooLargeError as error:
            if len(texts) == 1:
                return self._in_parts(client, texts[0], stopped, prefix, error)
            with self._lock:  # one text that is too long makes no limit below what was accepted
                self._inputs = max(min(self._inputs, middle), self._accepted)
        except TransientEndpointError as error:
            attempts = retry.statistics["attempt_number"]
            raise TransientEndpointError(f"{error} It was tried {attempts} times.") from None
        halves = [self._vectors(client, half, stopped, prefix) for half in (texts[:middle], texts[middle:])]
        return np.concatenate(halves)

    def _in_parts(
        self, client: openai.OpenAI, text: str, stopped: threading.Event, prefix: str, error: RequestTooLargeError
    ) -> NDArray[np.float32]:
        """Return the mean of the vectors of both halves of a text, shape (1, dimension), by their lengths.

        Served models count otherwise than the local tokenizer, to which a Thai sentence is one token.
        """
        if len(text) < _LEAST_SPLIT:
            raise type(error)(f"{error} The text begins with {text[:_SHOWN_CHARACTERS]!r}.") from None
        space = text.rfind(" ", len(text) // 4, len(text) // 2 + 1)
        cut = space if space > 0 else len(text) // 2
        halves = text[:cut], text[cut:]
        vectors = np.concatenate([self._vectors(client, [half], stopped, prefix) for half in halves])
        mean = (vectors * [[len(half)] for half in halves]).sum(axis=0, keepdims=True)
        unit: NDArray[np.float32] = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
        return unit

    def _request(self, client: openai.OpenAI, texts: Sequence[str]) -> NDArray[np.float32]:
        url = f"{self._endpoint.base}/embeddings"
        dimensions = self._form.dimensions or openai.omit
        try:
            response = client.embeddings.with_raw_response.create(
                model=self._endpoint.model, input=list(texts), encoding_format="float", dimensions=dimensions
            )
        except openai.OpenAIError as error:
            raise self._endpoint.failure("embeddings", error)[0] from None
        try:
            vectors = unit_vectors(json.loads(response.content), len(texts))
        except RecursionError:
            raise PermanentEndpointError(f"{url} answered lists in lists without end, expected vectors.") from None
        except AnswerShapeError as error:
            raise PermanentEndpointError(f"{url} answered {error}.") from None
        except ValueError as error:  # cut off, or a proxy's page: the server may be restarting
            raise TransientEndpointError(f"{url} answered {error}.") from None
        length = vectors.shape[1]
        with self._lock:
            self._dimension = self._dimension or self._form.dimensions or length
            self._accepted = max(self._accepted, len(texts))
        if length != self._dimension:  # another model is served under this name
            raise PermanentEndpointError(
                f"{url} answered with vectors of {length} numbers, expected {self._dimension} "
                f"{'by CIPPUS_EMBEDDINGS_DIMENSIONS' if self._form.dimensions else 'as in its first answer'}."
            )
        return vectors


class AnswerShapeError(PermanentFailure, ValueError):
    """A response is JSON, but has not one usable vector for each text."""


def unit_vectors(answer: Any, count: int) -> NDArray[np.float32]:
    """Return the vectors of a response by their ``index``, float32 (count, dimension), scaled to unit length.

    Without any index they are in the order of the texts. An index may be a string, and a vector base64 of little-endian
    32-bit floats. Raises AnswerShapeError unless there is exactly one finite, non-zero vector of one length for each
    text.
    """
    try:
        items = answer["data"]
        places = [item.get("index") for item in items]
        is_ordered = all(place is None for place in places)
        by_index = {
            number if is_ordered else int(place): _numbers(item["embedding"])
            for number, (place, item) in enumerate(zip(places, items, strict=True))
        }
        vectors = np.array([by_index[index] for index in range(count)], dtype=np.float32)
    except (AttributeError, KeyError, TypeError, ValueError):
        vectors = np.empty(0, np.float32)
    if vectors.ndim != 2 or len(answer["data"]) != count:
        raise AnswerShapeError(f"without one vector for each of {count} texts, expected data[].index and .embedding")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise AnswerShapeError("with a vector that is zero or not finite, expected finite numbers that are not all 0")
    unit: NDArray[np.float32] = vectors / lengths
    return unit


def _numbers(embedding: Any) -> Any:
    if not isinstance(embedding, str):
        return embedding
    return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
