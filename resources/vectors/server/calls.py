"""Calls of qdrant-client: repeated while their failures are transient, and those in the index's own types."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from resources.vectors.values import CollectionMissingError, IndexUnavailableError, VectorIndexError

TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """How often a transient failure is tried again: the waits double. Every call of the index is idempotent."""

    attempts: int = 5
    first_wait_seconds: float = 0.2


@dataclass(frozen=True)
class QdrantCalls:
    """Calls about one collection; ``name`` names its server in errors."""

    name: str
    collection: str
    retry: RetryPolicy

    def __call__(self, method: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call the client; transient failures are retried, then every failure gets the interface's type."""
        wait_seconds = self.retry.first_wait_seconds
        for attempt in range(1, self.retry.attempts + 1):
            try:
                return method(*args, **kwargs)
            except (UnexpectedResponse, ResponseHandlingException, ResourceExhaustedResponse, ValueError) as error:
                if attempt == self.retry.attempts or not _is_transient(error):
                    raise self._translated(error, attempt) from error
                asked = error.retry_after_s if isinstance(error, ResourceExhaustedResponse) else 0
                time.sleep(max(wait_seconds, asked))
                wait_seconds *= 2
        raise AssertionError("a retry policy has at least one attempt")

    def _translated(self, error: Exception, attempts: int) -> VectorIndexError:
        status = error.status_code if isinstance(error, UnexpectedResponse) else None
        if status in {401, 403}:
            return IndexUnavailableError(f"Qdrant at {self.name} refuses the API key ({status}).")
        # qdrant-client's in-memory engine says by ValueError what a server says by 404.
        if status == 404 or (isinstance(error, ValueError) and str(error) == f"Collection {self.collection} not found"):
            return CollectionMissingError(f"There is no collection {self.collection} at {self.name} yet.")
        if _is_disk_full(error):
            return VectorIndexError(f"Qdrant at {self.name}: the disk is full. Enlarge the volume, then run again.")
        if isinstance(error, ResponseHandlingException) and isinstance(error.source, httpx.TimeoutException):
            return IndexUnavailableError(f"Qdrant at {self.name} timed out {attempts} times: look at its load.")
        if isinstance(error, ResponseHandlingException) and isinstance(
            error.source, httpx.ReadError | httpx.RemoteProtocolError
        ):
            return IndexUnavailableError(
                f"Qdrant at {self.name} closed the connection {attempts} times: look at its restarts, and at proxies."
            )
        if _is_transient(error):
            return IndexUnavailableError(f"Qdrant at {self.name} does not answer after {attempts} attempts: {error}")
        return VectorIndexError(f"Qdrant at {self.name}: {error}")


def _is_disk_full(error: Exception) -> bool:
    return isinstance(error, UnexpectedResponse) and b"no space left" in error.content.lower()


def _is_transient(error: Exception) -> bool:
    if isinstance(error, UnexpectedResponse):
        return not _is_disk_full(error) and error.status_code in TRANSIENT_STATUS
    return isinstance(error, ResponseHandlingException | ResourceExhaustedResponse)
