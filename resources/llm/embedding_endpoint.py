"""Vectors from an OpenAI-compatible embeddings endpoint (TEI, vLLM, a provider's): texts in, unit vectors out."""

import random
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from resources.errors import CippusError, InputError, PermanentFailure, TransientFailure
from resources.models.tokenizer import SPECIAL_TOKENS, WordPieceTokenizer, length_batches

DEFAULT_REQUEST_TOKENS = 8_192
MAX_TEXTS = 32  # TEI's default limit (max_client_batch_size); more is refused with 413
_SHOWN_CHARACTERS = 300
_TOO_LARGE = 413
# 424 is TEI's answer when its backend failed; 425, 520 to 524 and 529 are proxies' "not now".
_TRANSIENT = frozenset((408, 409, 424, 425, 429, 500, 502, 503, 504, *range(520, 525), 529))


class EndpointSettingError(InputError):
    """An endpoint's address, model or key cannot be used; the message is one sentence, without the key."""


class EndpointError(CippusError):
    """An embeddings endpoint did not give vectors; it is permanent or transient."""


class PermanentEndpointError(EndpointError, PermanentFailure):
    """The same request will fail again: a wrong key, model, address or text, or an answer that is none."""


class TransientEndpointError(EndpointError, TransientFailure):
    """The same request may succeed later: overload, a restart, a connection that broke."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RequestTooLargeError(PermanentEndpointError):
    """More texts or tokens than the endpoint takes in one request: half of them may do."""


@dataclass(frozen=True)
class Endpoint:
    """Where an embeddings endpoint is, and the model that is asked for there.

    ``url`` is what comes before ``/embeddings``, such as ``http://host:8080/v1``. Raises EndpointSettingError for
    another kind of address, without a model, or for a key that no header can carry.
    """

    url: str
    model: str
    api_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            shown = self.url.rpartition("@")[2]  # what comes before it may be a password
            message = f"The embeddings endpoint is {shown!r}, expected http:// or https:// and a host without a key."
            raise EndpointSettingError(message)
        if not self.model:
            message = f"The embeddings endpoint {self.url} has no model, expected the name that it serves."
            raise EndpointSettingError(message)
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            message = f"The key of the embeddings endpoint {self.url} is not printable ASCII in one line."
            raise EndpointSettingError(message)


def _is_address(url: str) -> bool:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    return address.scheme in ("http", "https") and bool(address.host) and not address.userinfo


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a request is tried again: full jitter below a ceiling that doubles; in seconds."""

    attempts: int = 8
    first_seconds: float = 0.5
    ceiling_seconds: float = 30.0
    request_seconds: float = 120.0

    def pause_seconds(self, failures: int, asked_for: float | None) -> float:
        """How long to wait after that many failures; what the server asked for counts, up to the ceiling."""
        if asked_for is not None:
            return min(asked_for, self.ceiling_seconds)
        return random.uniform(0, min(self.ceiling_seconds, self.first_seconds * 2 ** (failures - 1)))  # noqa: S311


