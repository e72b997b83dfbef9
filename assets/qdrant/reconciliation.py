"""Compare every point of the collection with the lake, and repair what differs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from assets.qdrant.points import Desired, PointWriter
from assets.transforms.search.points import DIGEST, compare, held_points, is_payload, payload_digest, payloads
from resources.vectors.index import VectorIndex, in_batches
from resources.vectors.values import IndexPoint, PointHashes

_TOLERANCE = 1e-5
"""An engine scales vectors to unit length again, which changes their last digits."""
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
        damaged = _Damage(desired, found.damage)
        if deep:
            _compare_contents(index, writer, desired, damaged)
        else:
            damaged.compare_hashes(index.scroll_hashes(bucket))
        index.delete(damaged.gone, bucket)
        # Vectors too: beside a damaged payload the vector may be damaged.
        writer.write(index, desired, damaged.to_write(), lambda _done, _total: None)
        found.points += desired.points.height
        done.add(bucket)
    if orphaned := index.delete_orphaned(done):
        found.damage["foreign"] += orphaned


class _Damage:
    """The points of one bucket that differ from the desired ones."""

    def __init__(self, desired: Desired, counts: Counter[str]) -> None:
        self._desired, self._counts = desired, counts
        self._missing = set(desired.ids)
        self._wrong: set[str] = set()
        self.gone: list[str] = []

    @cached_property
    def _chunk_keys(self) -> set[str]:
        return {_chunk_key(row) for row in self._desired.points.select("post_id", "chunk_no").iter_rows(named=True)}

    def compare_hashes(self, held: Iterator[PointHashes]) -> None:
        """Compare the hashes in the payloads."""
        found = compare(self._desired.points, held_points(held))
        self._missing = set(found.new)
        for point in found.gone:
            self._delete(point, "foreign")
        for point in found.changed:
            self.rewrite(point, "stale")

    def compare_payloads(self, held: Sequence[IndexPoint]) -> list[IndexPoint]:
        """Compare payloads; return the points whose payload is right."""
        right = []
        found = self._desired.of([point.id for point in held])
        expected = dict(zip(found["point_id"], payloads(found), strict=True))
        for point in held:
            wanted = expected.get(point.id)
            if wanted is None:
                self._delete(point.id, "duplicate" if _chunk_key(point.payload) in self._chunk_keys else "foreign")
                continue
            self._missing.discard(point.id)
            without_digest = {name: value for name, value in point.payload.items() if name != DIGEST}
            if is_payload(dict(point.payload), wanted):
                right.append(point)
            elif payload_digest(without_digest) == point.payload.get(DIGEST):
                self.rewrite(point.id, "stale")
            else:
                self.rewrite(point.id, "corrupt_payload")
        return right

    def rewrite(self, point: str, kind: str) -> None:
        """Count a wrong point that has to be written again."""
        self._wrong.add(point)
        self._counts[kind] += 1

    def to_write(self) -> list[str]:
        """Return every point that is wrong or missing."""
        if self._missing:
            self._counts["missing"] += len(self._missing)
        return sorted(self._missing | self._wrong)

    def _delete(self, point: str, kind: str) -> None:
        self.gone.append(point)
        self._counts[kind] += 1


def _chunk_key(payload: Mapping[str, Any]) -> str:
    """Return the post and chunk number in a payload; values of other writers may have any type."""
    return repr((payload.get("post_id"), payload.get("chunk_no")))


def _compare_contents(index: VectorIndex, writer: PointWriter, desired: Desired, damaged: _Damage) -> None:
    """Compare payloads and vectors of a bucket with the lake, a batch at a time.

    Reads the lake's vectors of the whole bucket: 150 MB for 100,000 points.
    """
    expected = {point.id: point for point in writer.points(desired.bucket, desired.points)}
    for batch in in_batches(index.scroll_points(desired.bucket)):
        for point in damaged.compare_payloads(batch):
            if not _same_vectors(point, expected[point.id]):
                damaged.rewrite(point.id, "corrupt_vector")


def _same_vectors(held: IndexPoint, expected: IndexPoint) -> bool:
    return (
        held.dense.shape == expected.dense.shape
        and np.allclose(held.dense, expected.dense, rtol=0, atol=_TOLERANCE)
        and np.array_equal(held.sparse.indices, expected.sparse.indices)
        and np.allclose(held.sparse.values, expected.sparse.values, rtol=_TOLERANCE, atol=0)
    )
