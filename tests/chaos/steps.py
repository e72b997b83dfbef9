"""The steps of a chaos run. Only this module calls the code of extraction and lake."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa

from assets.lake import merging as lake
from assets.raw.extraction import Extraction
from assets.raw.key_reconciliation import KeyReconciliation
from assets.raw.reading import Rejects
from assets.transforms.source.schema import REASON, SOURCE_TABLES
from resources.delta import maintenance
from resources.delta.table import LakeResource
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.raw.writer import WindowWriter
from resources.s3.client import S3Resource
from resources.s3.options import GovernorConfig
from resources.sources.postgres import PostgresResource
from resources.sources.protocol import ReadWindow
from tests.chaos.http_messages import EVENT

STEPS = ("extract", "reconcile_keys", "merge", "tidy")
BUCKETS = 4
"""Number of account buckets: few, because a window has a file for each."""
PREPARED_SECONDS = 120.0
"""How long a transaction may be open before it is prepared: longer than a run takes on any machine."""
_PIECE_BYTES = 300


@dataclass(frozen=True)
class Place:
    """Addresses of a run's database and lake, and its settings, as values to send to a worker."""

    dsn: str
    s3_endpoint: str
    access_key_id: str
    secret_access_key: str
    bucket: str
    skew_milliseconds: int = 0
    """How far an application's clock may be behind."""
    governor_home: str = ""
    """Home of the request governor; empty to use S3 directly."""
    in_pieces: bool = False
    """Limit files and merges to a few rows, so that a window needs several."""
    dead_proxies: tuple[str, ...] = ()
    """Variables that name a proxy which refuses connections."""

    @classmethod
    def of(cls, received: Mapping[str, Any]) -> "Place":
        """Return a place that was sent as JSON."""
        return cls(**{**received, "dead_proxies": tuple(received["dead_proxies"])})


def merge(
    table: str, buckets: Sequence[int], raw_store: RawStoreResource, lake_: LakeResource, quarantine: QuarantineResource
) -> None:
    """Call the asset's function directly: Dagster around it takes longer than the merge."""
    [asset] = [asset for asset in lake.ASSETS if asset.key.path[1] == table]
    function: Callable[..., object] = asset.op.compute_fn.decorated_fn.__wrapped__  # type: ignore[union-attr]
    context = SimpleNamespace(log=logging.getLogger("cippus.chaos"), partition_keys=[str(bucket) for bucket in buckets])
    function(context, raw_store, lake_, quarantine)


class RawStoreInPieces(RawStoreResource):
    """A raw store whose files have a few hundred bytes."""

    def writer(self, source: str, table: str, number: int, bucket_count: int) -> WindowWriter:
        """Return a writer with small buffers."""
        made = super().writer(source, table, number, bucket_count)
        made.rows_bytes = made.files_bytes = _PIECE_BYTES
        return made


class AnnouncingPostgres(PostgresResource):
    """The database. It announces points in time that S3 does not see, so that incidents can happen there."""

    announce_to: str = ""

    def announce(self, what: str) -> None:
        """Announce an event to the fault proxy, which may stop this worker."""
        connection = HTTPConnection(urlsplit(self.announce_to).netloc)
        connection.request("GET", f"{EVENT}{what}")
        connection.getresponse().read()
        connection.close()

    def safe_high_water_mark(self) -> datetime:
        """Return the mark, and announce `mark` before anything is read."""
        found = super().safe_high_water_mark()
        self.announce("mark")
        return found

    def read(self, window: ReadWindow) -> AbstractContextManager[Iterator[pa.RecordBatchReader]]:  # type: ignore[override]
        """Read a window; announce `read` before the query is sent."""
        self.announce("read")
        return super().read(window)


@dataclass(frozen=True)
class Steps:
    """The steps of one place. The S3 client is kept; resources are created for every step, as a run does."""

    place: Place

    @cached_property
    def s3(self) -> S3Resource:
        """Return the run's bucket."""
        at = self.place
        return S3Resource(
            bucket=at.bucket,
            endpoint_url=at.s3_endpoint,
            access_key_id=at.access_key_id,
            secret_access_key=at.secret_access_key,
            governor=GovernorConfig(home=at.governor_home) if at.governor_home else None,
        )

    @property
    def raw_store(self) -> RawStoreResource:
        """Return the raw windows."""
        return RawStoreInPieces(s3=self.s3) if self.place.in_pieces else RawStoreResource(s3=self.s3)

    @property
    def lake(self) -> LakeResource:
        """Return the Delta tables, none of them open."""
        return LakeResource(s3=self.s3)

    @property
    def quarantine(self) -> QuarantineResource:
        """Return the quarantine. Only rows with times out of range are in it."""
        return QuarantineResource(s3=self.s3)

    @property
    def source(self) -> AnnouncingPostgres:
        """Return the database."""
        return AnnouncingPostgres(
            dsn=self.place.dsn,
            announce_to=self.place.s3_endpoint,
            batch_bytes=_PIECE_BYTES if self.place.in_pieces else 8 << 20,
            prepared_seconds=PREPARED_SECONDS,
        )

    @property
    def _skew(self) -> timedelta:
        return timedelta(milliseconds=self.place.skew_milliseconds)

    def take(self, step: str, table: str, buckets: Sequence[int]) -> None:
        """Run one of STEPS. Only a merge uses ``buckets``."""
        steps: Mapping[str, Callable[[], object]] = {
            "extract": lambda: self._extraction(table).changes(),
            "reconcile_keys": lambda: self._reconciliation(table).run(),
            "merge": lambda: self._merge(table, buckets),
            "tidy": lambda: self._tidy(table),
        }
        steps[step]()

    def _extraction(self, table: str) -> Extraction:
        return Extraction(
            self.source, self.raw_store, SOURCE_TABLES[table], BUCKETS, self._quarantine(table), self._skew
        )

    def _reconciliation(self, table: str) -> KeyReconciliation:
        resources = self.source, self.raw_store, self.lake, self.quarantine
        return KeyReconciliation(*resources, SOURCE_TABLES[table], lake.LAKE_TABLES[table], BUCKETS, self._skew)

    def _quarantine(self, table: str) -> Rejects:
        key = SOURCE_TABLES[table].key
        return lambda rejects: self.quarantine.land("source-postgres", table, key, rejects, REASON)

    def _merge(self, table: str, buckets: Sequence[int]) -> None:
        """Merge some buckets of a table; in pieces, a row at a time."""
        if self.place.in_pieces:
            lake._MERGE_ROWS = 1
        merge(table, buckets, self.raw_store, self.lake, self.quarantine)

    def _tidy(self, table: str) -> None:
        """Compact at two small files of a bucket, because a run never writes sixteen."""
        maintenance.MOST_SMALL_FILES = 1
        maintenance.LakeMaintenance(self.lake).compact(lake.LAKE_TABLES[table])
