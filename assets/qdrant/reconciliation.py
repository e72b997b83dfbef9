"""Reconciling the collection with the lake: what it really holds, and putting right what differs."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from assets.qdrant.points import Desired, PointWriter
from assets.transforms.search.points import DIGEST, compare, held_points, is_payload, payload_digest, payloads
from resources.vectors.protocol import BATCH_POINTS, VectorIndex, in_batches
from resources.vectors.values import IndexPoint, PointHashes

_DENSE_TOLERANCE, _SPARSE_TOLERANCE = 1e-5, 1e-5
"""An engine brings vectors to unit length anew, which moves their last digits."""
KINDS = ("missing", "stale", "corrupt_payload", "corrupt_vector", "duplicate", "foreign")


@dataclass
class Reconciled:
    """Points of one generation: how many were looked at, and how many were found and repaired, by kind of damage."""

    generation: str
    points: int = 0
    damage: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, str | int]:
        """The figures as JSON values."""
        return {"generation": self.generation, "points": self.points, **{kind: self.damage[kind] for kind in KINDS}}


def reconcile(
    index: VectorIndex,
    writer: PointWriter,
    buckets: Iterable[int],
    found: Reconciled,
    *,
    deep: bool,
) -> None:
    """Compare every point with the lake, bucket by bucket, and repair it with what the lake holds; embeds nothing.

    Without ``deep`` ids and the hashes that payloads carry are compared; with it payloads and vectors themselves, so
    that what was changed behind equal hashes is seen. Raises MissingVectorError when a text was never embedded, and
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
        # Upserted whole: a payload that cannot be trusted may stand beside a vector that cannot be.
        writer.write(index, desired, damaged.to_write(), lambda _done, _of: None)
        found.points += desired.points.height
        done.add(bucket)
    if homeless := index.delete_homeless(done):
        found.damage["foreign"] += homeless


class _Damage:
    """The points of one bucket that differ from what is desired."""

    def __init__(self, desired: Desired, counts: Counter[str]) -> None:
        self._desired, self._counts = desired, counts
        self._seen: set[str] = set()
        self._wrong: set[str] = set()
        self.gone: list[str] = []

    @cached_property
    def _numbers(self) -> set[str]:
        return {_number(row) for row in self._desired.points.select("post_id", "chunk_no").iter_rows(named=True)}

    def compare_hashes(self, held: Iterator[PointHashes]) -> None:
        """By what the payloads say of themselves."""
        found = compare(self._desired.points, held_points(held, with_content=True))
        self._seen.update(set(self._desired.ids).difference(found.new))
        for point in found.gone:
            self._foreign(point, "foreign")
        for point in found.changed:
            self._add(point, "stale")

    def compare_payloads(self, held: Sequence[IndexPoint]) -> list[IndexPoint]:
        """By the payloads themselves; returns the points that are right so far."""
        right = []
        found = self._desired.of([point.id for point in held])
        expected = dict(zip(found["point_id"], payloads(found), strict=True))
        for point in held:
            wanted = expected.get(point.id)
            if wanted is None:
                self._foreign(point.id, "duplicate" if _number(point.payload) in self._numbers else "foreign")
                continue
            self._seen.add(point.id)
            said = point.payload.get(DIGEST)
            if is_payload(dict(point.payload), wanted):
                right.append(point)
            elif payload_digest({name: value for name, value in point.payload.items() if name != DIGEST}) == said:
                self._add(point.id, "stale")
            else:
                self._add(point.id, "corrupt_payload")
        return right

    def corrupt_vector(self, point: str) -> None:
        """The payload of this one is right and its vectors are not."""
        self._add(point, "corrupt_vector")

    def to_write(self) -> list[str]:
        """Every point to be written whole: wrong or missing."""
        missing = set(self._desired.ids) - self._seen
        if missing:
            self._counts["missing"] += len(missing)
        return sorted(missing | self._wrong)

    def _add(self, point: str, kind: str) -> None:
        self._wrong.add(point)
        self._counts[kind] += 1

    def _foreign(self, point: str, kind: str) -> None:
        self.gone.append(point)
        self._counts[kind] += 1


def _number(payload: Mapping[str, Any]) -> str:
    """Which chunk of which post a payload says it is of; what others wrote may be of any type."""
    return repr((payload.get("post_id"), payload.get("chunk_no")))


def _compare_contents(index: VectorIndex, writer: PointWriter, desired: Desired, damaged: _Damage) -> None:
    """Payloads and vectors of a bucket against the lake's, BATCH_POINTS at a time.

    The lake's vectors are read for the whole bucket: 150 MB for 100,000 points.
    """
    expected = {point.id: point for point in writer.points(desired.bucket, desired.points)}
    for batch in in_batches(index.scroll_points(desired.bucket), BATCH_POINTS):
        for point in damaged.compare_payloads(batch):
            if not _same_vectors(point, expected[point.id]):
                damaged.corrupt_vector(point.id)


def _same_vectors(held: IndexPoint, expected: IndexPoint) -> bool:
    return (
        held.dense.shape == expected.dense.shape
        and np.allclose(held.dense, expected.dense, rtol=0, atol=_DENSE_TOLERANCE)
        and np.array_equal(held.sparse.indices, expected.sparse.indices)
        and np.allclose(held.sparse.values, expected.sparse.values, rtol=_SPARSE_TOLERANCE, atol=0)
    )
