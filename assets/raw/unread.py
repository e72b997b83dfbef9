"""Find what no window reads: rows without ``updated_at``, or with an old one; all rows once a clock was set back."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl
import pyarrow as pa

from assets.raw.extraction import UPDATED_AT
from assets.raw.reading import Keep, keep_all
from assets.raw.unmerged import Unmerged
from assets.transforms.source.contract import recast_table
from assets.transforms.source.schema import SOURCE_TABLES, SourceTable
from resources.delta.table import LakeResource, TableSpec
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.sources.protocol import LiveSource, ReadWindow

MOST_UNDATED = 10_000
"""Rows without ``updated_at`` are counted up to here."""
_MOST_DAYS, _MOST_ROWS = 5, 200_000
"""Days whose keys are compared, and rows of such a day. The count is a lower bound if more days differ."""
_DAY = timedelta(days=1)
CLOCK_SET_BACK = (
    "No window is read until {:%Y-%m-%d %H:%M} UTC, where the newest one ends: the source's clock was set back."
)
CLOCK_FIX = "Correct it if it is wrong now; until then launch raw_key_reconciliation, which lands all rows."


@dataclass(frozen=True)
class Unread:
    """Numbers of rows that no window reads: ``undated`` up to MOST_UNDATED, ``backfilled`` at least."""

    undated: int = 0
    backfilled: int = 0


def waits_until(source: LiveSource, raw_store: RawStoreResource, skew: timedelta) -> datetime | None:
    """Return until when no window is read, because the newest one ends in the source's future; None if they are read.

    The clock of the source was set back, or a server took over whose clock is behind.
    """
    newest = (raw_store.newest(source.name, table) for table in SOURCE_TABLES)
    latest = max((datetime.fromisoformat(window.upper) for window in newest if window), default=None)
    return latest if latest and latest - source.safe_high_water_mark() > skew else None


@dataclass(frozen=True)
class UnreadRows:
    """Compare one table of a live source with the lake by rows a day, and the keys of days where the source has more.

    Hard deletes make a day of the lake larger, so a day can hide a row; the key reconciliation compares all keys.
    Memory: the rows of one day, at most 200,000, and one count a day.
    """

    source: LiveSource
    raw_store: RawStoreResource
    lake: LakeResource
    quarantine: QuarantineResource
    table: SourceTable
    spec: TableSpec
    bucket_count: int
    skew: timedelta
    keep: Keep = keep_all

    def count(self) -> Unread:
        """Return the numbers. Costs one scan of the source's index, and of the lake's ``updated_at``."""
        undated = self.source.count_undated(self.table.name, UPDATED_AT, MOST_UNDATED)
        newest = self.raw_store.newest(self.source.name, self.table.name)
        if newest is None:
            return Unread(undated)
        below = datetime.fromisoformat(newest.upper) - self.skew
        held = self._landed().filter(pl.col(UPDATED_AT) < below)
        by_day = held.group_by(pl.col(UPDATED_AT).dt.date().alias("day")).len().collect(engine="streaming")
        landed: dict[date, int] = dict(by_day.iter_rows())
        there = self.source.rows_by_day(self.table.name, UPDATED_AT, below)
        more = {day: rows - landed.get(day, 0) for day, rows in there.items() if rows > landed.get(day, 0)}
        worst = sorted((day for day in more if there[day] <= _MOST_ROWS), key=lambda day: -more[day])[:_MOST_DAYS]
        return Unread(undated, sum(self._missing(day, below) for day in worst))

    def _landed(self) -> pl.LazyFrame:
        """Return (key, updated_at) of the lake and of windows that are not merged yet."""
        columns = [pl.col(self.table.key).alias("key"), pl.col(UPDATED_AT)]
        waiting = Unmerged.of(self.raw_store, self.lake, self.table, self.spec, self.bucket_count)
        merged = self.lake.scan(self.spec).select(columns)
        unmerged = map(pl.DataFrame.lazy, waiting.keys())
        return pl.concat([merged, *(rows.select("key", UPDATED_AT) for rows in unmerged)])

    def _missing(self, day: date, below: datetime) -> int:
        """Return the number of usable rows of a day that have not landed in this version."""
        start = datetime.combine(day, time(), UTC)
        end = min(start + _DAY, below)
        rows = pl.concat([pl.DataFrame(schema={"key": pl.String()}), *self._source_rows(start, end)])
        within = self._landed().filter(pl.col(UPDATED_AT).is_between(start, end, closed="left"))
        unusable = [found.filter(source_table=self.table.name)["row_key"] for found in self.quarantine.rows()]
        known = pl.concat([within.select("key").collect()["key"], *unusable])
        return rows.filter(~pl.col("key").is_in(known.implode())).height

    def _source_rows(self, start: datetime, end: datetime) -> Iterator[pl.DataFrame]:
        key = self.table.key
        columns = tuple(dict.fromkeys((key, "account_id")))
        window = ReadWindow(self.table.name, key, columns, UPDATED_AT, start, end, texts=frozenset(columns))
        with self.source.read(window) as batches:
            for batch in batches:
                kept = self.keep(pa.Table.from_batches([batch]))
                keys = recast_table(pa.schema([(key, pa.string())]), kept)
                yield pl.DataFrame(pl.from_arrow(keys.rename_columns(["key"]))).drop_nulls()
