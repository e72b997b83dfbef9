"""Our values in qdrant-client's models, and back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qdrant_client import models

from resources.vectors.generations import Recipe
from resources.vectors.protocol import IndexKind
from resources.vectors.values import DENSE, SPARSE, IndexPoint, SearchFilter, SparseVector, id_in_engine

BULK_THRESHOLD, INDEXING_THRESHOLD = 0, 10_000
"""Kilobytes of a segment from which it is indexed: none while loading, then Qdrant's own default."""
SCHEMAS: Mapping[IndexKind, models.PayloadSchemaType | models.KeywordIndexParams | models.IntegerIndexParams] = {
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "keyword": models.PayloadSchemaType.KEYWORD,
    "integer": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=True, range=False),
    "ordered": models.IntegerIndexParams(type=models.IntegerIndexType.INTEGER, lookup=False, range=True),
    "datetime": models.PayloadSchemaType.DATETIME,
}
"""How a payload field of each kind is indexed."""
_ONE_BUCKET = models.FieldCondition(key="account_bucket", values_count=models.ValuesCount(gte=1, lte=1))
"""No other bucket beside it: a match alone finds a list that holds what it looks for, too."""
_QUANTIZATIONS: Mapping[str, models.ScalarQuantization | models.TurboQuantization | None] = {
    "none": None,
    "scalar": models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99)
    ),
    "turbo": models.TurboQuantization(turbo=models.TurboQuantQuantizationConfig()),
}


def collection_settings(recipe: Recipe) -> dict[str, Any]:
    """What ``create_collection`` is asked for: bulk loading, which ``optimize`` ends, and the recipe's vectors."""
    vectors = models.VectorParams(
        size=recipe.dimension,
        distance=models.Distance.COSINE,
        quantization_config=_QUANTIZATIONS[recipe.quantization],
    )
    return {
        "vectors_config": {DENSE: vectors},
        "sparse_vectors_config": {SPARSE: models.SparseVectorParams()},
        "optimizers_config": models.OptimizersConfigDiff(indexing_threshold=BULK_THRESHOLD),
    }


def point_struct(point: IndexPoint) -> models.PointStruct:
    """A point as it is written; an empty sparse vector is left out."""
    vectors: dict[str, Any] = {DENSE: point.checked().dense.tolist()}
    if len(point.sparse):
        vectors[SPARSE] = sparse_vector(point.sparse)
    return models.PointStruct(id=id_in_engine(point.id), vector=vectors, payload=dict(point.payload))


def sparse_vector(sparse: SparseVector) -> models.SparseVector:
    """A sparse vector as it is written and asked with."""
    return models.SparseVector(indices=sparse.checked().indices.tolist(), values=sparse.values.tolist())


def index_point(record: models.Record) -> IndexPoint:
    """A point as it was read, with vectors and payload."""
    named: Any = record.vector  # without names only in a collection that was not made here
    return IndexPoint.of(record.id, named, record.payload)


def filter_of(where: SearchFilter) -> models.Filter | None:
    """A filter, or None when anything may be found."""
    must = _conditions(where)
    return models.Filter(must=must) if must else None


def chosen(ids: Sequence[str], account_bucket: int | None) -> models.Filter:
    """Some points, where they are of this bucket."""
    of_bucket = _conditions(SearchFilter(account_bucket=account_bucket))
    return models.Filter(must=[*of_bucket, models.HasIdCondition(has_id=[id_in_engine(id_) for id_ in ids])])


def homeless(buckets: Iterable[int]) -> models.Filter:
    """What no filter by one of these buckets finds."""
    of_any = models.FieldCondition(key="account_bucket", match=models.MatchAny(any=sorted(buckets)))
    return models.Filter(must_not=[models.Filter(must=[of_any, _ONE_BUCKET])])


def _conditions(where: SearchFilter) -> list[models.Condition]:
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
    return must
