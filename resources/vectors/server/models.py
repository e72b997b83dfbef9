"""Convert points, filters and index configs to qdrant-client's models."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qdrant_client import models

from resources.vectors.generations import IndexConfig
from resources.vectors.index import IndexKind
from resources.vectors.values import DENSE, SPARSE, IndexPoint, SearchFilter, SparseVector, id_in_engine

BULK_THRESHOLD, INDEXING_THRESHOLD = 0, 10_000
"""Segment size in kilobytes from which Qdrant builds HNSW: 0 disables it while loading, 10,000 is Qdrant's default."""
SCHEMAS: Mapping[IndexKind, models.PayloadSchemaType | models.KeywordIndexParams | models.IntegerIndexParams] = {
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


def point_struct(point: IndexPoint) -> models.PointStruct:
    """Return a point as it is written, without an empty sparse vector."""
    vectors: dict[str, Any] = {DENSE: point.checked().dense.tolist()}
    if len(point.sparse):
        vectors[SPARSE] = sparse_vector(point.sparse.checked())
    return models.PointStruct(id=id_in_engine(point.id), vector=vectors, payload=dict(point.payload))


def sparse_vector(sparse: SparseVector) -> models.SparseVector:
    """Return a sparse vector as it is written and queried."""
    return models.SparseVector(indices=sparse.indices.tolist(), values=sparse.values.tolist())


def filter_of(where: SearchFilter, ids: Sequence[str] | None = None) -> models.Filter | None:
    """Return a filter, restricted to ``ids`` if given, or None when any point matches."""
    must: list[models.Condition] = [
        models.FieldCondition(key=key, match=models.MatchValue(value=value)) for key, value in where.matches().items()
    ]
    if where.account_bucket is not None:
        must.append(_ONE_BUCKET)
    if where.account_ids is not None:
        any_of = models.MatchAny(any=sorted(where.account_ids))
        must.append(models.FieldCondition(key="account_id", match=any_of))
    if where.posted_after or where.posted_before:
        bounds = models.DatetimeRange(gte=where.posted_after, lt=where.posted_before)
        must.append(models.FieldCondition(key="posted_at", range=bounds))
    if ids is not None:
        must.append(models.HasIdCondition(has_id=[id_in_engine(id_) for id_ in ids]))
    return models.Filter(must=must) if must else None


def orphaned(buckets: Iterable[int]) -> models.Filter:
    """Return the filter for points that no filter by one of ``buckets`` finds."""
    in_any = models.FieldCondition(key="account_bucket", match=models.MatchAny(any=sorted(buckets)))
    return models.Filter(must_not=[models.Filter(must=[in_any, _ONE_BUCKET])])
