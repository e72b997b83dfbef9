"""The vector index in a Qdrant server, through qdrant-client."""

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from qdrant_client import QdrantClient, models
from tenacity import Retrying

from resources.vectors.generations import IndexConfig
from resources.vectors.index import (
    EXACT_UP_TO_POINTS,
    HNSW_EF,
    OVERSAMPLING,
    PAYLOAD_INDEXES,
    IndexKind,
    VectorIndex,
    in_batches,
)
from resources.vectors.server.calls import RETRY, QdrantCalls
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

BULK_THRESHOLD, INDEXING_THRESHOLD = 0, 10_000
"""Segment size in kilobytes from which Qdrant builds HNSW: 0 disables it while loading, 10,000 is Qdrant's default."""
_COUNT_SECONDS = 60.0
"""How long searches use a number of points that was read: it only decides between an exact search and the graph."""
_SCHEMAS: Mapping[IndexKind, models.PayloadSchemaType | models.KeywordIndexParams | models.IntegerIndexParams] = {
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "keyword": models.PayloadSchemaType.KEYWORD,
    "integer": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False),
    "datetime": models.PayloadSchemaType.DATETIME,
}
"""Index parameters of each kind of payload field."""
_ONE_BUCKET = models.FieldCondition(key="account_bucket", values_count=models.ValuesCount(gte=1, lte=1))
"""The payload names exactly one bucket: a match alone also finds lists that contain the value."""
_QUANTIZATIONS: Mapping[str, models.ScalarQuantization | models.TurboQuantization | None] = {
    "none": None,
    "scalar": models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99)
    ),
    "turbo": models.TurboQuantization(turbo=models.TurboQuantQuantizationConfig()),
}


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
        self._counted = float("-inf"), 0  # when the collection's state was read, and its number of points

    def create_payload_indexes(self) -> None:
        """Index the payload fields that filters use, unless they are indexed; call it before points are written."""
        for name in PAYLOAD_INDEXES.keys() - self._info().payload_schema.keys():
            schema = _SCHEMAS[PAYLOAD_INDEXES[name]]
            self._call(self._client.create_payload_index, self._collection, name, schema, wait=True)

    def upsert(self, points: Iterable[IndexPoint]) -> int:
        """See VectorIndex. Sends ``streams`` batches at a time and holds twice as many in memory."""
        self._counted = float("-inf"), 0
        written, under_way = 0, deque[Future[int]]()
        with ThreadPoolExecutor(self._streams) as pool:
            for batch in in_batches(points):
                if len(under_way) >= 2 * self._streams:
                    written += under_way.popleft().result()
                under_way.append(pool.submit(self._upsert_batch, batch))
            return written + sum(sent.result() for sent in under_way)

    def _upsert_batch(self, batch: list[IndexPoint]) -> int:
        sent = [_point_struct(point) for point in batch]
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
        info = self._call(self._client.get_collection, self._collection)
        self._counted = time.monotonic(), info.points_count or 0
        return info

    def _filter(self, where: SearchFilter, ids: Sequence[str] | None = None) -> models.Filter | None:
        must: list[models.Condition] = [
            models.FieldCondition(key=key, match=models.MatchValue(value=value))
            for key, value in where.matches().items()
        ]
        must += [
            models.FieldCondition(key=key, match=models.MatchAny(any=values)) for key, values in where.any_of().items()
        ]
        if where.account_bucket is not None:
            must.append(_ONE_BUCKET)
        if where.posted_after or where.posted_before:
            bounds = models.DatetimeRange(gte=where.posted_after, lt=where.posted_before)
            must.append(models.FieldCondition(key="posted_at", range=bounds))
        if ids is not None:
            must.append(models.HasIdCondition(has_id=[id_in_engine(id_) for id_ in ids]))
        return models.Filter(must=must) if must else None

    def _orphaned_filter(self, buckets: Iterable[int]) -> models.Filter:
        in_any = models.FieldCondition(key="account_bucket", match=models.MatchAny(any=sorted(buckets)))
        return models.Filter(must_not=[models.Filter(must=[in_any, _ONE_BUCKET])])

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
        if not self._is_quantized and time.monotonic() - self._counted[0] > _COUNT_SECONDS:
            self._info()
        is_exact = not self._is_quantized and self._counted[1] <= EXACT_UP_TO_POINTS
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
            query=_sparse_vector(query) if isinstance(query, SparseVector) else query,
            using=using,
            query_filter=where,
            search_params=parameters,
            limit=limit,
            with_payload=payload,
        )
        return [Candidate(str(hit.id), hit.score, hit.payload or {}) for hit in answer.points]


def collection_settings(index_config: IndexConfig) -> dict[str, Any]:
    """Return the arguments of ``create_collection``, with bulk loading on until ``optimize``."""
    vectors = models.VectorParams(
        size=index_config.dimension,
        distance=models.Distance.COSINE,
        quantization_config=_QUANTIZATIONS[index_config.quantization],
    )
    return {
        "vectors_config": {DENSE: vectors},
        "sparse_vectors_config": {SPARSE: models.SparseVectorParams()},
        "optimizers_config": models.OptimizersConfigDiff(indexing_threshold=BULK_THRESHOLD),
    }


def _point_struct(point: IndexPoint) -> models.PointStruct:
    """Return a point as it is written, without a dense vector of zeros and an empty sparse vector."""
    vectors: dict[str, Any] = {DENSE: point.dense.tolist()} if point.checked().dense.any() else {}
    if len(point.sparse):
        vectors[SPARSE] = _sparse_vector(point.sparse.checked())
    return models.PointStruct(id=id_in_engine(point.id), vector=vectors, payload=dict(point.payload))


def _sparse_vector(sparse: SparseVector) -> models.SparseVector:
    """Return a sparse vector as it is written and queried."""
    return models.SparseVector(indices=sparse.indices.tolist(), values=sparse.values.tolist())
