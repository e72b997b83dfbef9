"""The steps of extraction and lake that a chaos run takes: the one place that is coupled to their code."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from http.client import HTTPConnection
from types import SimpleNamespace
from urllib.parse import urlsplit

import polars as pl
import pyarrow as pa

from assets import lake
from assets.raw.extraction import Extraction
from assets.raw.key_reconciliation import KeyReconciliation
from assets.transforms.source.schema import SOURCE_TABLES
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
"""Account buckets: few, because each that a window has rows of is a file."""
PREPARED_SECONDS = 120.0
"""How long a run's transactions may be open before they are prepared: longer than a whole run takes anywhere."""
_PIECE_BYTES = 300


@dataclass(frozen=True)
class Place:
    """Where a run's database and lake are, and its settings, as values that go to a worker."""

    dsn: str
    s3_endpoint: str
    access_key_id: str
    secret_access_key: str
    bucket: str
    skew_milliseconds: int = 0
    """How far an application's clock may be behind."""
    governor_home: str = ""
    """Where the request governor is found that S3 is reached through; blank to reach it directly."""
    in_pieces: bool = False
    """Whether a few rows are already too many for a file or for a merge, so that a window takes several."""


class RawStoreInPieces(RawStoreResource):
    """Windows whose files hold a few hundred bytes."""

    def writer(self, source: str, table: str, number: int, bucket_count: int) -> WindowWriter:
        """As ever, but for the buffers."""
        made = super().writer(source, table, number, bucket_count)
        made.rows_bytes = made.files_bytes = _PIECE_BYTES
        return made


class AnnouncingPostgres(PostgresResource):
    """The database, announcing the moments at which something can be made to happen that S3 does not see."""

    announce_to: str = ""

    def announce(self, what: str) -> None:
        """Tell the fault proxy, which may stop this worker here."""
        connection = HTTPConnection(urlsplit(self.announce_to).netloc)
        connection.request("GET", f"{EVENT}{what}")
        connection.getresponse().read()
        connection.close()

    def safe_high_water_mark(self) -> datetime:
        """As ever; announced as `mark`, when it is known and nothing was read."""
        found = super().safe_high_water_mark()
        self.announce("mark")
        return found

    def read(self, window: ReadWindow) -> AbstractContextManager[Iterator[pa.RecordBatchReader]]:  # type: ignore[override]
        """As ever; announced as `read`, before the query is sent."""
        self.announce("read")
        return super().read(window)


@dataclass(frozen=True)
class Steps:
    """The steps in one place. What a process keeps is kept; what a run makes anew is made at every step."""

    place: Place

    @cached_property
    def s3(self) -> S3Resource:
        """The run's bucket."""
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
        """The windows."""
        return RawStoreInPieces(s3=self.s3) if self.place.in_pieces else RawStoreResource(s3=self.s3)

    @property
    def lake(self) -> LakeResource:
        """The Delta tables, nothing of them opened yet."""
        return LakeResource(s3=self.s3)

    @property
    def quarantine(self) -> QuarantineResource:
        """Where rows go that cannot be used; a run has none."""
        return QuarantineResource(s3=self.s3)

    @property
    def source(self) -> AnnouncingPostgres:
        """The database."""
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
        """Take one of STEPS; only a merge is of some buckets."""
        steps: Mapping[str, Callable[[], object]] = {
            "extract": lambda: self._extraction(table).changes(),
            "reconcile_keys": lambda: self._reconciliation(table).run(),
            "merge": lambda: self._merge(table, buckets),
            "tidy": lambda: self._tidy(table),
        }
        steps[step]()

    def _extraction(self, table: str) -> Extraction:
        return Extraction(self.source, self.raw_store, SOURCE_TABLES[table], BUCKETS, _no_rejects, self._skew)

    def _reconciliation(self, table: str) -> KeyReconciliation:
        resources = self.source, self.raw_store, self.lake, self.quarantine
        return KeyReconciliation(*resources, SOURCE_TABLES[table], lake.LAKE_TABLES[table], BUCKETS, self._skew)

    def _merge(self, table: str, buckets: Sequence[int]) -> None:
        """The asset's own function: Dagster's machinery around it takes longer than what it does here."""
        if self.place.in_pieces:
            lake._MERGE_ROWS = 1
        [asset] = [asset for asset in lake.ASSETS if asset.key.path[1] == table]
        merge: Callable[..., object] = asset.op.compute_fn.decorated_fn  # type: ignore[union-attr]
        context = SimpleNamespace(
            log=logging.getLogger("cippus.chaos"), partition_keys=[str(bucket) for bucket in buckets]
        )
        merge(context, self.raw_store, self.lake, self.quarantine)

    def _tidy(self, table: str) -> None:
        """Upkeep to which two small files of a bucket are already too many: a run makes no sixteen."""
        maintenance.MOST_SMALL_FILES = 1
        maintenance.LakeMaintenance(self.lake).compact(lake.LAKE_TABLES[table])


def _no_rejects(rejects: pl.DataFrame) -> None:
    if rejects.height:
        message = f"A run writes no row that cannot be used, and these were rejected: {rejects}"
        raise ValueError(message)
