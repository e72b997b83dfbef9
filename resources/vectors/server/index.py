"""The vector index in a Qdrant server, through qdrant-client."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from resources.vectors.generations import Recipe
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
from resources.vectors.server.calls import QdrantCalls, RetryPolicy
from resources.vectors.server.models import (
    BULK_THRESHOLD,
    INDEXING_THRESHOLD,
    SCHEMAS,
    chosen,
    filter_of,
    homeless,
    index_point,
    point_struct,
    sparse_vector,
)
from resources.vectors.values import (
    DENSE,
    SPARSE,
    Candidate,
    IndexPoint,
    PointHashes,
    SearchFilter,
    SparseVector,
    VectorIndexError,
    id_in_engine,
)

_HASHES = ["content_hash", "payload_digest"]


class ServerIndex:
    """A VectorIndex in one collection of the server behind ``client``; ``name`` names that server in errors."""

    def __init__(
        self,
        client: QdrantClient,
        name: str,
        collection: str,
        retry: RetryPolicy | None = None,
        optimize_timeout_seconds: float = 3600.0,
        streams: int = 1,
        recipe: Recipe | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._collection = collection
        self._call = QdrantCalls(name, collection, retry or RetryPolicy())
        self._optimize_timeout_seconds = optimize_timeout_seconds
        self._streams = streams
        self._is_quantized = recipe is not None and recipe.quantization != "none"

    def create_payload_indexes(self) -> None:
        """Index the payload fields that filters use, where they are not indexed yet: before the points come."""
        for name in PAYLOAD_INDEXES.keys() - self._info().payload_schema.keys():
            schema = SCHEMAS[PAYLOAD_INDEXES[name]]
            self._call(self._client.create_payload_index, self._collection, name, schema, wait=True)

    def upsert(self, points: Iterable[IndexPoint]) -> int:
        """See VectorIndex. ``streams`` batches are under way at a time; twice as many are in memory."""
        written, under_way = 0, deque[Future[int]]()
        with ThreadPoolExecutor(self._streams) as pool:
            for batch in in_batches(points):
                if len(under_way) >= 2 * self._streams:
                    written += under_way.popleft().result()
                under_way.append(pool.submit(self._upsert_batch, batch))
            return written + sum(sent.result() for sent in under_way)

    def _upsert_batch(self, batch: list[IndexPoint]) -> int:
        sent = [point_struct(point) for point in batch]
        status = self._call(self._client.upsert, self._collection, sent, wait=True).status
        if status != models.UpdateStatus.COMPLETED:
            message = (
                f"{self._collection} at {self._name} took {len(batch)} points and did not finish: {status.value}, "
                f"expected completed. Look at that node's load and disk; the next run writes what is missing."
            )
            raise VectorIndexError(message)
        return len(batch)

    def set_payload(self, payloads: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
        """See VectorIndex. A server answers 404 to unknown ids, so they are looked up first."""
        replaced = 0
        for batch in in_batches(payloads):
            known = {str(record.id) for record in self._records([id_ for id_, _ in batch], payload=False)}
            operations = [
                models.OverwritePayloadOperation(
                    overwrite_payload=models.SetPayload(payload=dict(payload), points=[id_in_engine(id_)])
                )
                for id_, payload in batch
                if id_ in known
            ]
            if operations:
                self._call(self._client.batch_update_points, self._collection, operations, wait=True)
                replaced += len(operations)
        return replaced

    def delete(self, ids: Iterable[str], account_bucket: int | None = None) -> None:
        """See VectorIndex."""
        for batch in in_batches(ids):
            self._delete(chosen(batch, account_bucket))

    def delete_homeless(self, buckets: Iterable[int]) -> int:
        """See VectorIndex."""
        where = homeless(buckets)
        found = self._call(self._client.count, self._collection, count_filter=where, exact=True).count
        if found:
            self._delete(where)
        return found

    def _delete(self, where: models.Filter) -> None:
        self._call(self._client.delete, self._collection, models.FilterSelector(filter=where), wait=True)

    def scroll_digests(self, account_bucket: int | None = None) -> Iterator[tuple[str, int]]:
        """See VectorIndex. From the payloads, a page at a time."""
        return ((point.id, point.digest) for point in self.scroll_hashes(account_bucket))

    def scroll_hashes(self, account_bucket: int | None = None) -> Iterator[PointHashes]:
        """See VectorIndex."""
        where = filter_of(SearchFilter(account_bucket=account_bucket))
        offset: Any = None
        while True:
            records, offset = self._call(
                self._client.scroll,
                self._collection,
                scroll_filter=where,
                limit=PAGE_POINTS,
                offset=offset,
                with_payload=_HASHES,
                with_vectors=False,
            )
            for record in records:
                yield PointHashes.of(record.id, record.payload)
            if offset is None:
                return

    def scroll_points(self, account_bucket: int | None = None) -> Iterator[IndexPoint]:
        """See VectorIndex."""
        where = filter_of(SearchFilter(account_bucket=account_bucket))
        offset: Any = None
        while True:
            records, offset = self._call(
                self._client.scroll,
                self._collection,
                scroll_filter=where,
                limit=BATCH_POINTS,
                offset=offset,
                with_payload=True,
                with_vectors=True,
            )
            for record in records:
                yield index_point(record)
            if offset is None:
                return

    def search_dense(self, vector: NDArray[np.float32], where: SearchFilter, limit: int) -> list[Candidate]:
        """See VectorIndex."""
        is_exact = not self._is_quantized and (self._info().points_count or 0) <= EXACT_UP_TO_POINTS
        params = models.SearchParams(exact=is_exact, hnsw_ef=None if is_exact else HNSW_EF)
        if self._is_quantized:
            params.quantization = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        return self._search(vector.tolist(), DENSE, where, limit, params)

    def search_sparse(self, query: SparseVector, where: SearchFilter, limit: int) -> list[Candidate]:
        """See VectorIndex."""
        if not len(query):
            self._info()
            return []
        return self._search(sparse_vector(query), SPARSE, where, limit, None)

    def count(self, account_bucket: int | None = None) -> int:
        """See VectorIndex."""
        where = filter_of(SearchFilter(account_bucket=account_bucket))
        return self._call(self._client.count, self._collection, count_filter=where, exact=True).count

    def retrieve(self, ids: Sequence[str]) -> list[IndexPoint]:
        """See VectorIndex."""
        found = {str(record.id): index_point(record) for record in self._records(ids, payload=True, vectors=True)}
        return [found[id_] for id_ in ids if id_ in found]

    def hashes(self, ids: Sequence[str]) -> list[PointHashes]:
        """See VectorIndex."""
        return [PointHashes.of(record.id, record.payload) for record in self._records(ids, payload=_HASHES)]

    def _records(
        self, ids: Sequence[str], *, payload: bool | list[str], vectors: bool = False
    ) -> Iterator[models.Record]:
        for batch in in_batches(map(id_in_engine, ids)):
            yield from self._call(
                self._client.retrieve, self._collection, batch, with_payload=payload, with_vectors=vectors
            )

    def optimize(self) -> None:
        """See VectorIndex. Waits for green; VectorIndexError after ``optimize_timeout_seconds`` or when red."""
        is_loading = self._info().config.optimizer_config.indexing_threshold == BULK_THRESHOLD
        if is_loading:
            ended = models.OptimizersConfigDiff(indexing_threshold=INDEXING_THRESHOLD)
            self._call(self._client.update_collection, self._collection, optimizers_config=ended)
        deadline, greens = time.monotonic() + self._optimize_timeout_seconds, 0
        # The optimiser takes a moment to begin after bulk loading: one green answer may be from before it did.
        while (greens := greens + 1 if self._is_green(deadline) else 0) < (2 if is_loading else 1):
            time.sleep(1.0)

    def _is_green(self, deadline: float) -> bool:
        info = self._info()
        status, failed = info.status, getattr(info.optimizer_status, "error", "")
        if status == models.CollectionStatus.GREEN:
            return True
        if status == models.CollectionStatus.RED or time.monotonic() >= deadline:
            why = failed or "its optimisers have not finished: look at the nodes' memory, disk and log"
            message = f"{self._collection} at {self._name} is {status.value} instead of green: {why}."
            raise VectorIndexError(message)
        if status == models.CollectionStatus.GREY:  # optimisations wait for an update after a restart
            self._call(
                self._client.update_collection, self._collection, optimizers_config=models.OptimizersConfigDiff()
            )
        return False

    def health(self) -> dict[str, str | int]:
        """See VectorIndex."""
        info = self._info()
        return {
            "engine": "server",
            "status": info.status.value,
            "points": info.points_count or 0,
            "indexed_vectors": info.indexed_vectors_count or 0,
            "segments": info.segments_count,
        }

    def inactive_replicas(self) -> list[str]:
        """See VectorIndex."""
        try:
            info = self._call(self._client.collection_cluster_info, self._collection)
        except NotImplementedError:  # qdrant-client's in-memory engine
            return []
        held = [(shard.shard_id, info.peer_id, shard.state) for shard in info.local_shards]
        held += [(shard.shard_id, shard.peer_id, shard.state) for shard in info.remote_shards]
        return [
            f"shard {shard} of {self._collection} on peer {peer} is {state.value}: look at that node's log and disk"
            for shard, peer, state in held
            if state != models.ReplicaState.ACTIVE
        ]

    def generation(self) -> str:
        """See VectorIndex. Kept in the collection's metadata."""
        generation = (self._info().config.metadata or {}).get("generation")
        if not isinstance(generation, str):
            message = f"{self._collection} at {self._name} carries no generation: not made here, or Qdrant before 1.16."
            raise VectorIndexError(message)
        return generation

    def _info(self) -> models.CollectionInfo:
        return self._call(self._client.get_collection, self._collection)

    def _search(
        self,
        query: list[float] | models.SparseVector,
        using: str,
        where: SearchFilter,
        limit: int,
        params: models.SearchParams | None,
    ) -> list[Candidate]:
        conditions = filter_of(where)

        def fetch(wanted: int, shown: bool) -> list[Candidate]:
            answer = self._call(
                self._client.query_points,
                self._collection,
                query=query,
                using=using,
                query_filter=conditions,
                search_params=params,
                limit=wanted,
                with_payload=shown,
            )
            return [Candidate(str(hit.id), hit.score, hit.payload or {}) for hit in answer.points]

        return best_candidates(fetch, self._payloads, limit)

    def _payloads(self, ids: Sequence[str]) -> Payloads:
        return {str(record.id): record.payload or {} for record in self._records(ids, payload=True)}
