"""Convert points, sparse vectors and filters to Qdrant Edge's classes."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import qdrant_edge as edge

from resources.vectors.values import DENSE, SPARSE, IndexPoint, SearchFilter, SparseVector, id_in_engine

_ONE_BUCKET = edge.FieldCondition("account_bucket", values_count=edge.ValuesCount(gte=1, lte=1))
"""The payload names exactly one bucket: a match alone also finds lists that contain the value."""


def edge_point(point: IndexPoint) -> edge.Point:
    """Return a point as it is written, without an empty sparse vector."""
    vectors: dict[str, edge.NamedVector] = {DENSE: point.checked().dense.tolist()}
    if len(point.sparse):
        vectors[SPARSE] = edge_sparse(point.sparse.checked())
    return edge.Point(id_in_engine(point.id), vectors, dict(point.payload))


def edge_sparse(sparse: SparseVector) -> edge.SparseVector:
    """Return a sparse vector as it is written and queried."""
    return edge.SparseVector(sparse.indices.tolist(), sparse.values.tolist())


def filter_of(where: SearchFilter, ids: Sequence[str] | None = None) -> edge.Filter | None:
    """Return a filter, restricted to ``ids`` if given, or None when any point matches."""
    # Quoted: the alias exists in the stubs alone.
    must: "list[edge.ConditionType]" = [  # noqa: UP037
        edge.FieldCondition(key, match=edge.MatchValue(value)) for key, value in where.matches().items()
    ]
    if where.account_bucket is not None:
        must.append(_ONE_BUCKET)
    if where.account_ids is not None:
        must.append(edge.FieldCondition("account_id", match=edge.MatchAny(sorted(where.account_ids))))
    if where.posted_after or where.posted_before:
        bounds = edge.RangeDateTime(gte=_rfc3339(where.posted_after), lt=_rfc3339(where.posted_before))
        must.append(edge.FieldCondition("posted_at", range=bounds))
    if ids is not None:
        must.append(edge.HasIdCondition({id_in_engine(id_) for id_ in ids}))
    return edge.Filter(must=must) if must else None


def orphaned(buckets: Iterable[int]) -> edge.Filter:
    """Return the filter for points that no filter by one of ``buckets`` finds."""
    in_any = edge.FieldCondition("account_bucket", match=edge.MatchAny(sorted(buckets)))
    return edge.Filter(must_not=[edge.Filter(must=[in_any, _ONE_BUCKET])])


def _rfc3339(bound: datetime | None) -> str | None:
    return bound.isoformat() if bound else None
