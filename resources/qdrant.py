"""The vector index: its values, the one interface of both engines, its errors, and the Dagster resource that picks one.

Belongs here: what every engine agrees on, the order of candidates included. Not here: an engine's own calls
(qdrant_edge.py, qdrant_server.py), sparse encoding (bm25.py), fusion (assets/transforms/ranking.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
from dagster import ConfigurableResource
from numpy.typing import NDArray
from pydantic import Field

from resources.failures import TransientFailure
from resources.index_generations import SERVING, Generations

if TYPE_CHECKING:
    from resources.qdrant_health import Cluster

DENSE, SPARSE = "dense", "bm25"
BATCH_POINTS = 256
PAGE_POINTS = 1_000
EXACT_UP_TO_POINTS = 100_000  # a full scan of 20,000 × 384 takes 3 ms; HNSW at ef 64 finds .71 of the top 10
HNSW_EF = 512
OVERSAMPLING = 3.0  # quantized candidates whose scores are computed anew, per wanted one
SCORE_DECIMALS = 5  # engines agree to 1e-6; what differs less than 1e-5 is a tie and goes by id
TIE_WIDENING = 16

IndexKind = Literal["tenant", "keyword", "integer", "ordered", "datetime"]
PAYLOAD_INDEXES: Mapping[str, IndexKind] = {
    "account_id": "tenant",
    "account_bucket": "integer",
    "network": "keyword",
    "language": "keyword",
    "country": "keyword",
    "verticals": "keyword",
    "post_verticals": "keyword",
    "posted_at": "datetime",
    "payload_digest": "ordered",
}
NO_DIGEST = -1

T = TypeVar("T")


class VectorIndexError(RuntimeError):
    """The index refused or failed. Below it: IndexUnavailableError, CollectionMissingError, CollectionMismatchError."""


class IndexUnavailableError(VectorIndexError, TransientFailure):
    """The server does not answer or refuses us, or another process holds the embedded index."""


class CollectionMissingError(VectorIndexError):
    """The collection was never made, or is lost: ``ensure_collection`` makes it."""


class CollectionMismatchError(VectorIndexError):
    """The collection holds another model's vectors."""


class AliasRaceError(VectorIndexError, TransientFailure):
    """Another process promoted a generation at the same time, and it is the one that is served."""


class NoPreviousError(VectorIndexError):
    """There is no generation to roll back to."""


@dataclass(frozen=True, eq=False)
class SparseVector:
    """Term ids (uint32) and their weights (float32); may be empty. What is read need not be fit to be written."""

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.indices)

    @classmethod
    def of(cls, indices: Sequence[int], values: Sequence[float]) -> "SparseVector":
        """From an engine's lists."""
        return cls(np.asarray(indices, np.uint32), np.asarray(values, np.float32))

    def checked(self) -> "SparseVector":
        """Itself, to be written or asked with. Raises VectorIndexError unless ids ascend, each with a finite weight."""
        if self.indices.shape != self.values.shape or self.indices.ndim != 1:
            message = f"Sparse indices {self.indices.shape} and values {self.values.shape} differ in shape."
            raise VectorIndexError(message)
        if (self.indices[1:] <= self.indices[:-1]).any() or not np.isfinite(self.values).all():
            message = "Sparse indices must be strictly ascending, and their values finite."
            raise VectorIndexError(message)
        return self


@dataclass(frozen=True, eq=False)
class IndexPoint:
    """One chunk in the index: ``id`` a UUID, ``dense`` float32 (dimension,), ``payload`` JSON values.

    Engines keep ``dense`` at unit length. Others may write to a collection, too: what is read may have no dense vector
    (an empty array) or one that is not finite, so that it can be found and repaired.
    """

    id: str
    dense: NDArray[np.float32]
    sparse: SparseVector
    payload: Mapping[str, Any]

    @classmethod
    def of(cls, id_: object, vectors: Mapping[str, Any] | None, payload: Mapping[str, Any] | None) -> "IndexPoint":
        """From an engine's id, vectors by name, and payload."""
        held = vectors or {}
        terms = held.get(SPARSE)
        sparse = SparseVector.of(terms.indices, terms.values) if terms else SparseVector.of([], [])
        return cls(str(id_), np.asarray(held.get(DENSE, ()), np.float32), sparse, payload or {})

    def checked(self) -> "IndexPoint":
        """Itself, to be written. Raises VectorIndexError without a finite dense vector: Edge takes NaN in silence."""
        if self.dense.ndim != 1 or not self.dense.size or not np.isfinite(self.dense).all():
            message = f"The dense vector of point {self.id} must be one-dimensional and finite."
            raise VectorIndexError(message)
        return self


