"""Our values in Qdrant Edge's classes, and back."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import qdrant_edge as edge

from resources.vectors.values import DENSE, SPARSE, IndexPoint, SearchFilter, SparseVector, id_in_engine


def edge_point(point: IndexPoint) -> edge.Point:
    """A point as it is written; an empty sparse vector is left out."""
    vectors: dict[str, edge.NamedVector] = {DENSE: point.checked().dense.tolist()}
    if len(point.sparse):
        vectors[SPARSE] = edge_sparse(point.sparse)
    return edge.Point(id_in_engine(point.id), vectors, dict(point.payload))


def edge_sparse(sparse: SparseVector) -> edge.SparseVector:
    """A sparse vector as it is written and asked with."""
    return edge.SparseVector(sparse.checked().indices.tolist(), sparse.values.tolist())


def index_point(record: edge.Record) -> IndexPoint:
    """A point as it was read."""
    vectors: Any = record.vector
    return IndexPoint.of(record.id, vectors, record.payload)


def filter_of(where: SearchFilter) -> edge.Filter | None:
    """A filter, or None when anything may be found."""
    must = _conditions(where)
    return edge.Filter(must=must) if must else None


# Quoted here and below: the alias exists in the stubs alone.
def _conditions(where: SearchFilter) -> "list[edge.ConditionType]":
    """What must be true of a point."""
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
    return must


def chosen(ids: Sequence[str], account_bucket: int | None) -> edge.Filter:
    """Some points, where they are of this bucket."""
    of_bucket = _conditions(SearchFilter(account_bucket=account_bucket))
    return edge.Filter(must=[*of_bucket, edge.HasIdCondition({id_in_engine(id_) for id_ in ids})])


def homeless(buckets: Iterable[int]) -> edge.Filter:
    """What no filter by one of these buckets finds."""
    return edge.Filter(must_not=[edge.Filter(must=[in_any_of(buckets), _one_bucket()])])


def in_bucket(account_bucket: int) -> edge.FieldCondition:
    """In this bucket, and perhaps in others."""
    return edge.FieldCondition("account_bucket", match=edge.MatchValue(account_bucket))


def every_bucket() -> edge.FacetRequest:
    """How many points are in each."""
    return edge.FacetRequest("account_bucket", limit=2**31, exact=True)


def in_any_of(buckets: Iterable[int]) -> edge.FieldCondition:
    """In one or more of these."""
    return edge.FieldCondition("account_bucket", match=edge.MatchAny(sorted(buckets)))


def in_several_buckets() -> edge.Filter:
    """In more than one, whichever they are."""
    return edge.Filter(must=[edge.FieldCondition("account_bucket", values_count=edge.ValuesCount(gt=1))])


def _one_bucket() -> edge.FieldCondition:
    """No other bucket beside it: a match alone finds a list that holds what it looks for, too."""
    return edge.FieldCondition("account_bucket", values_count=edge.ValuesCount(gte=1, lte=1))


def _rfc3339(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
