"""The interface of a collection, its parts that are equal in every engine, and the order of search results."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from resources.vectors.values import (
    DENSE,
    SPARSE,
    Candidate,
    IndexPoint,
    PointHashes,
    SearchFilter,
    SparseVector,
)

BATCH_POINTS = 256
PAGE_POINTS = 10_000  # Edge filters again for each page: 40,000 points take 1.1 s of CPU by 1,000 and 0.5 s by 10,000
EXACT_UP_TO_POINTS = 100_000  # a full scan of 20,000 × 384 takes 3 ms; HNSW at ef 64 finds .71 of the top 10
HNSW_EF = 512
OVERSAMPLING = 3.0  # quantized candidates that are rescored with full vectors, per requested result
SCORE_DECIMALS = 5  # engines agree to 1e-6; scores that differ by less than 1e-5 are tied and ordered by id

IndexKind = Literal["tenant", "keyword", "integer", "datetime"]
PAYLOAD_INDEXES: Mapping[str, IndexKind] = {
    "account_id": "tenant",
    "account_bucket": "integer",
    "network": "keyword",
    "language": "keyword",
    "country": "keyword",
    "followers_tier": "integer",
    "verticals": "keyword",
    "post_verticals": "keyword",
    "posted_at": "datetime",
}

T = TypeVar("T")
Payloads = Mapping[str, Mapping[str, Any]]
"""Point id → payload."""
Record = Any
"""A point as the clients of Qdrant and of Edge return it: ``id``, and ``payload`` and ``vector`` if requested."""
_WIDENING = 4
_HASHES = ["content_hash", "payload_digest"]


class SearchIndex(ABC):
    """What a search asks of a collection. Every failure is a VectorIndexError."""

    @abstractmethod
    def search_dense(self, vector: NDArray[np.float32], where: SearchFilter, limit: int) -> list[Candidate]:
        """Return the best points by cosine, in order (-score, id)."""

    @abstractmethod
    def search_sparse(self, query: SparseVector, where: SearchFilter, limit: int) -> list[Candidate]:
        """Return the best points that share a term with ``query`` by dot product, in order (-score, id); exact."""

    @abstractmethod
    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return id → dense vector, without unknown ids and points without one."""


