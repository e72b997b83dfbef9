"""Remove what deleted points leave in the files of a Qdrant server: segments and logs.

A server deletes a segment's points when a fifth of them are deleted, and entries of a log when it is full. Here both
happen at once: the optimisers get the least threshold, and the log is written past. The telemetry of the nodes says
when every segment that had a deleted point was rewritten. Others may write meanwhile, and delete other points.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from qdrant_client import QdrantClient, models

from resources.vectors.server.calls import REQUEST_TIMEOUT_SECONDS, QdrantCalls
from resources.vectors.values import VectorIndexError

LEAST_VACUUMED_POINTS = 100
"""The least value that a server takes: it never rewrites a smaller segment."""
_LEAST_THRESHOLD = 1e-5
_LOG_FILES = 4
"""Closed files of a log go at the next flush, but for one; then there is the open one, and one to be sure."""
_ENTRY_BYTES = 200_000
_OF_NO_POINT = models.Filter(must=[models.HasIdCondition(has_id=["00000000-0000-0000-0000-000000000000"])])
_TOUCHED_POINTS = 256
"""Points of a shard that are touched: a log is cut up to the last entry that changed a segment. Touched points move to
the segment that takes writes, which so becomes large enough to be rewritten."""
_MARK = "touched_by_erasure"
"""A field of the payload that is set and deleted. Another's write or deletion of the point at the same time stays."""
_PURGE_SECONDS = 600.0
_POLL_SECONDS = 0.5
_CLEAN_ANSWERS = 6
"""Answers in a row without old segments: three seconds, in which a log is flushed twice."""


@dataclass(frozen=True)
class Segment:
    """One segment on one node: its points, deleted ones included, and how many are deleted.

    ``name`` is empty where an older server does not tell it.
    """

    points: int
    deleted: int
    name: str = ""


@dataclass(frozen=True)
class Stored:
    """The segments of a collection on all nodes, and the optimisations that are under way."""

    segments: tuple[Segment, ...]
    optimisations: frozenset[str]

    def littered(self) -> frozenset[str]:
        """Return the names of the segments with a deleted point."""
        return frozenset(segment.name for segment in self.segments if segment.deleted)


@dataclass(frozen=True)
class Telemetry:
    """The telemetry of nodes, which has every segment. ``addresses`` must be all nodes of the cluster."""

    addresses: Sequence[str]
    api_key: str = field(repr=False)

    def stored(self, collection: str) -> Stored:
        """Return what is stored of a collection on all nodes. Raises VectorIndexError if a node does not tell."""
        segments, optimisations = list[Segment](), set[str]()
        for address in self.addresses:
            headers = {"api-key": self.api_key} if self.api_key else {}
            try:
                answer = httpx.get(
                    f"{address.rstrip('/')}/telemetry",
                    params={"details_level": 4, "anonymize": "false"},
                    headers=headers,
                    timeout=REQUEST_TIMEOUT_SECONDS,
                ).raise_for_status()
                for number, shard in _shards(answer.json()["result"], collection):
                    segments += map(_segment, shard.get("segments") or ())
                    log = (shard.get("optimizations") or {}).get("log") or ()  # none while a shard is moved
                    under_way = (found for found in log if not found["end_at"])
                    optimisations |= {f"{address} {number} {found['name']} {found['start_at']}" for found in under_way}
            except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
                raise VectorIndexError(f"Qdrant at {address} does not tell its segments: {error}") from error
        return Stored(tuple(segments), frozenset(optimisations))


