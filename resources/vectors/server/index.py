"""The vector index in a Qdrant server, through qdrant-client."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from qdrant_client import QdrantClient, models
from tenacity import Retrying

from resources.vectors.index import (
    EXACT_UP_TO_POINTS,
    HNSW_EF,
    OVERSAMPLING,
    PAYLOAD_INDEXES,
    VectorIndex,
    in_batches,
)
from resources.vectors.server.calls import RETRY, QdrantCalls
from resources.vectors.server.models import (
    BULK_THRESHOLD,
    INDEXING_THRESHOLD,
    SCHEMAS,
    filter_of,
    orphaned,
    point_struct,
    sparse_vector,
)
from resources.vectors.values import Candidate, IndexPoint, SearchFilter, SparseVector, VectorIndexError, id_in_engine


class ServerIndex(VectorIndex):
    """A VectorIndex in one collection of the server behind ``client``. ``name`` names that server in errors."""

    def __init__(
        self,
        client: QdrantClient,
        name: str,
        collection: str,
        retry: Retrying = RETRY,
        optimize_timeout_seconds: float = 3600.0,
        streams: int = 1,
        is_quantized: bool = False,
    ) -> None:
        self._client = client
        self._name = name
        self._collection = collection
        self._call = QdrantCalls(name, collection, retry)
        self._optimize_timeout_seconds = optimize_timeout_seconds
        self._streams = streams
        self._is_quantized = is_quantized

    def create_payload_indexes(self) -> None:
        """Index the payload fields that filters use, unless they are indexed; call it before points are written."""
        for name in PAYLOAD_INDEXES.keys() - self._info().payload_schema.keys():
            schema = SCHEMAS[PAYLOAD_INDEXES[name]]
            self._call(self._client.create_payload_index, self._collection, name, schema, wait=True)

    def upsert(self, points: Iterable[IndexPoint]) -> int:
        """See VectorIndex. Sends ``streams`` batches at a time and holds twice as many in memory."""
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
            raise VectorIndexError(
                f"{self._collection} at {self._name} answered {status.value} to an upsert of {len(batch)} points, "
                "expected completed. Look at that node's load and disk; the next run writes what is missing."
            )
        return len(batch)

    def optimize(self) -> None:
        """See VectorIndex. Waits for green; VectorIndexError after ``optimize_timeout_seconds`` or when red."""
        is_loading = self._info().config.optimizer_config.indexing_threshold == BULK_THRESHOLD
        if is_loading:
            self._update_optimizers(models.OptimizersConfigDiff(indexing_threshold=INDEXING_THRESHOLD))
        deadline, greens = time.monotonic() + self._optimize_timeout_seconds, 0
        # The optimiser starts a moment after bulk loading ends: one green answer may be older than that.
        while (greens := greens + 1 if self._is_green(deadline) else 0) < (2 if is_loading else 1):
            time.sleep(1.0)

    def _is_green(self, deadline: float) -> bool:
        info = self._info()
        status, failed = info.status, getattr(info.optimizer_status, "error", "")
        if status == models.CollectionStatus.RED or (
            status != models.CollectionStatus.GREEN and time.monotonic() >= deadline
        ):
            why = failed or "its optimisers have not finished. Look at the nodes' memory, disk and log"
            raise VectorIndexError(f"{self._collection} at {self._name} is {status.value} instead of green: {why}.")
        if status == models.CollectionStatus.GREY:  # optimisations wait for an update after a restart
            self._update_optimizers(models.OptimizersConfigDiff())
        return status == models.CollectionStatus.GREEN

    def _update_optimizers(self, change: models.OptimizersConfigDiff) -> None:
        self._call(self._client.update_collection, self._collection, optimizers_config=change)

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

    def generation(self) -> str:
        """See VectorIndex. Stored in the collection's metadata."""
        generation = (self._info().config.metadata or {}).get("generation")
        if not isinstance(generation, str):
            raise VectorIndexError(
                f"{self._collection} at {self._name} has no metadata: not made here, or Qdrant before 1.16."
            )
        return generation

    def _info(self) -> models.CollectionInfo:
        return self._call(self._client.get_collection, self._collection)

    def _filter(self, where: SearchFilter, ids: Sequence[str] | None = None) -> models.Filter | None:
        return filter_of(where, ids)

    def _orphaned_filter(self, buckets: Iterable[int]) -> models.Filter:
        return orphaned(buckets)

    def _count(self, where: models.Filter | None) -> int:
        return self._call(self._client.count, self._collection, count_filter=where, exact=True).count

    def _delete(self, where: models.Filter) -> None:
        self._call(self._client.delete, self._collection, models.FilterSelector(filter=where), wait=True)

    def _overwrite_payloads(self, payloads: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        operations = [
            models.OverwritePayloadOperation(
                overwrite_payload=models.SetPayload(payload=dict(payload), points=[id_in_engine(id_)])
            )
            for id_, payload in payloads
        ]
        self._call(self._client.batch_update_points, self._collection, operations, wait=True)

    def _retrieve(self, ids: Sequence[str], payload: bool | list[str], vectors: bool) -> list[models.Record]:
        found = [id_in_engine(id_) for id_ in ids]
        return self._call(self._client.retrieve, self._collection, found, with_payload=payload, with_vectors=vectors)

    def _scroll(
        self, where: models.Filter | None, limit: int, offset: Any, payload: bool | list[str], vectors: bool
    ) -> tuple[list[models.Record], Any]:
        return self._call(
            self._client.scroll,
            self._collection,
            scroll_filter=where,
            limit=limit,
            offset=offset,
            with_payload=payload,
            with_vectors=vectors,
        )

    def _dense_parameters(self) -> models.SearchParams:
        is_exact = not self._is_quantized and (self._info().points_count or 0) <= EXACT_UP_TO_POINTS
        params = models.SearchParams(exact=is_exact, hnsw_ef=None if is_exact else HNSW_EF)
        if self._is_quantized:
            params.quantization = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)
        return params

    def _query(
        self,
        query: list[float] | SparseVector,
        using: str,
        where: models.Filter | None,
        parameters: models.SearchParams | None,
        limit: int,
        payload: bool,
    ) -> list[Candidate]:
        answer = self._call(
            self._client.query_points,
            self._collection,
            query=sparse_vector(query) if isinstance(query, SparseVector) else query,
            using=using,
            query_filter=where,
            search_params=parameters,
            limit=limit,
            with_payload=payload,
        )
        return [Candidate(str(hit.id), hit.score, hit.payload or {}) for hit in answer.points]