class VectorIndex(SearchIndex):
    """One collection in one engine. Every call is idempotent. Every failure is a VectorIndexError."""

    @abstractmethod
    def upsert(self, points: Iterable[IndexPoint]) -> int:
        """Write points in batches, replacing vectors and payload; return the number written."""

    def set_payload(self, payloads: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
        """Replace payloads and keep the vectors; skip unknown ids; return the number replaced."""
        replaced = 0
        for batch in in_batches(payloads):
            known = {str(record.id) for record in self._records([id_ for id_, _ in batch], payload=False)}
            found = [(id_, payload) for id_, payload in batch if id_ in known]
            if found:
                self._overwrite_payloads(found)
            replaced += len(found)
        return replaced

    def delete(self, ids: Iterable[str], account_bucket: int | None = None) -> None:
        """Delete points, only those still in ``account_bucket`` if it is given; ignore unknown ids."""
        for batch in in_batches(ids):
            self._delete(self._filter(SearchFilter(account_bucket=account_bucket), batch))

    def delete_orphaned(self, buckets: Iterable[int]) -> int:
        """Delete points whose ``account_bucket`` is missing or not in ``buckets``; return the number deleted."""
        where = self._orphaned_filter(buckets)
        found = self._count(where)
        if found:
            self._delete(where)
        return found

    def scroll_hashes(self, account_bucket: int | None = None) -> Iterator[PointHashes]:
        """Yield the hashes in the payload of every point (of one bucket), page by page, in any order."""
        for record in self._scroll_all(account_bucket, PAGE_POINTS, payload=_HASHES, vectors=False):
            yield PointHashes.of(record.id, record.payload)

    def scroll_points(self, account_bucket: int | None = None) -> Iterator[IndexPoint]:
        """Yield every point (of one bucket) with vectors and payload, page by page, in any order."""
        for record in self._scroll_all(account_bucket, BATCH_POINTS, payload=True, vectors=True):
            yield IndexPoint.of(record.id, record.vector, record.payload)

    def search_dense(self, vector: NDArray[np.float32], where: SearchFilter, limit: int) -> list[Candidate]:
        """See SearchIndex. Exact up to EXACT_UP_TO_POINTS points, unless the vectors are quantized."""
        return self._search(vector.tolist(), DENSE, where, limit, self._dense_parameters())

    def search_sparse(self, query: SparseVector, where: SearchFilter, limit: int) -> list[Candidate]:
        """See SearchIndex."""
        if not len(query):
            self.health()  # raises when the collection is missing
            return []
        return self._search(query.checked(), SPARSE, where, limit, None)

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """See SearchIndex."""
        found = (
            IndexPoint.of(record.id, record.vector, None) for record in self._records(ids, payload=False, vectors=True)
        )
        return {point.id: point.dense for point in found if point.dense.size}

    def count(self, account_bucket: int | None = None) -> int:
        """Return the exact number of points in the collection (or bucket)."""
        return self._count(self._filter(SearchFilter(account_bucket=account_bucket)))

    def retrieve(self, ids: Sequence[str]) -> list[IndexPoint]:
        """Return points with vectors and payload, in the order of ``ids``, without unknown ids."""
        found = {
            str(record.id): IndexPoint.of(record.id, record.vector, record.payload)
            for record in self._records(ids, payload=True, vectors=True)
        }
        return [found[id_] for id_ in ids if id_ in found]

    @abstractmethod
    def optimize(self) -> None:
        """End bulk loading, build the HNSW graph or wait for it; return when searches run at full speed."""

    @abstractmethod
    def health(self) -> dict[str, str | int]:
        """Return ``engine, status`` (green, yellow, grey or red), ``points, indexed_vectors, segments``."""

    @abstractmethod
    def generation(self) -> str:
        """Return the id that was made with the collection; another id means that it was lost and created again."""

    @abstractmethod
    def _filter(self, where: SearchFilter, ids: Sequence[str] | None = None) -> Any:
        """Return the engine's filter for points that match, restricted to ``ids`` if given; None for any point."""

    @abstractmethod
    def _orphaned_filter(self, buckets: Iterable[int]) -> Any:
        """Return the engine's filter for points whose ``account_bucket`` is missing, several, or not in ``buckets``."""

    @abstractmethod
    def _count(self, where: Any) -> int:
        """Return the exact number of points that match."""

    @abstractmethod
    def _delete(self, where: Any) -> None:
        """Delete the points that match."""

    @abstractmethod
    def _overwrite_payloads(self, payloads: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Replace the payloads of points that exist."""

    @abstractmethod
    def _retrieve(self, ids: Sequence[str], payload: bool | list[str], vectors: bool) -> Iterable[Record]:
        """Return a batch of points, in any order, without unknown ids."""

    @abstractmethod
    def _scroll(
        self, where: Any, limit: int, offset: Any, payload: bool | list[str], vectors: bool
    ) -> tuple[Iterable[Record], Any]:
        """Return a page of points and the offset of the next one, or None."""

    @abstractmethod
    def _dense_parameters(self) -> Any:
        """Return the engine's search parameters for dense vectors."""

    @abstractmethod
    def _query(
        self, query: list[float] | SparseVector, using: str, where: Any, parameters: Any, limit: int, payload: bool
    ) -> list[Candidate]:
        """Return the engine's best points, with tied points in any order."""

    def _search(
        self, query: list[float] | SparseVector, using: str, where: SearchFilter, limit: int, parameters: Any
    ) -> list[Candidate]:
        conditions = self._filter(where)
        return best_candidates(
            lambda wanted, payload: self._query(query, using, conditions, parameters, wanted, payload),
            lambda ids: {str(record.id): record.payload or {} for record in self._records(ids, payload=True)},
            limit,
        )

    def _records(self, ids: Sequence[str], *, payload: bool | list[str], vectors: bool = False) -> Iterator[Record]:
        for batch in in_batches(ids):
            yield from self._retrieve(batch, payload, vectors)

    def _scroll_all(
        self, account_bucket: int | None, page: int, *, payload: bool | list[str], vectors: bool
    ) -> Iterator[Record]:
        where, offset = self._filter(SearchFilter(account_bucket=account_bucket)), None
        while True:
            records, offset = self._scroll(where, page, offset, payload, vectors)
            yield from records
            if offset is None:
                return


def best_candidates(
    fetch: Callable[[int, bool], list[Candidate]], payloads: Callable[[Sequence[str]], Payloads], limit: int
) -> list[Candidate]:
    """Return the best ``limit`` candidates in order (-score, id), whichever tied points an engine returns first.

    ``fetch(n, with_payload)`` asks the engine for its best n. While a tie crosses the cut, ask for more points without
    payloads, then read the ``payloads`` of the best: a tied point costs an id and a score. Candidates without a finite
    score are dropped.
    """
    wanted, with_payload = limit + 1, True
    while True:
        answer = fetch(wanted, with_payload)
        found = sorted((candidate for candidate in answer if math.isfinite(candidate.score)), key=_order)
        if len(answer) < wanted or (len(found) > limit and _order(found[limit - 1])[0] != _order(found[-1])[0]):
            break
        wanted, with_payload = wanted * _WIDENING, False
    best = found[:limit]
    if with_payload:
        return best
    known = payloads([candidate.id for candidate in best])
    return [replace(candidate, payload=known[candidate.id]) for candidate in best if candidate.id in known]


def in_batches(items: Iterable[T], size: int = BATCH_POINTS) -> Iterator[list[T]]:
    """Yield the items in lists of ``size``; the last may be shorter. (itertools.batched came with Python 3.12.)"""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def candidate_order(score: float, id_: str) -> tuple[float, str]:
    """Return the key by which candidates are ordered."""
    return -round(score, SCORE_DECIMALS), id_


def _order(candidate: Candidate) -> tuple[float, str]:
    return candidate_order(candidate.score, candidate.id)