class PointHashes(NamedTuple):
    """What a point says it holds: an empty hash, or NO_DIGEST, where its payload has none."""

    id: str
    content_hash: str
    digest: int

    @classmethod
    def of(cls, id_: object, payload: Mapping[str, Any] | None) -> "PointHashes":
        """From an engine's id and payload, in which others may have put values of any type."""
        held = payload or {}
        content, digest = held.get("content_hash"), held.get("payload_digest")
        return cls(
            str(id_),
            content if isinstance(content, str) else "",
            digest if type(digest) is int and 0 <= digest < 2**63 else NO_DIGEST,
        )


@dataclass(frozen=True)
class Candidate:
    """A point that a search found: cosine (dense) or BM25 (sparse) score, higher is better, and its whole payload."""

    id: str
    score: float
    payload: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True)
class SearchFilter:
    """Which points may be found; None means any. ``vertical`` is one of the account's earned tags (``verticals``).

    ``account_bucket`` finds points that are of this bucket alone: one whose payload names several is of none of them.

    ``account_ids`` are the only accounts that may be found; an empty set finds nothing. ``posted_after`` is inclusive,
    ``posted_before`` exclusive; a date without a time zone is a ValueError.
    """

    vertical: str | None = None
    network: str | None = None
    language: str | None = None
    country: str | None = None
    account_id: str | None = None
    account_ids: frozenset[str] | None = None
    account_bucket: int | None = None
    posted_after: datetime | None = None
    posted_before: datetime | None = None

    def __post_init__(self) -> None:
        for moment in (self.posted_after, self.posted_before):
            if moment is not None and moment.tzinfo is None:
                message = f"posted_after and posted_before need a time zone: {moment.isoformat()}"
                raise ValueError(message)

    def matches(self) -> dict[str, str | int]:
        """Payload field → the value that it must hold, or have among others."""
        wanted = {
            "verticals": self.vertical,
            "network": self.network,
            "language": self.language,
            "country": self.country,
            "account_id": self.account_id,
            "account_bucket": self.account_bucket,
        }
        return {key: value for key, value in wanted.items() if value is not None}


