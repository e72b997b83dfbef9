"""The vector index in Qdrant Edge: Qdrant's own engine in this process, one shard folder, no server."""

import threading
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from resources.disk import LEAST_FREE_BYTES, require_space
from resources.vectors.edge.changes import ChangedBuckets
from resources.vectors.edge.shard import (
    create_payload_indexes,
    engine_errors,
    is_of_engine,
    read_metadata,
    write_metadata,
)
from resources.vectors.index import (
    EXACT_UP_TO_POINTS,
    HNSW_EF,
    OVERSAMPLING,
    PAYLOAD_INDEXES,
    VectorIndex,
    in_batches,
)
from resources.vectors.values import (
    DENSE,
    SPARSE,
    Candidate,
    IndexPoint,
    SearchFilter,
    SparseVector,
    VectorIndexError,
    id_in_engine,
)

_BUCKET = "account_bucket"
_ONE_BUCKET = edge.FieldCondition(_BUCKET, values_count=edge.ValuesCount(gte=1, lte=1))
"""The payload names exactly one bucket: a match alone also finds lists that contain the value."""


class EdgeIndex(VectorIndex):
    """A VectorIndex in the folder of one generation, which EdgeGenerations created and locked.

    The write-ahead log is on, so a killed process loses nothing that a call returned for. Deleted payloads stay
    in that log until the generation is dropped. ``changes``, if given, notes the buckets that are written.
    """

    def __init__(self, folder: Path, changes: ChangedBuckets | None = None) -> None:
        self._folder = folder
        self.changes = changes
        self._shard: edge.EdgeShard | None = None
        self._loading = threading.Lock()
        self._is_closed = False

    def upsert(self, points: Iterable[IndexPoint]) -> int:
        """See VectorIndex."""
        written = 0
        for batch in in_batches(points):
            self._note([point.id for point in batch], (point.payload for point in batch))
            self._update(edge.UpdateOperation.upsert_points([_point(point) for point in batch]))
            written += len(batch)
        return written

    def delete(self, ids: Iterable[str], account_bucket: int | None = None) -> None:
        """See VectorIndex."""
        for batch in in_batches(ids):
            self._note(batch, ())
            super().delete(batch, account_bucket)

    def optimize(self) -> None:
        """See VectorIndex. Blocks: 14 s for 20,000 points of 384 numbers, 845 s for 500,000, on two cores."""
        held = sum(path.stat().st_blocks * 512 for path in self._folder.rglob("*") if path.is_file())
        require_space(self._folder, LEAST_FREE_BYTES + held)  # the engine writes its segments once more
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

    def generation(self) -> str:
        """See VectorIndex. Stored in the shard's folder, so that it is lost with it."""
        self._loaded()
        return read_metadata(self._folder).id

    def close(self) -> None:
        """Close the shard for good: a thread that goes on must not touch a folder that another process has locked."""
        with self._loading:
            self._is_closed = True
            shard, self._shard = self._shard, None
        if shard is not None:
            shard.close()

    def _note(self, ids: Sequence[str], payloads: Iterable[Mapping[str, Any]]) -> None:
        """Note the buckets that a write touches: of what is written, and of what is stored under these ids."""
        if self.changes is not None:
            stored = (record.payload or {} for record in self._records(ids, payload=[_BUCKET]))
            self.changes.add(payload.get(_BUCKET) for payload in chain(payloads, stored))

    def _loaded(self) -> edge.EdgeShard:
        """Return the open shard, for any thread."""
        with self._loading:
            if self._is_closed:
                raise VectorIndexError(f"{self._folder} was closed with the lock of its folder.")
            if self._shard is None:
                self._shard = self._load()
            return self._shard

    def _load(self) -> edge.EdgeShard:
        """Open the shard. Lost segments load as an empty shard without payload indexes: give it a new id."""
        generation = read_metadata(self._folder)
        try:
            shard = edge.EdgeShard.load(str(self._folder))
        except BaseException as error:  # Edge raises nothing more specific
            if not is_of_engine(error):
                raise
            raise VectorIndexError(
                f"{self._folder} cannot be loaded: {error}. Move it away and the next run builds it again."
            ) from error
        if not PAYLOAD_INDEXES.keys() <= shard.info().payload_schema.keys():
            create_payload_indexes(shard)
            write_metadata(self._folder, replace(generation, id=str(uuid.uuid4())))
        return shard

    def _update(self, operation: edge.UpdateOperation) -> None:
        require_space(self._folder)
        with engine_errors():
            self._loaded().update(operation)

    @engine_errors()
    def _filter(self, where: SearchFilter, ids: Sequence[str] | None = None) -> edge.Filter | None:
        must: list[edge.ConditionType] = [  # the alias exists in the stubs alone
            edge.FieldCondition(key, match=edge.MatchValue(value)) for key, value in where.matches().items()
        ]
        must += [edge.FieldCondition(key, match=edge.MatchAny(values)) for key, values in where.any_of().items()]
        if where.account_bucket is not None:
            must.append(_ONE_BUCKET)
        if where.posted_after or where.posted_before:
            bounds = edge.RangeDateTime(gte=_rfc3339(where.posted_after), lt=_rfc3339(where.posted_before))
            must.append(edge.FieldCondition("posted_at", range=bounds))
        if ids is not None:
            must.append(edge.HasIdCondition({id_in_engine(id_) for id_ in ids}))
        return edge.Filter(must=must) if must else None

    def _orphaned_filter(self, buckets: Iterable[int]) -> edge.Filter:
        in_any = edge.FieldCondition("account_bucket", match=edge.MatchAny(sorted(buckets)))
        return edge.Filter(must_not=[edge.Filter(must=[in_any, _ONE_BUCKET])])

    @engine_errors()
    def _count(self, where: edge.Filter | None) -> int:
        return self._loaded().count(edge.CountRequest(exact=True, filter=where))

    def _delete(self, where: edge.Filter) -> None:
        self._update(edge.UpdateOperation.delete_points_by_filter(where))

    def _overwrite_payloads(self, payloads: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        self._note([id_ for id_, _ in payloads], (payload for _, payload in payloads))
        for id_, payload in payloads:
            self._update(edge.UpdateOperation.overwrite_payload([id_in_engine(id_)], dict(payload)))

    @engine_errors()
    def _retrieve(self, ids: Sequence[str], payload: bool | list[str], vectors: bool) -> Iterable[edge.Record]:
        found = map(id_in_engine, ids)
        return self._loaded().retrieve([*found], with_payload=_selector(payload), with_vector=vectors)

    @engine_errors()
    def _scroll(
        self, where: edge.Filter | None, limit: int, offset: Any, payload: bool | list[str], vectors: bool
    ) -> tuple[list[edge.Record], Any]:
        request = edge.ScrollRequest(
            offset=offset, limit=limit, filter=where, with_payload=_selector(payload), with_vector=vectors
        )
        return self._loaded().scroll(request)

    def _dense_parameters(self) -> edge.SearchParams:
        points = self._loaded().info().points_count
        if read_metadata(self._folder).index_config.quantization != "none":
            rescored = edge.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
            return edge.SearchParams(hnsw_ef=HNSW_EF, quantization=rescored)
        is_exact = points <= EXACT_UP_TO_POINTS
        return edge.SearchParams(exact=is_exact, hnsw_ef=None if is_exact else HNSW_EF)

    @engine_errors()
    def _query(
        self,
        query: list[float] | SparseVector,
        using: str,
        where: edge.Filter | None,
        parameters: edge.SearchParams | None,
        limit: int,
        payload: bool,
    ) -> list[Candidate]:
        vector = _sparse_vector(query) if isinstance(query, SparseVector) else query
        request = edge.QueryRequest(
            limit=limit,
            query=edge.Query.Nearest(vector, using=using),
            filter=where,
            params=parameters,
            with_payload=payload,
            with_vector=False,
        )
        return [Candidate(str(hit.id), hit.score, hit.payload or {}) for hit in self._loaded().query(request)]


def _selector(payload: bool | list[str]) -> bool | edge.PayloadSelector:
    return payload if isinstance(payload, bool) else edge.PayloadSelector.Include(payload)


def _point(point: IndexPoint) -> edge.Point:
    """Return a point as it is written, without a dense vector of zeros and an empty sparse vector."""
    vectors: dict[str, edge.NamedVector] = {DENSE: point.dense.tolist()} if point.checked().dense.any() else {}
    if len(point.sparse):
        vectors[SPARSE] = _sparse_vector(point.sparse.checked())
    return edge.Point(id_in_engine(point.id), vectors, dict(point.payload))


def _sparse_vector(sparse: SparseVector) -> edge.SparseVector:
    """Return a sparse vector as it is written and queried."""
    return edge.SparseVector(sparse.indices.tolist(), sparse.values.tolist())


def _rfc3339(bound: datetime | None) -> str | None:
    return bound.isoformat() if bound else None
