"""Remove what deleted points leave in the files of a Qdrant server: segments and logs.

A server deletes a segment's points when a fifth of them are deleted, and entries of a log when it is full. Here both
happen at once: the optimisers get the least threshold, and the log is written past. The telemetry of the nodes says
when no segment has a deleted point.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import httpx
from qdrant_client import QdrantClient, models

from resources.vectors.index import VectorIndex
from resources.vectors.server.calls import REQUEST_TIMEOUT_SECONDS, QdrantCalls
from resources.vectors.values import VectorIndexError

LEAST_VACUUMED_POINTS = 100
"""The least value that a server takes: it never rewrites a smaller segment."""
_LEAST_THRESHOLD = 1e-5
_LOG_FILES = 4
"""Closed files of a log go at the next flush, but for one; then there is the open one, and one to be sure."""
_ENTRY_BYTES = 200_000
_OF_NO_POINT = models.Filter(must=[models.HasIdCondition(has_id=["00000000-0000-0000-0000-000000000000"])])
_TOUCHED_POINTS = 64
"""Points of a shard that are written over themselves: a log is cut up to the last entry that changed a segment."""
_PURGE_SECONDS = 600.0
_POLL_SECONDS = 0.5
_CLEAN_ANSWERS = 6
"""Answers in a row without deleted points: three seconds, in which a log is flushed twice."""


@dataclass(frozen=True)
class Segment:
    """One segment on one node: its points, deleted ones included, and how many are deleted."""

    points: int
    deleted: int


@dataclass(frozen=True)
class Telemetry:
    """The telemetry of nodes, which has every segment. ``addresses`` must be all nodes of the cluster."""

    addresses: Sequence[str]
    api_key: str = field(repr=False)

    def segments(self, collection: str) -> list[Segment]:
        """Return the segments of a collection on all nodes. Raises VectorIndexError if a node does not tell."""
        found = []
        for address in self.addresses:
            headers = {"api-key": self.api_key} if self.api_key else {}
            try:
                answer = httpx.get(
                    f"{address.rstrip('/')}/telemetry",
                    params={"details_level": 4, "anonymize": "false"},
                    headers=headers,
                    timeout=REQUEST_TIMEOUT_SECONDS,
                ).raise_for_status()
                found += list(_segments(answer.json()["result"], collection))
            except (httpx.HTTPError, KeyError, TypeError, ValueError) as error:
                raise VectorIndexError(f"Qdrant at {address} does not tell its segments: {error}") from error
        return found


def _segments(telemetry: dict[str, Any], collection: str) -> Iterator[Segment]:
    for found in telemetry["collections"]["collections"]:
        if found["id"] != collection:
            continue
        for shard in found["shards"]:
            for segment in (shard.get("local") or {}).get("segments") or ():
                info = segment["info"]
                deleted = int(info["num_deleted_vectors"])
                yield Segment(int(info["num_points"]) + deleted, deleted)


@dataclass(frozen=True)
class Purge:
    """The purge of one collection, from which points were deleted before."""

    client: QdrantClient
    call: QdrantCalls
    collection: str
    index: VectorIndex
    telemetry: Telemetry
    seconds: float = _PURGE_SECONDS

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
        with self._eager_optimisers(info):
            self._write_past(_LOG_FILES * log_bytes, shards)
            return self._wait()

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
        """Write entries that change no point into the log of every shard, then some points over themselves."""
        padding = {"padding": "-" * _ENTRY_BYTES}
        for _ in range(-(-log_bytes // _ENTRY_BYTES)):
            self.call(self.client.set_payload, self.collection, padding, _OF_NO_POINT, wait=True)
        self.index.upsert(islice(self.index.scroll_points(), _TOUCHED_POINTS * shards))

    def _wait(self) -> bool:
        """Wait until no segment that a server rewrites has deleted points, and the logs were flushed."""
        deadline, clean = time.monotonic() + self.seconds, 0
        while clean < _CLEAN_ANSWERS:
            segments = self.telemetry.segments(self.collection)
            littered = [found for found in segments if found.deleted]
            if littered and all(found.points < LEAST_VACUUMED_POINTS for found in littered):
                return False
            if time.monotonic() >= deadline:
                raise VectorIndexError(
                    f"{self.collection} at {self.call.name} still has {len(littered)} segments with deleted points "
                    f"after {self.seconds:,.0f} s. Look at its optimisers, memory and disk; then erase again."
                )
            clean = 0 if littered else clean + 1
            time.sleep(_POLL_SECONDS)
        return True