class EndpointModel:
    """The model behind an endpoint. Safe to use from several threads.

    Texts are measured and cut with the local encoder's tokenizer: models that are served take longer texts, and no
    server says how it counts.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        tokenizer: WordPieceTokenizer,
        *,
        requests: int = 8,
        request_tokens: int | None = None,
        retries: RetryPolicy | None = None,
    ) -> None:
        """Nothing is sent yet. ``requests`` may be under way at a time, of ``request_tokens`` tokens at most."""
        self.name = endpoint.model
        self.tokenizer_name = tokenizer.name
        self.max_content_tokens = tokenizer.max_tokens - SPECIAL_TOKENS
        self._endpoint = endpoint
        self._tokenizer = tokenizer
        self._requests = requests
        self._request_tokens = request_tokens or DEFAULT_REQUEST_TOKENS
        self._retries = retries or RetryPolicy()
        self._first, self._numbers = threading.Lock(), 0

    @property
    def dimension(self) -> int:
        """Numbers in a vector, as in the first answer; without any yet, by asking for one. Raises EndpointError."""
        if not self._numbers:
            with self._client() as client:
                self._vectors(client, ["dimension"], threading.Event())
        return self._numbers

    def token_counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each whole text, special tokens not counted."""
        return self._tokenizer.token_counts(texts)

    def token_offsets(self, texts: Sequence[str]) -> Iterator[list[tuple[int, int]]]:
        """The (start, end) character offsets of each whole text's tokens in turn, special tokens left out."""
        return self._tokenizer.token_offsets(texts)

    def embed(self, texts: Sequence[str]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """(indices into ``texts``, float32 unit vectors) as answers arrive, in any order; every index comes once.

        Raises PermanentEndpointError at once, and TransientEndpointError when a request failed as often as the
        policy allows; what is under way is then given up.
        """
        lengths = np.array(self._tokenizer.token_counts(texts), dtype=np.int32) + SPECIAL_TOKENS
        waiting = deque(length_batches(lengths, self._request_tokens, MAX_TEXTS))
        stopped = threading.Event()
        under_way: dict[Future[NDArray[np.float32]], list[int]] = {}
        with self._client() as client, ThreadPoolExecutor(self._requests, thread_name_prefix="embed") as pool:
            try:
                while waiting or under_way:
                    while waiting and len(under_way) < self._requests:
                        indices = waiting.popleft()
                        batch = [texts[index] for index in indices]
                        under_way[pool.submit(self._vectors, client, batch, stopped)] = indices
                    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield under_way.pop(future), future.result()
            finally:
                stopped.set()

    def _client(self) -> httpx.Client:
        """Connections for one window of texts."""
        return httpx.Client(
            headers={"Authorization": f"Bearer {self._endpoint.api_key}"} if self._endpoint.api_key else {},
            timeout=httpx.Timeout(self._retries.request_seconds, connect=10.0),
            limits=httpx.Limits(max_connections=self._requests),
            trust_env=False,  # a proxy or .netrc of the machine must not see texts or keys
        )

    def _vectors(self, client: httpx.Client, texts: Sequence[str], stopped: threading.Event) -> NDArray[np.float32]:
        """The unit vectors of a few texts, tried as often as the policy allows, and in halves when too many."""
        failures = 0
        while True:
            try:
                return self._request(client, texts)
            except RequestTooLargeError:
                if len(texts) == 1:
                    raise
                middle = len(texts) // 2
                halves = (self._vectors(client, half, stopped) for half in (texts[:middle], texts[middle:]))
                return np.concatenate(list(halves))
            except TransientEndpointError as error:
                failures += 1
                if failures >= self._retries.attempts:
                    raise TransientEndpointError(f"{error} It was tried {failures} times.") from None
                if stopped.wait(self._retries.pause_seconds(failures, error.retry_after_seconds)):
                    raise

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
            return self._as_before(unit_vectors(response.json(), len(texts)))
        except RecursionError:
            raise PermanentEndpointError(f"{url} answered lists in lists without end, expected vectors.") from None
        except ValueError as error:
            # Cut off or a proxy's page: the server may be restarting. A complete answer of another shape will not heal.
            kind = PermanentEndpointError if isinstance(error, AnswerShapeError) else TransientEndpointError
            raise kind(f"{url} answered {error}.") from None

    def _as_before(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Raises AnswerShapeError for vectors of another length than the first: another model has the name now."""
        numbers = int(vectors.shape[1])
        with self._first:
            self._numbers = self._numbers or numbers
        if numbers != self._numbers:
            raise AnswerShapeError(
                f"with vectors of {numbers} numbers, expected {self._numbers} as in its first answer"
            )
        return vectors

    def _failure(self, url: str, response: httpx.Response) -> EndpointError:
        shown = response.text[:_SHOWN_CHARACTERS].strip()
        if self._endpoint.api_key:
            shown = shown.replace(self._endpoint.api_key, "[key]")
        message = f"{url} answered {response.status_code} {response.reason_phrase} for {self.name}: {shown!r}."
        if response.status_code == _TOO_LARGE:
            return RequestTooLargeError(message)
        if response.status_code in _TRANSIENT:
            return TransientEndpointError(message, _seconds(response.headers.get("Retry-After")))
        return PermanentEndpointError(message)


class AnswerShapeError(PermanentFailure, ValueError):
    """An answer that is JSON, but not one usable vector for each text."""


def unit_vectors(answer: Any, count: int) -> NDArray[np.float32]:
    """The vectors of an answer by their ``index``, float32 (count, dimension), made unit length.

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
        raise AnswerShapeError("with a vector that is zero or not finite, expected numbers of a direction")
    unit: NDArray[np.float32] = vectors / lengths
    return unit


def _seconds(header: str | None) -> float | None:
    return float(header) if header and header.isascii() and header.isdigit() else None
