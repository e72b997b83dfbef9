"""Hard deletes, and whatever windows missed: all keys of a source compared with the lake's, and the differences landed.

Belongs here: reading both sides, and the window of what differs. Not here: sharing keys out (resources/key_shares.py),
judging them (transforms/key_comparison.py), merging (lake.py), the job (pipelines/reconciliation.py).
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa

from assets.extraction import ALONG
from assets.reading import Reading
from assets.transforms.key_comparison import Bounds, Differences, compare_keys, tombstones
from assets.transforms.recasting import recast
from assets.transforms.source_schema import TIMESTAMP, SourceTable, newest_usable, with_bucket
from resources.key_shares import KeyShares
from resources.lake import BUCKET, LakeResource, TableSpec
from resources.quarantine import QuarantineResource
from resources.raw_store import KEYS, Manifest, RawStoreResource, moment
from resources.source import LiveSource, ReadWindow, SnapshotSource, Source
from resources.window_writer import WindowWriter

_KEYS_PER_QUERY = 5_000
_VANISHED_PER_SCAN = 100_000
"""Vanished keys whose rows are looked up in one scan of the lake."""
_OF_SOURCE = {"key": pl.String(), "updated_at": pl.Datetime("us", "UTC")}
_OF_LAKE = {**_OF_SOURCE, "is_deleted": pl.Boolean()}
_ALWAYS = datetime.max.replace(tzinfo=UTC)


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

    One narrow scan of each side, (key, updated_at), and the rows of those keys that differ. A source that is not live,
    such as an export, was landed whole: of it only what vanished is told. Memory: one share of the keys of both sides,
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
    _counts: dict[str, int] = field(default_factory=dict)
    _vanished: list[str] = field(default_factory=list)
    _reading: Reading = field(init=False)

    def run(self) -> Reconciled:
        """Land a window of kind ``keys`` with tombstones and rows that the lake lacks, if there are any.

        Before the first window of the source there is nothing to compare. Raises what the source raises,
        BucketCountError, and WindowTakenError where an extraction landed a window meanwhile.
        """
        self.raw_store.require_bucket_count(self.table.name, self.bucket_count)
        newest = self.raw_store.newest(self.source.name, self.table.name)
        if newest is None:
            return Reconciled()
        self._reading = Reading.of(self.table, self.source.columns(self.table.name))
        # Of a snapshot, what its window found out from the rows themselves.
        is_snapshot = isinstance(self.source, SnapshotSource)
        mark = datetime.fromisoformat(newest.upper) if is_snapshot else self.source.safe_high_water_mark()
        judged_below = mark - self.skew
        landed_below = min(judged_below, datetime.fromisoformat(newest.upper) - self.skew)
        bounds = Bounds(judged_below, landed_below)
        number = newest.number + 1
        self._counts = dict.fromkeys(("scanned", "held", "vanished", "missing", "stale", "ahead", "unusable"), 0)
        with self.raw_store.writer(self.source.name, self.table.name, number, self.bucket_count) as writer:
            with KeyShares.of(self._rows_estimate()) as shares:
                self._counts["scanned"] = shares.add("source", _OF_SOURCE, self._source_keys())
                self._counts["held"] = shares.add("lake", _OF_LAKE, self._lake_keys())
                for share in shares.paired("source", "lake"):
                    self._land(compare_keys(*share, bounds), bounds, mark, writer)
            self._land_vanished(bounds, mark, writer)
            files = writer.finish()
        if not files:
            return Reconciled(None, **self._counts)
        window = Manifest(
            self.source.name,
            self.table.name,
            number,
            newest.upper,
            newest.upper,
            self.bucket_count,
            files,
            KEYS,
            newest.origin,
            overlap_seconds=newest.overlap_seconds,
            overlap=newest.overlap,
            judged_below=judged_below.isoformat(),
            source_columns=newest.source_columns,
        )
        self.raw_store.complete(window)
        return Reconciled(window, **self._counts)

    def _rows_estimate(self) -> int:
        return sum(found.rows for found in self.lake.contents(self.spec).values())

    def _source_keys(self) -> Iterator[pl.DataFrame]:
        with self._scan() as batches:
            for batch in batches:
                rows = _frame(pa.Table.from_batches([batch]))
                moments = recast(rows[ALONG], TIMESTAMP)
                yield pl.DataFrame({"key": recast(rows[self.table.key], pa.string()), "updated_at": moments})

    def _scan(self) -> AbstractContextManager[pa.RecordBatchReader]:
        key = self.table.key
        if isinstance(self.source, LiveSource):
            return self.source.scan_keys(self.table.name, key, ALONG)
        return self.source.read(ReadWindow(self.table.name, key, (key, ALONG), ALONG, None, _ALWAYS))

    def _lake_keys(self) -> Iterator[pl.DataFrame]:
        narrow = self.lake.scan(self.spec).select(
            key=pl.col(self.table.key), updated_at=pl.col(ALONG), is_deleted=pl.col("deleted_at").is_not_null()
        )
        yield from narrow.collect_batches(maintain_order=False)

    def _land(self, found: Differences, bounds: Bounds, mark: datetime, writer: WindowWriter) -> None:
        for name in ("vanished", "missing", "stale", "ahead"):
            self._counts[name] += len(getattr(found, name))
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
        self._counts["unusable"] += self.quarantine.land(origin, self.table.name, self.table.key, rejects)

    def _land_vanished(self, bounds: Bounds, mark: datetime, writer: WindowWriter) -> None:
        """Tombstones, made from the lake's rows: the source has nothing left to make them from."""
        if self._vanished:
            gone = pl.LazyFrame({self.table.key: self._vanished})
            self._vanished = []
            rows = self.lake.scan(self.spec).join(gone, on=self.table.key, how="semi")
            for batch in rows.collect_batches(maintain_order=False):
                # What was merged meanwhile is later than what was compared.
                judged = batch.filter(pl.col("deleted_at").is_null() & (pl.col(ALONG) < bounds.tombstone))
                self._write(tombstones(judged, bounds, mark), writer)

    def _write(self, rows: pl.DataFrame, writer: WindowWriter) -> None:
        if rows.height:
            held = rows.select(name for name in self._reading.schema.names if name in rows.columns).to_arrow()
            writer.add(with_bucket(self.table, in_schema(held, self._reading.schema), self.bucket_count))


