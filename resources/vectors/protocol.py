"""The one interface of a collection in an engine, and what every engine agrees on, the order of candidates included."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from resources.vectors.values import Candidate, IndexPoint, PointHashes, SearchFilter, SparseVector

BATCH_POINTS = 256
PAGE_POINTS = 1_000
EXACT_UP_TO_POINTS = 100_000  # a full scan of 20,000 × 384 takes 3 ms; HNSW at ef 64 finds .71 of the top 10
HNSW_EF = 512
OVERSAMPLING = 3.0  # quantized candidates whose scores are computed anew, per wanted one
SCORE_DECIMALS = 5  # engines agree to 1e-6; what differs less than 1e-5 is a tie and goes by id

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

T = TypeVar("T")
Payloads = Mapping[str, Mapping[str, Any]]
"""Point id → payload."""
_WIDENING = 4


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

        One whose payload names something beside the bucket that is none may be among them.
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


def best_candidates(
    fetch: Callable[[int, bool], list[Candidate]], payloads: Callable[[Sequence[str]], Payloads], limit: int
) -> list[Candidate]:
    """The best ``limit`` by (-score, id), whichever of several tied points an engine returns first.

    ``fetch(n, shown)`` asks the engine for its best n, with their payloads or without. A tie across the cut is resolved
    by asking for more until its end is seen, and then for the ``payloads`` of the best: it costs an id and a score a
    tied point. What has no finite score, because somebody wrote a vector that has none, is left out.
    """
    wanted, shown = limit + 1, True
    while True:
        answer = fetch(wanted, shown)
        found = sorted((one for one in answer if math.isfinite(one.score)), key=_candidate_order)
        if len(answer) < wanted or (
            len(found) > limit and _candidate_order(found[limit - 1])[0] != _candidate_order(found[-1])[0]
        ):
            break
        wanted, shown = wanted * _WIDENING, False
    best = found[:limit]
    if shown:
        return best
    held = payloads([one.id for one in best])
    return [replace(one, payload=held[one.id]) for one in best if one.id in held]


def in_batches(items: Iterable[T], size: int = BATCH_POINTS) -> Iterator[list[T]]:
    """The items in lists of ``size``; the last may be shorter. (itertools.batched came with Python 3.12.)"""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _candidate_order(candidate: Candidate) -> tuple[float, str]:
    return -round(candidate.score, SCORE_DECIMALS), candidate.id
