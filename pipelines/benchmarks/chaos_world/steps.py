"""The steps of extraction and lake that a chaos run calls: the one place that is coupled to their code.

Belongs here: calling the assets' bodies without Dagster, with resources as a run makes them. Not here: faults.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPConnection
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from dagster import AssetsDefinition

from assets import lake, raw
from pipelines.benchmarks.chaos_world.http_messages import EVENT
from resources.lake import LakeResource
from resources.quarantine import QuarantineResource
from resources.raw_store import RawStoreResource, WindowWriter
from resources.rds import PostgresResource, ReadWindow
from resources.s3 import S3Resource

RECONCILES_KEYS = False
"""Whether rows that vanish from the database are noticed, by ``Steps.reconcile_keys``."""
RE_READS_OVERLAP = False
"""Whether rows that appear somewhat below a window that is complete are taken in, and equal moments are settled."""
WAITS_FOR_PREPARED = False
"""Whether the safe mark allows for transactions that are prepared, instead of refusing to be told."""
BUCKETS = 4
"""Account buckets: few, because each that a window has rows of is a file."""


@dataclass(frozen=True)
class Place:
    """Where a run's database and lake are, as values that go to a worker."""

    dsn: str
    s3_endpoint: str
    access_key_id: str
    secret_access_key: str
    bucket: str
    in_pieces: bool = False
    """Whether a few rows are already too many for a file or for a merge, so that a window takes several."""


class RawStoreInPieces(RawStoreResource):
    """Windows whose files hold a few hundred bytes."""

    def writer(self, source: str, table: str, number: int) -> WindowWriter:
        """As ever, but for the buffer."""
        made = super().writer(source, table, number)
        made.buffer_bytes = 300
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

    def safe_high_water_mark(self) -> Any:
        """As ever; announced as `mark`, when it is known and nothing was read."""
        found = super().safe_high_water_mark()
        self.announce("mark")
        return found

    def read(self, window: ReadWindow) -> Any:
        """As ever; announced as `read`, before the query is sent."""
        self.announce("read")
        return super().read(window)


@dataclass(frozen=True)
class Steps:
    """The steps in one place. What a process would keep over runs is kept; what a run makes is made a step."""

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
        )

    @property
    def raw_store(self) -> RawStoreResource:
        """The windows."""
        return RawStoreInPieces(s3=self.s3) if self.place.in_pieces else RawStoreResource(s3=self.s3)

    @property
    def lake(self) -> LakeResource:
        """The Delta tables, nothing of them opened yet."""
        return LakeResource(s3=self.s3)

    def extract(self, table: str) -> None:
        """Cut and land the next window of a table."""
        batch_bytes = 300 if self.place.in_pieces else 8 << 20
        source = AnnouncingPostgres(dsn=self.place.dsn, announce_to=self.place.s3_endpoint, batch_bytes=batch_bytes)
        _body(raw.ASSETS, table)(_context(), source, self.raw_store)

    def merge(self, table: str, buckets: Sequence[int]) -> None:
        """Merge every window that is due into these buckets."""
        if self.place.in_pieces:
            lake._MERGE_ROWS = 3
        _body(lake.ASSETS, table)(_context(buckets), self.raw_store, self.lake, QuarantineResource(s3=self.s3))

    def reconcile_keys(self, table: str) -> None:
        """Find the rows that vanished from the database."""
        raise NotImplementedError(table)


def _body(assets: Sequence[AssetsDefinition], table: str) -> Callable[..., Any]:
    """The function of a table's asset: Dagster's machinery around it takes longer than what it does here."""
    [found] = [asset for asset in assets if asset.key.path[1] == table]
    function: Callable[..., Any] = found.op.compute_fn.decorated_fn  # type: ignore[union-attr]
    return function


def _context(buckets: Sequence[int] = ()) -> Any:
    """What the bodies ask of Dagster: a log, and the buckets of the run."""
    return SimpleNamespace(log=logging.getLogger("cippus.chaos"), partition_keys=[str(bucket) for bucket in buckets])
