"""Compare all keys of a source with the lake's keys, and land hard deletes and missed rows as a window."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain

import polars as pl
import pyarrow as pa

from assets.raw.extraction import UPDATED_AT
from assets.raw.reading import Keep, Reading, keep_all
from assets.raw.unmerged import Unmerged
from assets.transforms.source.contract import recast_table
from assets.transforms.source.key_comparison import (
    DEFAULT_LIMIT,
    Bounds,
    Differences,
    VanishedLimit,
    compare_keys,
    deletion_rows,
)
from assets.transforms.source.schema import REASON, TIMESTAMP, SourceTable, newest_usable, with_bucket
from resources.delta.table import LakeResource, TableSpec
from resources.errors import PermanentFailure, TransientFailure
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import KEYS, Manifest, RawStoreResource, WindowTakenError
from resources.raw.writer import WindowFile, WindowWriter
from resources.sources.key_shares import KeyShares
from resources.sources.protocol import LiveSource, ReadWindow, SnapshotSource, Source

_KEYS_PER_QUERY, _ATTEMPTS = 5_000, 5
_VANISHED_PER_SCAN = 100_000
"""Vanished keys looked up in one scan of the lake."""
_OF_SOURCE = {"key": pl.String(), "updated_at": pl.Datetime("us", "UTC")}
_OF_SCAN = pa.schema([("key", pa.string()), ("updated_at", TIMESTAMP)])
_OF_LAKE = {**_OF_SOURCE, "is_deleted": pl.Boolean()}
_ALWAYS = datetime.max.replace(tzinfo=UTC)


class ImplausibleDeletionsError(PermanentFailure):
    """More keys vanished from the source than the limit allows; nothing was deleted."""


class UnreadableKeysError(PermanentFailure):
    """Keys of the source cannot be cast to the lake's type, so every row would count as vanished."""


@dataclass(frozen=True)
class Reconciled:
    """Numbers of keys by result of a comparison, and the window that it landed; None if nothing differed.

    ``unusable`` rows of the source are in the quarantine instead of the lake.
    """

    window: Manifest | None = None
    scanned: int = 0
    held: int = 0
    vanished: int = 0
    missing: int = 0
    stale: int = 0
    ahead: int = 0
    unusable: int = 0


