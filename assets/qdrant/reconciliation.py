"""Compare every point of the collection with the lake, and repair what differs."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from assets.qdrant.points import PointWriter
from assets.transforms.search.points import ADD, DIGEST, compare, is_payload, payload_digest, stored_points
from resources.vectors.index import VectorIndex
from resources.vectors.values import IndexPoint

_TOLERANCE = 1e-5
"""An engine scales vectors to unit length again, which changes their last digits."""
_UNWANTED = ("duplicate", "foreign")
KINDS = ("missing", "stale", "corrupt_payload", "corrupt_vector", "duplicate", "foreign")


@dataclass
class Reconciled:
    """One generation: number of points that were compared, and of points found and repaired by kind of damage."""

    generation: str
    points: int = 0
    damage: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, str | int]:
        """Return the figures as JSON values."""
        return {"generation": self.generation, "points": self.points, **{kind: self.damage[kind] for kind in KINDS}}


def reconcile(
    index: VectorIndex,
    writer: PointWriter,
    buckets: Iterable[int],
    found: Reconciled,
    *,
    deep: bool,
) -> None:
    """Compare every point with the lake, bucket by bucket, and repair it from the lake; embed nothing.

    Without ``deep``, ids and the hashes in payloads are compared. With ``deep``, payloads and vectors are compared, so
    that a change behind an equal hash is found. Raises MissingVectorError for a text without a vector, and
    BucketCountError when the lake has other buckets.
    """
    writer.require_bucket_count()
    done = set()
    for bucket in buckets:
        desired = writer.desired(bucket)
        damage = _compare_contents(index, writer, bucket, desired) if deep else _compare_hashes(index, bucket, desired)
        index.delete([id_ for id_, kind in damage.items() if kind in _UNWANTED], bucket)
        # Vectors too: beside a damaged payload the vector may be damaged. Foreign points are not among the desired.
        damaged = pl.Series(list(damage), dtype=pl.String).implode()
        writer.write(index, bucket, desired.filter(pl.col("point_id").is_in(damaged)))
        found.damage.update(damage.values())
        found.points += desired.height
        done.add(bucket)
    found.damage += Counter(foreign=index.delete_orphaned(done))


def _compare_hashes(index: VectorIndex, bucket: int, desired: pl.DataFrame) -> dict[str, str]:
    """Return id → kind of damage, by the hashes in the payloads."""
    compared, unwanted = compare(desired, stored_points(index.scroll_hashes(bucket)))
    differing = compared.drop_nulls("action").select("point_id", "action").iter_rows()
    kinds = {id_: "missing" if action == ADD else "stale" for id_, action in differing}
    return {**kinds, **dict.fromkeys(unwanted, "foreign")}


def _compare_contents(index: VectorIndex, writer: PointWriter, bucket: int, desired: pl.DataFrame) -> dict[str, str]:
    """Return id → kind of damage, by payloads and vectors.

    Reads the lake's vectors of the whole bucket: 150 MB for 100,000 points.
    """
    expected = {point.id: point for point in writer.points(bucket, desired)}
    chunk_keys = {_chunk_key(point.payload) for point in expected.values()}
    damage = dict.fromkeys(expected, "missing")
    for point in index.scroll_points(bucket):
        wanted = expected.get(point.id)
        if wanted is None:
            damage[point.id] = "duplicate" if _chunk_key(point.payload) in chunk_keys else "foreign"
        else:
            damage[point.id] = _damage(point, wanted)
    return {id_: kind for id_, kind in damage.items() if kind}


def _damage(point: IndexPoint, wanted: IndexPoint) -> str:
    """Return the kind of damage of a point, or blank."""
    if is_payload(dict(point.payload), wanted.payload):
        return "" if _same_vectors(point, wanted) else "corrupt_vector"
    without_digest = {name: value for name, value in point.payload.items() if name != DIGEST}
    return "stale" if payload_digest(without_digest) == point.payload.get(DIGEST) else "corrupt_payload"


def _chunk_key(payload: Mapping[str, Any]) -> str:
    """Return the post and chunk number in a payload; values of other writers may have any type."""
    return repr((payload.get("post_id"), payload.get("chunk_no")))


def _same_vectors(found: IndexPoint, expected: IndexPoint) -> bool:
    wanted = expected.dense if expected.dense.any() else np.empty(0, np.float32)
    return (
        found.dense.shape == wanted.shape
        and np.allclose(found.dense, wanted, rtol=0, atol=_TOLERANCE)
        and np.array_equal(found.sparse.indices, expected.sparse.indices)
        and np.allclose(found.sparse.values, expected.sparse.values, rtol=_TOLERANCE, atol=0)
    )
