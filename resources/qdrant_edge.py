"""The vector index in Qdrant Edge: Qdrant's own engine in this process, one shard folder, no server.

Belongs here: Edge's calls. Not here: what an index is (vector_index.py), making a shard (edge_shard.py), which folder
is served, the lock (edge_generations.py).
"""

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from resources.edge_shard import create_payload_indexes, engine_errors, read_birth, write_birth
from resources.index_generations import Generation
from resources.index_values import (
    DENSE,
    NO_DIGEST,
    SPARSE,
    Candidate,
    CollectionMissingError,
    IndexPoint,
    PointHashes,
    SearchFilter,
    SparseVector,
    VectorIndexError,
)
from resources.vector_index import (
    BATCH_POINTS,
    EXACT_UP_TO_POINTS,
    HNSW_EF,
    OVERSAMPLING,
    PAGE_POINTS,
    PAYLOAD_INDEXES,
    best_candidates,
    in_batches,
)

_HASHES = edge.PayloadSelector.Include(["content_hash", "payload_digest"])


class EdgeIndex:
    """A VectorIndex in one generation's folder, which EdgeGenerations made and holds the lock of.

    The write-ahead log is on, so a killed process loses nothing that a call returned for. Deleted payloads stay
    in that log until the generation is dropped.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shard: edge.EdgeShard | None = None
        self._loading = threading.Lock()

    def upsert(self, points: Iterable[IndexPoint]) -> int:
        """See VectorIndex."""
        written = 0
        for batch in in_batches(points):
            self._update(edge.UpdateOperation.upsert_points([_edge_point(point) for point in batch]))
            written += len(batch)
        return written

    def set_payload(self, payloads: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
        """See VectorIndex. Edge refuses unknown ids, so they are looked up first."""
        replaced = 0
        for batch in in_batches(payloads):
            known = {record.id for record in self._records([id_ for id_, _ in batch], payload=False, vectors=False)}
            for id_, payload in batch:
                if uuid.UUID(id_) in known:
                    self._update(edge.UpdateOperation.overwrite_payload([id_], dict(payload)))
                    replaced += 1
        return replaced

    def delete(self, ids: Iterable[str], account_bucket: int | None = None) -> None:
        """See VectorIndex."""
        where = _edge_filter(SearchFilter(account_bucket=account_bucket))
        of_bucket = (where.must if where else None) or []
        for batch in in_batches(ids):
            chosen = edge.Filter(must=[*of_bucket, edge.HasIdCondition(set(batch))])
            self._update(edge.UpdateOperation.delete_points_by_filter(chosen))

    def delete_homeless(self, buckets: Iterable[int]) -> int:
        """See VectorIndex."""
        of_any = edge.FieldCondition("account_bucket", match=edge.MatchAny(sorted(buckets)))
        homeless = edge.Filter(must_not=[edge.Filter(must=[of_any, _one_bucket()])])
        with engine_errors():
            found = self._loaded().count(edge.CountRequest(exact=True, filter=homeless))
        if found:
            self._update(edge.UpdateOperation.delete_points_by_filter(homeless))
        return found

    def scroll_digests(self, account_bucket: int | None = None) -> Iterator[tuple[str, int]]:
        """See VectorIndex. Memory: ids and digests of all of them.

        They come from the digests' index, by whose order points are scrolled, in a third of the time that it takes to
        read payloads. What is not in it comes after.
        """
        where = _edge_filter(SearchFilter(account_bucket=account_bucket))
        known = edge.FieldCondition("payload_digest", range=edge.RangeFloat(gte=0))
        must = [*((where.must if where else None) or [])]
        for matching, order in (
            (edge.Filter(must=[*must, known]), edge.OrderBy("payload_digest")),
            (edge.Filter(must=must, must_not=[known]), None),
        ):
            shard = self._loaded()
            with engine_errors():
                all_of_them = max(1, shard.info().points_count)
                request = edge.ScrollRequest(
                    limit=all_of_them, filter=matching, with_payload=False, with_vector=False, order_by=order
                )
                records, _ = shard.scroll(request)
            for record in records:
                yield str(record.id), NO_DIGEST if record.order_value is None else int(record.order_value)

    def scroll_hashes(self, account_bucket: int | None = None) -> Iterator[PointHashes]:
        """See VectorIndex. The iterator lives no longer than the opened index."""
        where = _edge_filter(SearchFilter(account_bucket=account_bucket))
        offset: edge.PointId | None = None
        while True:
            request = edge.ScrollRequest(
                offset=offset, limit=PAGE_POINTS, filter=where, with_payload=_HASHES, with_vector=False
            )
            with engine_errors():
                records, offset = self._loaded().scroll(request)
            for record in records:
                yield PointHashes.of(record.id, record.payload)
            if offset is None:
                return

    def scroll_points(self, account_bucket: int | None = None) -> Iterator[IndexPoint]:
        """See VectorIndex. The iterator lives no longer than the opened index."""
        where = _edge_filter(SearchFilter(account_bucket=account_bucket))
        offset: edge.PointId | None = None
        while True:
            request = edge.ScrollRequest(
                offset=offset, limit=BATCH_POINTS, filter=where, with_payload=True, with_vector=True
            )
            with engine_errors():
                records, offset = self._loaded().scroll(request)
            for record in records:
                yield _index_point(record)
            if offset is None:
                return

    def search_dense(self, vector: NDArray[np.float32], where: SearchFilter, limit: int) -> list[Candidate]:
        """See VectorIndex."""
        few = self._loaded().info().points_count <= EXACT_UP_TO_POINTS
        if self._born().recipe.quantization != "none":
            rescored = edge.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
            params = edge.SearchParams(hnsw_ef=HNSW_EF, quantization=rescored)
        else:
            params = edge.SearchParams(exact=few, hnsw_ef=None if few else HNSW_EF)
        return self._search(edge.Query.Nearest(vector.tolist(), using=DENSE), where, limit, params)

    def search_sparse(self, query: SparseVector, where: SearchFilter, limit: int) -> list[Candidate]:
        """See VectorIndex."""
        self._loaded()
        if not len(query):
            return []
        return self._search(edge.Query.Nearest(_edge_sparse(query), using=SPARSE), where, limit, None)

    def count(self, account_bucket: int | None = None) -> int:
        """See VectorIndex."""
        where = _edge_filter(SearchFilter(account_bucket=account_bucket))
        with engine_errors():
            return self._loaded().count(edge.CountRequest(exact=True, filter=where))

    def retrieve(self, ids: Sequence[str]) -> list[IndexPoint]:
        """See VectorIndex."""
        found = {}
        for batch in in_batches(ids):
            for record in self._records(batch, payload=True, vectors=True):
                found[str(record.id)] = _index_point(record)
        return [found[id_] for id_ in ids if id_ in found]

    def hashes(self, ids: Sequence[str]) -> list[PointHashes]:
        """See VectorIndex."""
        records = (
            record for batch in in_batches(ids) for record in self._records(batch, payload=_HASHES, vectors=False)
        )
        return [PointHashes.of(record.id, record.payload) for record in records]

    def optimize(self) -> None:
        """See VectorIndex. Blocks: 14 s for 20,000 points of 384 numbers, 845 s for 500,000, on two cores."""
        with engine_errors():
            self._loaded().optimize()

    def health(self) -> dict[str, str | int]:
        """See VectorIndex."""
        info = self._loaded().info()
        return {
            "engine": "edge",
            "status": "green",
            "points": info.points_count,
            "indexed_vectors": info.indexed_vectors_count,
            "segments": info.segments_count,
        }

    def inactive_replicas(self) -> list[str]:
        """See VectorIndex. One process has no cluster."""
        return []

    def generation(self) -> str:
        """See VectorIndex. Kept in the shard's folder, so that it is lost with it."""
        self._loaded()
        return self._born().id

    def close(self) -> None:
        """Close the shard; the next call opens it again."""
        if self._shard is not None:
            shard, self._shard = self._shard, None
            shard.close()

    def _loaded(self) -> edge.EdgeShard:
        """The open shard, for any thread. Lost segments load as an empty shard without indexes: another collection."""
        with self._loading:
            if self._shard is None:
                self._shard = self._load()
            return self._shard

    def _load(self) -> edge.EdgeShard:
        born = self._born()
        try:
            shard = edge.EdgeShard.load(str(self._folder))
        except Exception as error:  # Edge raises nothing more specific
            message = f"{self._folder} cannot be loaded: {error}. Move it away and the next run builds it anew."
            raise VectorIndexError(message) from error
        if not PAYLOAD_INDEXES.keys() <= shard.info().payload_schema.keys():
            create_payload_indexes(shard)
            write_birth(self._folder, replace(born, id=str(uuid.uuid4())))
        return shard

    def _born(self) -> Generation:
        if not self._folder.exists():
            message = f"There is no collection in {self._folder} yet."
            raise CollectionMissingError(message)
        return read_birth(self._folder)

    def _update(self, operation: edge.UpdateOperation) -> None:
        with engine_errors():
            self._loaded().update(operation)

    def _records(self, ids: Sequence[str], *, payload: bool | edge.PayloadSelector, vectors: bool) -> list[edge.Record]:
        with engine_errors():
            return self._loaded().retrieve(list(ids), with_payload=payload, with_vector=vectors)

    def _search(
        self, query: edge.Query, where: SearchFilter, limit: int, params: edge.SearchParams | None
    ) -> list[Candidate]:
        shard, conditions = self._loaded(), _edge_filter(where)

        def fetch(wanted: int) -> list[Candidate]:
            request = edge.QueryRequest(
                limit=wanted, query=query, filter=conditions, params=params, with_payload=True, with_vector=False
            )
            with engine_errors():
                return [Candidate(str(hit.id), hit.score, hit.payload or {}) for hit in shard.query(request)]

        return best_candidates(fetch, limit)


