"""The vector index in Qdrant Edge: Qdrant's own engine in this process, one shard folder, no server."""

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from resources.vectors.edge.models import (
    chosen,
    edge_point,
    edge_sparse,
    every_bucket,
    filter_of,
    homeless,
    in_any_of,
    in_bucket,
    in_several_buckets,
    index_point,
)
from resources.vectors.edge.shard import create_payload_indexes, engine_errors, is_of_engine, read_birth, write_birth
from resources.vectors.generations import Generation
from resources.vectors.protocol import (
    BATCH_POINTS,
    EXACT_UP_TO_POINTS,
    HNSW_EF,
    OVERSAMPLING,
    PAGE_POINTS,
    PAYLOAD_INDEXES,
    Payloads,
    best_candidates,
    in_batches,
)
from resources.vectors.values import (
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
    id_in_engine,
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
        self._loading, self._looking = threading.Lock(), threading.Lock()
        self._is_closed = False
        self._several: frozenset[str] | None = None

    def upsert(self, points: Iterable[IndexPoint]) -> int:
        """See VectorIndex."""
        written = 0
        for batch in in_batches(points):
            self._note_several(point.payload for point in batch)
            self._update(edge.UpdateOperation.upsert_points([edge_point(point) for point in batch]))
            written += len(batch)
        return written

    def set_payload(self, payloads: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
        """See VectorIndex. Edge refuses unknown ids, so they are looked up first."""
        replaced = 0
        for batch in in_batches(payloads):
            known = {str(record.id) for record in self._records([id_ for id_, _ in batch], payload=False)}
            self._note_several(payload for _, payload in batch)
            for id_, payload in batch:
                if id_ in known:
                    self._update(edge.UpdateOperation.overwrite_payload([id_in_engine(id_)], dict(payload)))
                    replaced += 1
        return replaced

    def delete(self, ids: Iterable[str], account_bucket: int | None = None) -> None:
        """See VectorIndex."""
        for batch in in_batches(ids):
            with engine_errors():
                where = chosen(batch, account_bucket)
            self._update(edge.UpdateOperation.delete_points_by_filter(where))

    def delete_homeless(self, buckets: Iterable[int]) -> int:
        """See VectorIndex."""
        where = homeless(buckets)
        with engine_errors():
            found = self._loaded().count(edge.CountRequest(exact=True, filter=where))
        if found:
            self._update(edge.UpdateOperation.delete_points_by_filter(where))
        return found

    def scroll_digests(self, account_bucket: int | None = None) -> Iterator[tuple[str, int]]:
        """See VectorIndex. Memory: ids and digests of all of them.

        They come from the digests' index, by whose order points are scrolled, in a third of the time that it takes to
        read payloads: a row a digest. What is not in it comes after.
        """
        has_digest = edge.FieldCondition("payload_digest", range=edge.RangeFloat(gte=0))
        found: dict[str, int] = {}
        matched: list[edge.ConditionType] = [] if account_bucket is None else [in_bucket(account_bucket)]
        left_out = frozenset[str]() if account_bucket is None else self._of_several_buckets()
        ordered = edge.Filter(must=[*matched, has_digest])
        for record in self._all_rows(ordered, order=edge.OrderBy("payload_digest")):
            id_ = str(record.id)
            found[id_] = NO_DIGEST if id_ in found or record.order_value is None else int(record.order_value)
        rest = self._all_rows(edge.Filter(must=matched, must_not=[has_digest]))
        found.update((str(record.id), NO_DIGEST) for record in rest)
        yield from ((id_, digest) for id_, digest in found.items() if id_ not in left_out)

    def _of_several_buckets(self) -> frozenset[str]:
        """The points that are of none because they are of several; asked once, as the folder's lock keeps others out.

        To count every point's values takes a second for 100,000 of them. The index of buckets knows at once whether
        any is in two.
        """
        with self._looking:
            if self._several is None:
                rows = self._all_rows(in_several_buckets()) if self._is_any_in_two_buckets() else []
                self._several = frozenset(str(record.id) for record in rows)
            return self._several

    def _is_any_in_two_buckets(self) -> bool:
        with engine_errors():
            hits = self._loaded().facet(every_bucket()).hits
            of_any = edge.Filter(must=[in_any_of(hit.value for hit in hits if isinstance(hit.value, int))])
            points = self._loaded().count(edge.CountRequest(exact=True, filter=of_any))
        return sum(hit.count for hit in hits) > points

    def _note_several(self, payloads: Iterable[Mapping[str, Any]]) -> None:
        """Ask again for the points of several buckets, when what is written may be one, or have been one."""
        if self._several or any(isinstance(payload.get("account_bucket"), list) for payload in payloads):
            self._several = None

    def _all_rows(self, where: edge.Filter, order: edge.OrderBy | None = None) -> list[edge.Record]:
        shard = self._loaded()
        with engine_errors():
            limit = shard.info().points_count + 1
            while True:
                request = edge.ScrollRequest(
                    limit=limit, filter=where, with_payload=False, with_vector=False, order_by=order
                )
                records, _ = shard.scroll(request)
                if len(records) < limit:
                    return records
                limit *= 2  # a point with several values is a row for each

    def scroll_hashes(self, account_bucket: int | None = None) -> Iterator[PointHashes]:
        """See VectorIndex. The iterator lives no longer than the opened index."""
        where = filter_of(SearchFilter(account_bucket=account_bucket))
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
        where = filter_of(SearchFilter(account_bucket=account_bucket))
        offset: edge.PointId | None = None
        while True:
            request = edge.ScrollRequest(
                offset=offset, limit=BATCH_POINTS, filter=where, with_payload=True, with_vector=True
            )
            with engine_errors():
                records, offset = self._loaded().scroll(request)
            for record in records:
                yield index_point(record)
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
        return self._search(edge.Query.Nearest(edge_sparse(query), using=SPARSE), where, limit, None)

    def count(self, account_bucket: int | None = None) -> int:
        """See VectorIndex."""
        where = filter_of(SearchFilter(account_bucket=account_bucket))
        with engine_errors():
            return self._loaded().count(edge.CountRequest(exact=True, filter=where))

    def retrieve(self, ids: Sequence[str]) -> list[IndexPoint]:
        """See VectorIndex."""
        found = {str(record.id): index_point(record) for record in self._records(ids, payload=True, vectors=True)}
        return [found[id_] for id_ in ids if id_ in found]

    def hashes(self, ids: Sequence[str]) -> list[PointHashes]:
        """See VectorIndex."""
        return [PointHashes.of(record.id, record.payload) for record in self._records(ids, payload=_HASHES)]

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
        """Close the shard for good: a thread that goes on must not touch a folder that may be another's by then."""
        with self._loading:
            self._is_closed = True
            shard, self._shard = self._shard, None
        if shard is not None:
            shard.close()

    def _loaded(self) -> edge.EdgeShard:
        """The open shard, for any thread. Lost segments load as an empty shard without indexes: another collection."""
        with self._loading:
            if self._is_closed:
                message = f"{self._folder} was closed with the lock of its folder."
                raise VectorIndexError(message)
            if self._shard is None:
                self._shard = self._load()
            return self._shard

    def _load(self) -> edge.EdgeShard:
        born = self._born()
        try:
            shard = edge.EdgeShard.load(str(self._folder))
        except BaseException as error:  # Edge raises nothing more specific
            if not is_of_engine(error):
                raise
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

    def _records(
        self, ids: Sequence[str], *, payload: bool | edge.PayloadSelector, vectors: bool = False
    ) -> Iterator[edge.Record]:
        for batch in in_batches(map(id_in_engine, ids)):
            with engine_errors():
                found = self._loaded().retrieve([*batch], with_payload=payload, with_vector=vectors)
            yield from found

    def _search(
        self, query: edge.Query, where: SearchFilter, limit: int, params: edge.SearchParams | None
    ) -> list[Candidate]:
        shard, conditions = self._loaded(), filter_of(where)

        def fetch(wanted: int, shown: bool) -> list[Candidate]:
            request = edge.QueryRequest(
                limit=wanted, query=query, filter=conditions, params=params, with_payload=shown, with_vector=False
            )
            with engine_errors():
                return [Candidate(str(hit.id), hit.score, hit.payload or {}) for hit in shard.query(request)]

        return best_candidates(fetch, self._payloads, limit)

    def _payloads(self, ids: Sequence[str]) -> Payloads:
        return {str(record.id): record.payload or {} for record in self._records(ids, payload=True)}