@dataclass
class KeyReconciliation:
    """Compare one table of one source with the lake, once.

    Scan (key, updated_at) on each side, then read the rows of keys that differ. Rows that are landed but not merged
    count as the lake's: otherwise a row deleted since would come back when they are merged. A source that is not live,
    such as an export, has landed all its rows, so only vanished keys are new. Memory: one share of both sides' keys,
    and up to 100,000 vanished keys. Local disk: about 40 bytes per key.
    """

    source: Source
    raw_store: RawStoreResource
    lake: LakeResource
    quarantine: QuarantineResource
    table: SourceTable
    spec: TableSpec
    bucket_count: int
    skew: timedelta
    keep: Keep = keep_all
    limit: VanishedLimit | None = DEFAULT_LIMIT
    _counts: dict[str, int] = field(default_factory=dict)
    _vanished: list[str] = field(default_factory=list)
    _reading: Reading = field(init=False)
    _unmerged: Unmerged = field(init=False)

    def run(self) -> Reconciled:
        """Land a window of kind ``keys`` with deletion rows and missing rows, if there are any.

        Before the first window of the source there is nothing to compare. Raise ImplausibleDeletionsError if more keys
        vanished than ``limit`` allows, BucketCountError, WindowTakenError if extractions keep landing windows first,
        and errors of the source. A limit of None allows any number.
        """
        self.raw_store.require_bucket_count(self.table.name, self.bucket_count)
        newest = self.raw_store.newest(self.source.name, self.table.name)
        if newest is None:
            return Reconciled()
        self._reading = Reading.of(
            *(self.table, self.source.columns(self.table.name), self.keep),
            lambda: lake_columns(self.lake, self.spec),
        )
        # The window of a snapshot has the mark that its rows showed.
        is_snapshot = isinstance(self.source, SnapshotSource)
        mark = datetime.fromisoformat(newest.upper) if is_snapshot else self.source.safe_high_water_mark()
        judged_below = mark - self.skew
        landed_below = min(judged_below, datetime.fromisoformat(newest.upper) - self.skew)
        bounds = Bounds(judged_below, landed_below)
        number = newest.number + 1
        # List unmerged files before reading the lake: a row that is merged in between would otherwise be in neither.
        # Leave out the snapshot's own window, because its rows are the source's side of the comparison.
        but = newest if is_snapshot else None
        self._unmerged = Unmerged.of(self.raw_store, self.lake, self.table, self.spec, self.bucket_count, but)
        self._counts = dict.fromkeys(("scanned", "held", "vanished", "missing", "stale", "ahead", "unusable"), 0)
        with self.raw_store.writer(self.source.name, self.table.name, number, self.bucket_count) as writer:
            with KeyShares.of(self._rows_estimate()) as shares:
                self._counts["scanned"] = shares.add("source", _OF_SOURCE, self._source_keys())
                self._counts["held"] = shares.add("lake", _OF_LAKE, self._lake_keys())
                current = 0
                for share in shares.paired("source", "lake"):
                    found = compare_keys(*share, bounds)
                    current += found.current
                    self._land(found, bounds, mark, writer)
            self._land_vanished(bounds, mark, writer)
            files = writer.finish()
        if self.limit and not self.limit.allows(self._counts["vanished"], current):
            self.raw_store.discard(files)
            raise ImplausibleDeletionsError(self._implausible(current, newest.origin))
        window = self._complete(files, newest.origin, judged_below) if files else None
        return Reconciled(window, **self._counts)

    def run_guarded(self) -> Reconciled:
        """``run``, and store for `cippus doctor` that the limit stopped it, until a later comparison ends."""
        source, table = self.source.name, self.table.name
        try:
            found = self.run()
        except ImplausibleDeletionsError as error:
            self.raw_store.record_stop(source, table, str(error))
            raise
        self.raw_store.clear_stop(source, table)
        return found

    def _implausible(self, current: int, origin: str) -> str:
        table = self.table.name
        if isinstance(self.source, LiveSource):
            step, config = f"reconcile_{table}", "{allow_vanished: true}"
        else:
            step, config = f"raw__{table}", f"{{export_id: {origin}, allow_vanished: true}}"
        return (
            f"{self._counts['vanished']:,} of {current:,} keys of {table} vanished from {self.source.name}, so nothing "
            "was deleted; check for row-level security, a filtered view, TRUNCATE, a restore in progress or a wrong "
            f"database; if the rows are really gone, run this once with ops: {{{step}: {{config: {config}}}}}."
        )

    def _complete(self, files: tuple[WindowFile, ...], origin: str, judged_below: datetime) -> Manifest:
        """Land the window after all windows that landed during the comparison, which may take an hour.

        Its position does not matter: it concerns rows below ``judged_below`` only.
        """
        for attempt in range(_ATTEMPTS):
            newest = self.raw_store.newest(self.source.name, self.table.name)
            if newest is None:
                break
            window = Manifest(
                self.source.name,
                self.table.name,
                newest.number + 1,
                newest.upper,
                newest.upper,
                self.bucket_count,
                files,
                KEYS,
                origin,
                overlap_seconds=newest.overlap_seconds,
                overlap=newest.overlap,
                judged_below=judged_below.isoformat(),
                source_columns=newest.source_columns,
            )
            try:
                self.raw_store.complete(window)
            except WindowTakenError:
                if attempt == _ATTEMPTS - 1:
                    raise
                continue
            return window
        raise TransientFailure(
            f"raw/{self.table.name} of {self.source.name} lost all its windows during the comparison; run it again."
        )

    def _rows_estimate(self) -> int:
        return self._unmerged.rows + sum(found.rows for found in self.lake.contents(self.spec).values())

    def _source_keys(self) -> Iterator[pl.DataFrame]:
        with self._scan() as batches:
            for batch in batches:
                given = batch[self.table.key]
                rows = _frame(recast_table(_OF_SCAN, pa.table([given, batch[UPDATED_AT]], names=_OF_SCAN.names)))
                # A text that is not UTF-8 is no key that could have landed, so it counts as a row without a key.
                if rows["key"].null_count() > given.null_count and not pa.types.is_string(given.type):
                    raise UnreadableKeysError(
                        f"Some keys of {self.table.name} in {self.source.name} cannot be read as text, so they cannot "
                        "be compared; correct them or the type of the column."
                    )
                yield rows

    def _scan(self) -> AbstractContextManager[pa.RecordBatchReader]:
        key = self.table.key
        if isinstance(self.source, LiveSource):
            return self.source.scan_keys(self.table.name, key, UPDATED_AT)
        return self.source.read(ReadWindow(self.table.name, key, (key, UPDATED_AT), UPDATED_AT, None, _ALWAYS))

    def _lake_keys(self) -> Iterator[pl.DataFrame]:
        narrow = self.lake.scan(self.spec).select(
            key=pl.col(self.table.key), updated_at=pl.col(UPDATED_AT), is_deleted=pl.col("deleted_at").is_not_null()
        )
        yield from chain(self._unmerged.keys(), narrow.collect_batches(maintain_order=False))

    def _land(self, found: Differences, bounds: Bounds, mark: datetime, writer: WindowWriter) -> None:
        for name in ("vanished", "missing", "stale", "ahead"):
            self._counts[name] += len(getattr(found, name))
        self._counts["unusable"] += found.keyless
        if isinstance(self.source, LiveSource):
            self._land_rows(self.source, found.to_read, mark, writer)
        self._vanished += found.vanished.to_list()
        if len(self._vanished) >= _VANISHED_PER_SCAN:
            self._land_vanished(bounds, mark, writer)

    def _land_rows(self, source: LiveSource, keys: Sequence[str], mark: datetime, writer: WindowWriter) -> None:
        """Land the source's current rows of some keys. The next comparison finds keys deleted meanwhile."""
        if not keys:
            return
        reading, key = self._reading, self.table.key
        window = ReadWindow(
            self.table.name, key, reading.names, UPDATED_AT, None, mark, texts=reading.texts, lists=reading.lists
        )
        for at in range(0, len(keys), _KEYS_PER_QUERY):
            with source.rows_of(window, keys[at : at + _KEYS_PER_QUERY]) as batches:
                for batch in batches:
                    rows = _frame(reading.rows(batch, self._quarantine))
                    usable, rejects = newest_usable(self.table, rows)
                    self._quarantine(rejects)
                    self._write(usable.filter(pl.col(UPDATED_AT) < mark), writer)

    def _quarantine(self, rejects: pl.DataFrame) -> None:
        origin = f"keys-{self.source.name}"
        self._counts["unusable"] += self.quarantine.land(origin, self.table.name, self.table.key, rejects, REASON)

    def _land_vanished(self, bounds: Bounds, mark: datetime, writer: WindowWriter) -> None:
        """Land deletion rows, made from rows of the lake or from unmerged rows."""
        if not self._vanished:
            return
        key, gone = self.table.key, pl.DataFrame({self.table.key: self._vanished})
        self._vanished = []
        empty = _frame(self._reading.schema.empty_table())
        unmerged = pl.concat([empty, *map(self._landed, self._unmerged.rows_of(gone))])
        rows = self.lake.scan(self.spec).join(gone.lazy(), on=key, how="semi")
        for batch in rows.collect_batches(maintain_order=False):
            of_batch = unmerged.join(batch, on=key, how="semi")
            unmerged = unmerged.join(batch, on=key, how="anti")
            self._bury(pl.concat([self._landed(batch), of_batch]), bounds, mark, writer)
        self._bury(unmerged, bounds, mark, writer)

    def _bury(self, versions: pl.DataFrame, bounds: Bounds, mark: datetime, writer: WindowWriter) -> None:
        """Write deletion rows of the latest versions. Skip rows that were merged during the comparison."""
        latest, _ = newest_usable(self.table, versions)
        judged = latest.filter(pl.col("deleted_at").is_null() & (pl.col(UPDATED_AT) < bounds.deletion_time))
        self._write(deletion_rows(judged, bounds, mark), writer)

    def _landed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Cast rows to the columns and types of this window."""
        return _frame(recast_table(self._reading.schema, rows.to_arrow()))

    def _write(self, rows: pl.DataFrame, writer: WindowWriter) -> None:
        if rows.height:
            landed = recast_table(self._reading.schema, rows.to_arrow())
            writer.add(with_bucket(self.table, landed, self.bucket_count))


def lake_columns(lake: LakeResource, spec: TableSpec) -> list[str]:
    """Return the columns that a lake table has now."""
    table = lake.open(spec)
    return [field.name for field in table.schema().fields] if table else []


def _frame(rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(rows))
