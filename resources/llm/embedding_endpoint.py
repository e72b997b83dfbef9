"""Unit vectors from an OpenAI-compatible embeddings endpoint: TEI, vLLM or a provider. RETRY says what is retried."""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from resources.errors import CippusError, InputError, PermanentFailure, TransientFailure
from resources.models.embedder import EmbeddingModel
from resources.models.tokenizer import SPECIAL_TOKENS, WordPieceTokenizer, length_batches

DEFAULT_REQUEST_TOKENS = 8_192
MAX_TEXTS = 32  # TEI's default limit (max_client_batch_size); a larger request is refused with 413
TIMEOUT = httpx.Timeout(120.0, connect=10.0)
_MAX_WAIT_SECONDS = 30.0
_SHOWN_CHARACTERS = 300
_TOO_LARGE = 413
# TEI answers 424 when its backend failed; proxies answer 425, 520 to 524 and 529 when a server is not ready.
_TRANSIENT = frozenset((408, 409, 424, 425, 429, 500, 502, 503, 504, *range(520, 525), 529))


class EndpointSettingError(InputError):
    """An endpoint's address, model or key is invalid; the message is one sentence, without the key."""


class EndpointError(CippusError):
    """An embeddings endpoint did not return vectors; it is permanent or transient."""


class PermanentEndpointError(EndpointError, PermanentFailure):
    """The same request will fail again: a wrong key, model, address or text, or a response of the wrong shape."""


class TransientEndpointError(EndpointError, TransientFailure):
    """The same request may succeed later: overload, a restart, a broken connection."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RequestTooLargeError(PermanentEndpointError):
    """A request has more texts or tokens than the endpoint accepts; half of them may be accepted."""


def _wait_seconds(state: RetryCallState) -> float:
    """Return the server's Retry-After, or a random time below 0.5 s, 1 s, 2 s, …; at most 30 s."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TransientEndpointError) and error.retry_after_seconds is not None:
        return min(error.retry_after_seconds, _MAX_WAIT_SECONDS)
    return wait_random_exponential(multiplier=0.5, max=_MAX_WAIT_SECONDS)(state)


RETRY = Retrying(
    stop=stop_after_attempt(8),
    wait=_wait_seconds,
    retry=retry_if_exception_type(TransientEndpointError),
    reraise=True,
)
"""The retry policy of every request to an embeddings endpoint."""


@dataclass(frozen=True)
class Endpoint:
    """The address of an embeddings endpoint, and the model to request there.

    ``url`` is the part before ``/embeddings``, such as ``http://host:8080/v1``. Raises EndpointSettingError for
    an invalid address, without a model, or for a key that no header can carry.
    """

    url: str
    model: str
    api_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            shown = self.url.rpartition("@")[2]  # user and password come before it
            raise EndpointSettingError(
                f"The embeddings endpoint is {shown!r}, expected http:// or https:// and a host without a key."
            )
        if not self.model:
            raise EndpointSettingError(
                f"The embeddings endpoint {self.url} has no model, expected the name that it serves."
            )
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise EndpointSettingError(
                f"The key of the embeddings endpoint {self.url} is not printable ASCII in one line."
            )


def _is_address(url: str) -> bool:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return address.scheme in ("http", "https") and bool(address.host) and not address.userinfo


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
            with self._client() as client:
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
        with self._client() as client, ThreadPoolExecutor(self._requests, thread_name_prefix="embed") as pool:
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

    def _client(self) -> httpx.Client:
        return httpx.Client(
            headers={"Authorization": f"Bearer {self._endpoint.api_key}"} if self._endpoint.api_key else {},
            timeout=TIMEOUT,
            limits=httpx.Limits(max_connections=self._requests),
            trust_env=False,  # a proxy or .netrc of the machine must not see texts or keys
        )

    def _vectors(self, client: httpx.Client, texts: Sequence[str], stopped: threading.Event) -> NDArray[np.float32]:
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

    def _request(self, client: httpx.Client, texts: Sequence[str]) -> NDArray[np.float32]:
        url = f"{self._endpoint.url.rstrip('/')}/embeddings"
        body = {"model": self._endpoint.model, "input": list(texts), "encoding_format": "float"}
        try:
            response = client.post(url, json=body)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise TransientEndpointError(f"{url} did not answer: {type(error).__name__} {error}.") from None
        if response.status_code != httpx.codes.OK:
            raise self._failure(url, response)
        try:
            vectors = unit_vectors(response.json(), len(texts))
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

    def _failure(self, url: str, response: httpx.Response) -> EndpointError:
        shown = response.text[:_SHOWN_CHARACTERS].strip()
        if self._endpoint.api_key:
            shown = shown.replace(self._endpoint.api_key, "[key]")
        message = f"{url} answered {response.status_code} {response.reason_phrase} for {self.name}: {shown!r}."
        if response.status_code == _TOO_LARGE:
            return RequestTooLargeError(message)
        if response.status_code not in _TRANSIENT:
            return PermanentEndpointError(message)
        asked = response.headers.get("Retry-After", "")
        return TransientEndpointError(message, float(asked) if asked.isascii() and asked.isdigit() else None)


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
