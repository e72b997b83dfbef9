"""Unit vectors from an OpenAI-compatible embeddings endpoint: TEI, vLLM or a provider."""

import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
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
from resources.models.tokenizer import SPECIAL_TOKENS, WordPieceTokenizer, length_batches

DEFAULT_REQUEST_TOKENS = 8_192
MAX_TEXTS = 32  # TEI's default limit (max_client_batch_size); a larger request is refused with 413


class EndpointModel(EmbeddingModel):
    """The model behind an endpoint. Safe to use from several threads.

    Texts are measured and cut with the local encoder's tokenizer: served models accept longer texts, and no server
    says how it counts.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        tokenizer: WordPieceTokenizer,
        *,
        requests: int = 8,
        request_tokens: int | None = None,
        retry: Retrying | None = None,
    ) -> None:
        """Send nothing yet. ``requests`` run concurrently, each with at most ``request_tokens`` tokens."""
        self.name = endpoint.model
        self.tokenizer = tokenizer
        self._endpoint = endpoint
        self._requests = requests
        self._request_tokens = request_tokens or DEFAULT_REQUEST_TOKENS
        self._retry = retry or RETRY
        self._lock, self._dimension = threading.Lock(), 0

    @property
    def dimension(self) -> int:
        """Length of the vectors in the first response; sends a request when there is none yet. Raises EndpointError."""
        if not self._dimension:
            with self._endpoint.client(self._requests) as client:
                self._vectors(client, ["dimension"], threading.Event())
        return self._dimension

    def embed(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Yield (indices into ``texts``, float32 unit vectors) as responses arrive, every index once.

        Raises PermanentEndpointError at once, and TransientEndpointError after the last attempt. Requests that are
        running are then abandoned.
        """
        lengths = np.array(self.tokenizer.token_counts(texts), dtype=np.int32) + SPECIAL_TOKENS
        waiting = deque(length_batches(lengths, self._request_tokens, MAX_TEXTS))
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
                        batch = [texts[index] for index in indices]
                        running[pool.submit(self._vectors, client, batch, stopped)] = indices
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield running.pop(future), future.result()
            finally:
                stopped.set()

    def _vectors(self, client: openai.OpenAI, texts: Sequence[str], stopped: threading.Event) -> NDArray[np.float32]:
        """Return the unit vectors of a few texts; split a request that is too large."""

        def sleep(seconds: float) -> None:
            if stopped.wait(seconds):
                raise CancelledError

        retry = self._retry.copy(sleep=sleep)
        try:
            return retry(self._request, client, texts)
        except RequestTooLargeError:
            if len(texts) == 1:
                raise
            middle = len(texts) // 2
            halves = (self._vectors(client, half, stopped) for half in (texts[:middle], texts[middle:]))
            return np.concatenate(list(halves))
        except TransientEndpointError as error:
            attempts = retry.statistics["attempt_number"]
            raise TransientEndpointError(f"{error} It was tried {attempts} times.") from None

    def _request(self, client: openai.OpenAI, texts: Sequence[str]) -> NDArray[np.float32]:
        url = f"{self._endpoint.url.rstrip('/')}/embeddings"
        try:
            response = client.embeddings.with_raw_response.create(
                model=self._endpoint.model, input=list(texts), encoding_format="float"
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
            self._dimension = self._dimension or length
        if length != self._dimension:  # another model is served under this name
            raise PermanentEndpointError(
                f"{url} answered with vectors of {length} numbers, expected {self._dimension} as in its first answer."
            )
        return vectors


class AnswerShapeError(PermanentFailure, ValueError):
    """A response is JSON, but has not one usable vector for each text."""


def unit_vectors(answer: Any, count: int) -> NDArray[np.float32]:
    """Return the vectors of a response by their ``index``, float32 (count, dimension), scaled to unit length.

    Raises AnswerShapeError unless there is exactly one finite, non-zero vector of one length for each text.
    """
    try:
        by_index = {item["index"]: item["embedding"] for item in answer["data"]}
        vectors = np.array([by_index[index] for index in range(count)], dtype=np.float32)
    except (KeyError, TypeError, ValueError):
        vectors = np.empty(0, np.float32)
    if vectors.ndim != 2 or len(answer["data"]) != count:
        raise AnswerShapeError(f"without one vector for each of {count} texts, expected data[].index and .embedding")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise AnswerShapeError("with a vector that is zero or not finite, expected finite numbers that are not all 0")
    unit: NDArray[np.float32] = vectors / lengths
    return unit
