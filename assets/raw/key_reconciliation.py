"""Compare all keys of a source with the lake's keys, and land the differences: hard deletes and missed rows."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain

import polars as pl
import pyarrow as pa

from assets.raw.extraction import ALONG
from assets.raw.reading import Keep, Reading, keep_all
from assets.raw.unmerged import Unmerged
from assets.transforms.source.key_comparison import Bounds, Differences, compare_keys, tombstones
from assets.transforms.source.recasting import recast
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
"""Vanished keys whose rows are looked up in one scan of the lake."""
_OF_SOURCE = {"key": pl.String(), "updated_at": pl.Datetime("us", "UTC")}
_OF_LAKE = {**_OF_SOURCE, "is_deleted": pl.Boolean()}
_ALWAYS = datetime.max.replace(tzinfo=UTC)


class UnreadableKeysError(PermanentFailure):
    """Keys of the source have no equal in the lake's type: every row would look as if it had vanished."""


@dataclass(frozen=True)
class Reconciled:
    """What a comparison found, in keys, and the window that it landed; None where nothing differed.

    ``unusable`` rows are in the source but not in the lake, because they are in the quarantine.
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
    """One table of one source, compared with the lake once.

    One narrow scan of each side, (key, updated_at), and the rows of those keys that differ. What is landed and not yet
    merged counts as the lake's: a row that was deleted since would stand once it is. A source that is not live, such as
    an export, was landed whole: of it only what vanished is told. Memory: one share of the keys of both sides,
    and the keys that vanished, up to 100,000. What grows with the table is the scan itself and, on local disk, its keys
    (about 40 bytes each while it runs): a delete leaves no trace in the source but the missing key.
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
    _counts: dict[str, int] = field(default_factory=dict)
    _vanished: list[str] = field(default_factory=list)
    _reading: Reading = field(init=False)
    _unmerged: Unmerged = field(init=False)

    def run(self) -> Reconciled:
        """Land a window of kind ``keys`` with tombstones and rows that the lake lacks, if there are any.

        Before the first window of the source there is nothing to compare. Raises what the source raises,
        BucketCountError, and WindowTakenError where extractions land windows faster than this one can be written.
        """
        self.raw_store.require_bucket_count(self.table.name, self.bucket_count)
        newest = self.raw_store.newest(self.source.name, self.table.name)
        if newest is None:
            return Reconciled()
        self._reading = Reading.of(self.table, self.source.columns(self.table.name), self.keep)
        # Of a snapshot, what its window found out from the rows themselves.
        is_snapshot = isinstance(self.source, SnapshotSource)
        mark = datetime.fromisoformat(newest.upper) if is_snapshot else self.source.safe_high_water_mark()
        judged_below = mark - self.skew
        landed_below = min(judged_below, datetime.fromisoformat(newest.upper) - self.skew)
        bounds = Bounds(judged_below, landed_below)
        number = newest.number + 1
        # Before the lake is read, or what is merged meanwhile would be in neither. Of a snapshot, all is in the source.
        but = newest if is_snapshot else None
        self._unmerged = Unmerged.of(self.raw_store, self.lake, self.table, self.spec, self.bucket_count, but)
        self._counts = dict.fromkeys(("scanned", "held", "vanished", "missing", "stale", "ahead", "unusable"), 0)
        with self.raw_store.writer(self.source.name, self.table.name, number, self.bucket_count) as writer:
            with KeyShares.of(self._rows_estimate()) as shares:
                self._counts["scanned"] = shares.add("source", _OF_SOURCE, self._source_keys())
                self._counts["held"] = shares.add("lake", _OF_LAKE, self._lake_keys())
                for share in shares.paired("source", "lake"):
                    self._land(compare_keys(*share, bounds), bounds, mark, writer)
            self._land_vanished(bounds, mark, writer)
            files = writer.finish()
        window = self._complete(files, newest.origin, judged_below) if files else None
        return Reconciled(window, **self._counts)

    def _complete(self, files: tuple[WindowFile, ...], origin: str, judged_below: datetime) -> Manifest:
        """Land the window behind whatever was landed while keys were compared, which may take longer than an hour.

        What it says holds wherever it stands: it is about rows below ``judged_below``, and merges in order.
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
        message = f"raw/{self.table.name} of {self.source.name} has no windows any more."
        raise TransientFailure(message)

    def _rows_estimate(self) -> int:
        return self._unmerged.rows + sum(found.rows for found in self.lake.contents(self.spec).values())

    def _source_keys(self) -> Iterator[pl.DataFrame]:
        with self._scan() as batches:
            for batch in batches:
                rows = _frame(pa.Table.from_batches([batch]))
                keys, moments = recast(rows[self.table.key], pa.string()), recast(rows[ALONG], TIMESTAMP)
                if keys.null_count() > rows[self.table.key].null_count():
                    message = (
                        f"Keys of {self.source.name}'s {self.table.name} cannot be read as text, so what is missing "
                        "among them cannot be told."
                    )
                    raise UnreadableKeysError(message)
                yield pl.DataFrame({"key": keys, "updated_at": moments})

    def _scan(self) -> AbstractContextManager[pa.RecordBatchReader]:
        key = self.table.key
        if isinstance(self.source, LiveSource):
            return self.source.scan_keys(self.table.name, key, ALONG)
        return self.source.read(ReadWindow(self.table.name, key, (key, ALONG), ALONG, None, _ALWAYS))

    def _lake_keys(self) -> Iterator[pl.DataFrame]:
        narrow = self.lake.scan(self.spec).select(
            key=pl.col(self.table.key), updated_at=pl.col(ALONG), is_deleted=pl.col("deleted_at").is_not_null()
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
        """The source's rows of some keys, as they are now. One that is gone by now is the next comparison's."""
        if not keys:
            return
        reading, key = self._reading, self.table.key
        window = ReadWindow(self.table.name, key, reading.names, ALONG, None, mark, texts=reading.texts)
        for at in range(0, len(keys), _KEYS_PER_QUERY):
            with source.rows_of(window, keys[at : at + _KEYS_PER_QUERY]) as batches:
                for batch in batches:
                    rows = _frame(reading.rows(batch, self._quarantine))
                    usable, rejects = newest_usable(self.table, rows)
                    self._quarantine(rejects)
                    self._write(usable.filter(pl.col(ALONG) < mark), writer)

    def _quarantine(self, rejects: pl.DataFrame) -> None:
        origin = f"keys-{self.source.name}"
        self._counts["unusable"] += self.quarantine.land(origin, self.table.name, self.table.key, rejects, REASON)

    def _land_vanished(self, bounds: Bounds, mark: datetime, writer: WindowWriter) -> None:
        """Tombstones, made from the lake's rows or unmerged ones: the source has nothing left to make them from."""
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
        """Tombstones of the latest versions. What was merged meanwhile is later than what was compared."""
        latest, _ = newest_usable(self.table, versions)
        judged = latest.filter(pl.col("deleted_at").is_null() & (pl.col(ALONG) < bounds.tombstone))
        self._write(tombstones(judged, bounds, mark), writer)

    def _landed(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows in the columns and types that are landed now."""
        held = rows.select(name for name in self._reading.schema.names if name in rows.columns).to_arrow()
        return _frame(in_schema(held, self._reading.schema))

    def _write(self, rows: pl.DataFrame, writer: WindowWriter) -> None:
        if rows.height:
            held = rows.select(name for name in self._reading.schema.names if name in rows.columns).to_arrow()
            writer.add(with_bucket(self.table, in_schema(held, self._reading.schema), self.bucket_count))


def in_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows in a schema's order and types; null is a column that they lack, and a value that has no equal in its type.

    The source may have retyped a column that nobody declared since the lake's rows were read: what a deleted row said
    there is worth less than knowing that it was deleted.
    """
    columns = []
    for column in schema:
        if column.name not in rows.column_names:
            columns.append(pa.chunked_array([pa.nulls(rows.num_rows, column.type)]))
        elif rows[column.name].type.equals(column.type):
            columns.append(rows[column.name])
        else:
            cast = recast(pl.Series(pl.from_arrow(rows[column.name])), column.type)
            columns.append(pa.chunked_array([cast.to_arrow().cast(column.type)]))
    return pa.table(columns, schema=schema)


def _frame(rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(rows))