def _shards(telemetry: dict[str, Any], collection: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield number and telemetry of each shard of a collection that is on the node."""
    for found in telemetry["collections"]["collections"]:
        if found["id"] == collection:
            for shard in found["shards"]:
                if shard.get("local"):
                    yield shard["id"], shard["local"]


def _segment(telemetry: dict[str, Any]) -> Segment:
    info = telemetry["info"]
    deleted = int(info["num_deleted_vectors"])  # of points, whatever its name says
    return Segment(int(info["num_points"]) + deleted, deleted, str(info.get("uuid", "")))


@dataclass(frozen=True)
class Purge:
    """The purge of one collection, from which points were deleted before."""

    client: QdrantClient
    call: QdrantCalls
    collection: str
    telemetry: Telemetry
    seconds: float = _PURGE_SECONDS
    poll_seconds: float = _POLL_SECONDS

    def run(self) -> bool:
        """Remove deleted points from segments and logs. Return whether nothing of them is left.

        False: a segment is too small to be rewritten, or the collection is smaller than what its logs take to be
        written past. Both are small collections, and a new one costs less.
        """
        info = self.call(self.client.get_collection, self.collection)
        log_bytes = info.config.wal_config.wal_capacity_mb * (1 << 20) if info.config.wal_config else 32 << 20
        shards = info.config.params.shard_number or 1
        if self._is_small(info, _LOG_FILES * log_bytes * shards):
            return False
        before = self.telemetry.stored(self.collection)
        with self._eager_optimisers(info):
            self._write_past(_LOG_FILES * log_bytes, shards)
            return self._wait(before)

    def _is_small(self, info: models.CollectionInfo, log_bytes: int) -> bool:
        vectors = info.config.params.vectors
        sizes = [found.size for found in vectors.values()] if isinstance(vectors, dict) else [0]
        return (info.points_count or 0) * 4 * sum(sizes) < log_bytes

    @contextmanager
    def _eager_optimisers(self, info: models.CollectionInfo) -> Iterator[None]:
        before = info.config.optimizer_config
        eager = models.OptimizersConfigDiff(
            deleted_threshold=_LEAST_THRESHOLD, vacuum_min_vector_number=LEAST_VACUUMED_POINTS, flush_interval_sec=1
        )
        self.call(self.client.update_collection, self.collection, optimizers_config=eager)
        try:
            yield
        finally:
            settings = models.OptimizersConfigDiff(
                deleted_threshold=before.deleted_threshold,
                vacuum_min_vector_number=before.vacuum_min_vector_number,
                flush_interval_sec=before.flush_interval_sec,
            )
            self.call(self.client.update_collection, self.collection, optimizers_config=settings)

    def _write_past(self, log_bytes: int, shards: int) -> None:
        """Write entries that change no point into the log of every shard, then touch some points."""
        padding = {"padding": "-" * _ENTRY_BYTES}
        for _ in range(-(-log_bytes // _ENTRY_BYTES)):
            self.call(self.client.set_payload, self.collection, padding, _OF_NO_POINT, wait=True)
        records, _ = self.call(
            self.client.scroll, self.collection, limit=_TOUCHED_POINTS * shards, with_payload=False, with_vectors=False
        )
        # By a filter: of points by their ids, one that was deleted meanwhile would be an error.
        touched = models.Filter(must=[models.HasIdCondition(has_id=[record.id for record in records])])
        self.call(self.client.set_payload, self.collection, {_MARK: True}, touched, wait=True)
        self.call(self.client.delete_payload, self.collection, [_MARK], touched, wait=True)

    def _wait(self, before: Stored) -> bool:
        """Wait until every segment with a deleted point of the account was rewritten, and the logs were flushed."""
        deadline, clean = time.monotonic() + self.seconds, 0
        old = self._old_segments(before, deadline)
        while clean < _CLEAN_ANSWERS:
            stored = self.telemetry.stored(self.collection)
            left = [found for found in stored.segments if found.deleted and found.name in old]
            if left and all(found.points < LEAST_VACUUMED_POINTS for found in left):
                return False
            clean = 0 if left else clean + 1
            self._pause(deadline, f"{len(left)} segments with deleted points")
        return True

    def _old_segments(self, before: Stored, deadline: float) -> frozenset[str]:
        """Return the names of the segments that may have a deleted point of the account.

        An optimisation copies a point that is deleted meanwhile: what those made that were under way counts too.
        """
        begun = before.optimisations
        if not begun:
            return before.littered()
        while begun:
            self._pause(deadline, f"{len(begun)} optimisations from before")
            begun &= self.telemetry.stored(self.collection).optimisations
        return before.littered() | self.telemetry.stored(self.collection).littered()

    def _pause(self, deadline: float, left: str) -> None:
        if time.monotonic() >= deadline:
            raise VectorIndexError(
                f"{self.collection} at {self.call.name} still has {left} after {self.seconds:,.0f} s. "
                "Look at its optimisers, memory and disk; then erase again."
            )
        time.sleep(self.poll_seconds)
