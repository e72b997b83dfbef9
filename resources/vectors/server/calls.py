"""Connect to a Qdrant server: addresses, clients, and calls. RETRY says when a call is retried."""

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from resources.vectors.server.nodes import NodeTransport
from resources.vectors.values import (
    CollectionMissingError,
    IndexAccessError,
    IndexUnavailableError,
    QdrantAddressError,
    VectorIndexError,
)

# A key without TLS is usual in a cluster's own network; the client would warn at every command.
warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")

REQUEST_TIMEOUT_SECONDS = 60
T = TypeVar("T")
_RETRIED_STATUS = frozenset({408, 429, 500, 502, 503, 504})
_DISK_FULL = "no space left", "available disk space"
_MESSAGE_CHARACTERS = 500


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _RETRIED_STATUS and not _is_disk_full(error)
    return isinstance(error, ResponseHandlingException | ResourceExhaustedResponse)


def _wait_seconds(state: RetryCallState) -> float:
    """Return 0.2 s, 0.4 s, 0.8 s, …, or what the server asked for if that is longer."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after_s if isinstance(error, ResourceExhaustedResponse) else 0
    return max(wait_exponential(multiplier=0.2)(state), asked)


RETRY = Retrying(stop=stop_after_attempt(5), wait=_wait_seconds, retry=retry_if_exception(_is_transient), reraise=True)
"""The retry policy of every call to a Qdrant server. Every call is idempotent, except ``create_collection``."""


@dataclass(frozen=True)
class QdrantCalls:
    """Calls about one collection. ``name`` names the server in errors."""

    name: str
    collection: str
    retry: Retrying

    def __call__(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call the client. Retry transient failures. Raise CollectionMissingError or another VectorIndexError."""
        try:
            return self.retry(method, *args, **kwargs)
        except (UnexpectedResponse, ResponseHandlingException, ResourceExhaustedResponse, ValueError) as error:
            raise self._translated(error, self.retry.statistics["attempt_number"]) from error

    def _translated(self, error: Exception, attempts: int) -> VectorIndexError:
        server = f"Qdrant at {self.name}"
        if isinstance(error, ResponseHandlingException):
            return IndexUnavailableError(f"{server} does not answer: {_without_answer(error.source, attempts)}")
        if isinstance(error, ResourceExhaustedResponse):
            return IndexUnavailableError(f"{server} limits its rate, after {attempts} attempts: {error}")
        # qdrant-client's in-memory engine raises ValueError where a server answers 404.
        status = error.status_code if isinstance(error, UnexpectedResponse) else None
        if status == httpx.codes.NOT_FOUND or str(error) == f"Collection {self.collection} not found":
            return CollectionMissingError(f"There is no collection {self.collection} at {self.name} yet.")
        if not isinstance(error, UnexpectedResponse):
            return VectorIndexError(f"{server}: {error}")
        if error.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return IndexAccessError(f"{server} refuses the API key ({error.status_code}). Check QDRANT_API_KEY.")
        if _is_disk_full(error):
            return VectorIndexError(
                f"{server}: the disk is full ({_server_message(error)}). Enlarge the volume, then run again."
            )
        message = _server_message(error)
        if "replica" in message.lower() or "shard" in message.lower():
            message += " If a node is gone for good, `cippus reconcile --rebuild` fills a new generation from the lake."
        kind = IndexUnavailableError if _is_transient(error) else VectorIndexError
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        return kind(f"{server} answered {error.status_code}{tried}: {message}")


def _without_answer(source: Exception, attempts: int) -> str:
    if isinstance(source, httpx.TimeoutException):
        return f"it timed out {attempts} times. Look at its load."
    if isinstance(source, httpx.ReadError | httpx.RemoteProtocolError):
        return f"it closed the connection {attempts} times. Look at its restarts, and at proxies."
    return f"{source} ({attempts} attempts). Check the address and the network."


def _is_disk_full(error: UnexpectedResponse) -> bool:
    message = _server_message(error).lower()
    return any(text in message for text in _DISK_FULL)


def _server_message(error: UnexpectedResponse) -> str:
    """Return the message in the body of an error response, or the body of a proxy that is not Qdrant."""
    body = error.content.decode(errors="replace").strip()
    try:
        body = str(json.loads(body)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        body = body or error.reason_phrase
    return body[:_MESSAGE_CHARACTERS]


def shown_address(setting: str, url: str) -> str:
    """Return the host and port of an address, for errors. Raise QdrantAddressError, without user and password."""
    try:
        address = urlsplit(url)
        if address.hostname and address.scheme in ("http", "https") and "@" not in address.netloc:
            return f"{address.hostname}:{address.port or 6333}"
    except ValueError:  # of a port or IPv6 address
        pass
    raise QdrantAddressError(
        f"{setting} is {url.rpartition('@')[2]!r}, expected http:// or https:// and a host; the key is QDRANT_API_KEY."
    ) from None


def client_of(url: str, api_key: str, timeout_seconds: int, nodes: Sequence[str] = ()) -> QdrantClient:
    """Return a client that has sent nothing: its own version check runs in a thread and only warns.

    ``nodes``: other nodes of the cluster at ``url``, which get the requests that it does not answer.
    """
    failover: dict[str, Any] = {"transport": NodeTransport([url, *nodes])} if nodes else {}
    return QdrantClient(
        url=url, api_key=api_key or None, timeout=timeout_seconds, check_compatibility=False, **failover
    )