def take_out_overruled(lake: LakeResource, spec: TableSpec, key: str, rows: pl.DataFrame, window: Manifest) -> None:
    """Before a window of keys is merged: take out what stands with a later ``updated_at`` and was judged.

    The source put these rows back as they were, so that the later version must not win. Merging afterwards repairs a
    crash in between. Other windows overrule nothing.
    """
    if window.kind != KEYS or rows.is_empty():
        return
    standing = lake.scan(spec).select(key, BUCKET, ALONG).filter(pl.col(key).is_in(rows[key].implode())).collect()
    before = pl.col(f"{ALONG}_before")
    is_judged = (before > pl.col(ALONG)) & (before < pl.lit(moment(window.judged_below)))
    overruled = rows.select(key, ALONG).join(standing, on=key, suffix="_before").filter(is_judged)
    for bucket, gone in overruled.group_by(BUCKET):
        quoted = ", ".join("'" + value.replace("'", "''") + "'" for value in gone[key])
        lake.delete_where(spec, f"{BUCKET} = {bucket[0]} AND {key} IN ({quoted})")


def in_schema(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows in a schema's order and types; a column that they lack is null."""
    for absent in (column for column in schema if column.name not in rows.column_names):
        rows = rows.append_column(absent, pa.nulls(rows.num_rows, absent.type))
    return rows.select(schema.names).cast(schema)


def _frame(rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(rows))