def _edge_point(point: IndexPoint) -> edge.Point:
    vectors: dict[str, edge.NamedVector] = {DENSE: point.checked().dense.tolist()}
    if len(point.sparse):
        vectors[SPARSE] = _edge_sparse(point.sparse)
    return edge.Point(point.id, vectors, dict(point.payload))


def _edge_sparse(sparse: SparseVector) -> edge.SparseVector:
    return edge.SparseVector(sparse.checked().indices.tolist(), sparse.values.tolist())


def _index_point(record: edge.Record) -> IndexPoint:
    vectors: Any = record.vector
    return IndexPoint.of(record.id, vectors, record.payload)


def _edge_filter(where: SearchFilter) -> edge.Filter | None:
    must: list[edge.ConditionType] = [
        edge.FieldCondition(key, match=edge.MatchValue(value)) for key, value in where.matches().items()
    ]
    if where.account_bucket is not None:
        must.append(_one_bucket())
    if where.account_ids is not None:
        must.append(edge.FieldCondition("account_id", match=edge.MatchAny(sorted(where.account_ids))))
    if where.posted_after or where.posted_before:
        bounds = edge.RangeDateTime(gte=_rfc3339(where.posted_after), lt=_rfc3339(where.posted_before))
        must.append(edge.FieldCondition("posted_at", range=bounds))
    return edge.Filter(must=must) if must else None


def _one_bucket() -> edge.FieldCondition:
    """No other bucket beside it: a match alone finds a list that holds what it looks for, too."""
    return edge.FieldCondition("account_bucket", values_count=edge.ValuesCount(gte=1, lte=1))


def _rfc3339(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