class VectorIndex(Protocol):
    """One collection in one engine. Every call is idempotent; every failure is a VectorIndexError."""

    def upsert(self, points: Iterable[IndexPoint]) -> int:
        """Write whole points (vectors and payload replaced) in batches; returns how many."""

    def set_payload(self, payloads: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
        """Replace whole payloads and leave the vectors; unknown ids are skipped; returns how many were replaced."""

    def delete(self, ids: Iterable[str], account_bucket: int | None = None) -> None:
        """Remove points (those that are of one bucket by then); unknown ids are no error."""

    def delete_homeless(self, buckets: Iterable[int]) -> int:
        """Remove the points that no look at one of these buckets shows; returns how many there were."""

    def scroll_digests(self, account_bucket: int | None = None) -> Iterator[tuple[str, int]]:
        """Id and digest, or NO_DIGEST, of every point (of one bucket), as quickly as can be, in no promised order.

        One whose payload has several, which none of ours has, may be told of several times.
        """

    def scroll_hashes(self, account_bucket: int | None = None) -> Iterator[PointHashes]:
        """The hashes in the payload of every point (of one bucket), page by page, in no promised order."""

    def scroll_points(self, account_bucket: int | None = None) -> Iterator[IndexPoint]:
        """Every point whole, vectors and payload, page by page, in no promised order."""

    def search_dense(self, vector: NDArray[np.float32], where: SearchFilter, limit: int) -> list[Candidate]:
        """The best by cosine, by (-score, id); exact up to EXACT_UP_TO_POINTS points, unless they are quantized."""

    def search_sparse(self, query: SparseVector, where: SearchFilter, limit: int) -> list[Candidate]:
        """The best by dot product among points sharing a term with ``query``, by (-score, id); always exact."""

    def count(self, account_bucket: int | None = None) -> int:
        """Points in the collection (or bucket), exactly."""

    def retrieve(self, ids: Sequence[str]) -> list[IndexPoint]:
        """The points with vectors and payload, in the order asked for; unknown ids are left out."""

    def hashes(self, ids: Sequence[str]) -> list[PointHashes]:
        """The hashes in the payloads of some points; unknown ids are left out."""

    def optimize(self) -> None:
        """End bulk loading, build or wait for the HNSW graph; returns when searches are at full speed."""

    def health(self) -> dict[str, str | int]:
        """``engine, status`` (green, yellow, grey or red), ``points, indexed_vectors, segments``."""

    def inactive_replicas(self) -> list[str]:
        """A sentence for each replica of a shard that is not active; none where there is no cluster."""

    def generation(self) -> str:
        """An id made with the collection: another value means that the collection was lost and made anew."""


class QdrantResource(ConfigurableResource):  # type: ignore[type-arg]
    """The vector index of this environment: a Qdrant server at ``url``, or else Edge in the folder ``edge_path``.

    ``url`` without a port means 6333, as in Qdrant's own clients. Edge belongs to one process at a time: both calls
    wait for it up to ``lock_timeout_seconds``. ``quantization`` is that of new generations.
    """

    url: str = ""
    api_key: str = Field(default="", repr=False)
    edge_path: str = ""
    lock_timeout_seconds: float = 600.0
    quantization: str = "none"
    nodes: str = ""

    def unequal_replicas(self, collection: str) -> list[str]:
        """A sentence for each shard of a collection whose replicas hold different numbers of points."""
        cluster = self.cluster(collection)
        return cluster.unequal() if cluster else []

    def cluster(self, collection: str = SERVING) -> "Cluster | None":
        """The nodes of the cluster as they are now, or None for the embedded engine; ``nodes`` are those expected.

        Raises VectorIndexError when there is no such collection, or the server does not answer.
        """
        if not self.url:
            return None
        from resources.qdrant_health import read_cluster

        expected = [address.strip() for address in self.nodes.split(",") if address.strip()]
        return read_cluster(self.url, self.api_key, expected, collection)

    @contextmanager
    def open(self, model: str | None = None) -> Iterator[VectorIndex]:
        """The generation that is served, for one operation. Raises IndexUnavailableError when it is not reachable.

        Raises CollectionMissingError before the first promotion, and CollectionMismatchError when its vectors are
        not those of ``model``, or its terms not of today's encoding: a query finds nothing sensible among others.
        """
        with self.generations() as generations:
            serving = generations.serving()
            if serving is None:
                message = (
                    "No collection is served yet: the lineage has not run, its collection is lost, or the gate refused "
                    "it, and then qdrant/promotion says why."
                )
                raise CollectionMissingError(message)
            from resources.bm25 import SPARSE_ENCODING  # which needs this module's vectors

            if model is not None and serving.recipe.sparse != SPARSE_ENCODING:
                message = (
                    f"{serving.name} is served and holds terms of {serving.recipe.sparse}; queries are of "
                    f"{SPARSE_ENCODING}: run the lineage, which builds a generation for it."
                )
                raise CollectionMismatchError(message)
            if model is not None and serving.recipe.model != model:
                message = (
                    f"{serving.name} is served and holds vectors of {serving.recipe.model}; the encoder is {model}: "
                    "set it back, or run the lineage, which builds a generation for it."
                )
                raise CollectionMismatchError(message)
            yield generations.open(serving)

    @contextmanager
    def generations(self) -> Iterator[Generations]:
        """Every generation, for one operation. Raises IndexUnavailableError when they are held or not reachable."""
        # Imported here: loading definitions should not pay 1.6 s for the engine that it does not use.
        if self.url:
            if not self.url.startswith(("http://", "https://")):
                message = f"QDRANT_URL is {self.url!r}, expected an address that begins with http:// or https://."
                raise IndexUnavailableError(message)
            from resources.server_generations import ServerGenerations

            with ServerGenerations.connect(self.url, self.api_key) as server:
                yield server
        elif self.edge_path:
            from resources.edge_generations import EdgeGenerations

            with EdgeGenerations.lock(Path(self.edge_path), self.lock_timeout_seconds) as edge:
                yield edge
        else:
            message = "There is no vector index: set QDRANT_URL."
            raise IndexUnavailableError(message)


def best_candidates(fetch: Callable[[int], list[Candidate]], limit: int) -> list[Candidate]:
    """The best ``limit`` by (-score, id), whichever of several tied points an engine returns first.

    ``fetch(n)`` asks the engine for its best n. A tie across the cut is resolved by asking for more, up to
    TIE_WIDENING times the limit; a longer tie is cut by id among those seen.
    """
    wanted = limit + 1
    while True:
        found = sorted(fetch(wanted), key=_candidate_order)
        is_tied_at_cut = (
            len(found) == wanted and _candidate_order(found[limit - 1])[0] == _candidate_order(found[-1])[0]
        )
        if not is_tied_at_cut or wanted >= limit * TIE_WIDENING:
            return found[:limit]
        wanted = min(wanted * 4, limit * TIE_WIDENING)


def in_batches(items: Iterable[T], size: int = BATCH_POINTS) -> Iterator[list[T]]:
    """The items in lists of ``size``; the last may be shorter. (itertools.batched came with Python 3.12.)"""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _candidate_order(candidate: Candidate) -> tuple[float, str]:
    return -round(candidate.score, SCORE_DECIMALS), candidate.id
