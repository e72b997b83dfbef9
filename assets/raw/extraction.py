"""Extract one window of a table from any source: bounds, rows, manifest. Does not use Dagster."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from assets.raw.reading import Keep, Reading, Rejects, keep_all
from assets.transforms.source.overlap import MOST_DIGESTS, Overlap, pack, unpack
from assets.transforms.source.schema import SourceTable, with_bucket
from resources.raw.plan import Part, Plan
from resources.raw.store import CHANGES, EXPORT, Manifest, RawStoreResource, parse_timestamp
from resources.raw.writer import WindowFile
from resources.sources.protocol import (
    BEFORE_ALL,
    KeyRange,
    LiveSource,
    ReadWindow,
    SnapshotSource,
    Source,
    StagedSource,
)

UPDATED_AT = "updated_at"
PART_ROWS = 2_000_000
"""Estimated rows in one part of a first load. A crash loses one part, about a minute's work. Smaller parts would cost
more, because each part may scan the whole table."""


@dataclass(frozen=True)
class Extracted:
    """Result of one extraction. ``repeated`` rows below the window were read again and had landed before.

    ``window`` is None if nothing was new; then no manifest was written. An export that arrives after a later one,
    ``superseded_by``, has a window without rows.
    """

    window: Manifest | None
    mark: datetime
    repeated: int = 0
    parts: int = 1
    superseded_by: str = ""

    @property
    def files(self) -> tuple[WindowFile, ...]:
        """Return the files of the window."""
        return self.window.files if self.window else ()


@dataclass
class Extraction:
    """One table of one source, extracted once.

    ``skew`` is how far an application's clock may be behind the source's; that much below a window is read again with
    it. ``on_rejects`` takes rows that cannot be cast, ``on_rows`` the number of rows read, and ``keep`` filters rows.
    ``lake_columns`` gives the columns of the lake table.
    Memory: that of a WindowWriter.
    """

    source: Source
    raw_store: RawStoreResource
    table: SourceTable
    bucket_count: int
    on_rejects: Rejects
    skew: timedelta = timedelta(0)
    on_rows: Callable[[int], None] = lambda _rows: None
    part_rows: int = PART_ROWS
    keep: Keep = keep_all
    lake_columns: Callable[[], Iterable[str]] = tuple
    reading: Reading = field(init=False)
    newest_timestamp: datetime | None = field(init=False, default=None)

    def changes(self) -> Extracted:
        """Land the rows that changed since the newest window of this source, as the next window.

        The first window of a source begins at the end of another source's windows, or is open. A window without rows
        is not written; the next one begins where the newest ended. Raise BucketCountError, WindowTakenError if another
        run was faster, and errors of the source.
        """
        self._begin()
        newest = self._newest()
        mark = self.source.safe_high_water_mark()
        lower = parse_timestamp(newest.upper) if newest else self._end_of_others()
        if lower is not None and mark <= lower:
            return Extracted(None, mark)
        number = newest.number + 1 if newest else 1
        known = unpack(self.raw_store.digests(newest.overlap if newest else ""))
        ranges = self._ranges() if newest is None else [KeyRange()]
        # A staged source finds its files again only for the same window, so store the bounds before reading.
        if len(ranges) > 1 or isinstance(self.source, StagedSource):
            return self._divided(number, lower, mark, ranges, known)
        overlap = Overlap(UPDATED_AT, lower, mark - self.skew, known)
        files = self._land(number, overlap, mark, ranges[0])
        digests = (
            self.raw_store.put_digests(self.source.name, self.table.name, number, pack(overlap.remembered))
            if files
            else ""
        )
        window = self._complete(number, lower, mark, files, digests)
        return Extracted(window, mark, overlap.repeated)

    def snapshot(self, origin: str) -> Extracted:
        """Land all rows of a source as one window, unless ``origin`` was landed before.

        A snapshot older than a landed one lands no rows: they would bring back rows deleted in between.
        """
        mark = self.source.safe_high_water_mark()
        landed = list(self.raw_store.manifests(self.source.name, self.table.name))
        if any(window.origin == origin for window in landed):
            return Extracted(None, mark)
        self._begin()
        number = landed[-1].number + 1 if landed else 1
        files = self._land(number, Overlap(UPDATED_AT, None, mark), mark, KeyRange())
        if isinstance(self.source, SnapshotSource):
            mark = self.source.mark_of(self.newest_timestamp)
            taken_at = self.source.snapshot
        else:
            taken_at = mark
        window = self._manifest(number, None, mark, files, "")
        window = replace(window, kind=EXPORT, origin=origin, overlap_seconds=0.0, taken_at=taken_at.isoformat())
        later = next((one for one in landed if _is_later(one, taken_at, mark)), None)
        if later is not None:
            self.raw_store.discard(files)
            window = replace(window, lower=landed[-1].upper, upper=landed[-1].upper, files=())
        self.raw_store.complete(window)
        return Extracted(window, mark, superseded_by=later.origin if later else "")

    def _begin(self) -> None:
        self.raw_store.require_bucket_count(self.table.name, self.bucket_count)
        self.reading = Reading.of(self.table, self.source.columns(self.table.name), self.keep, self.lake_columns)

    def _newest(self) -> Manifest | None:
        return self.raw_store.newest(self.source.name, self.table.name)

    def _end_of_others(self) -> datetime | None:
        """Return the end of the newest window of other sources, so that a switch reads only later changes."""
        found = (self.raw_store.newest(name, self.table.name) for name in self.raw_store.sources(self.table.name))
        ends = (datetime.fromisoformat(window.upper) for window in found if window)
        return max((end for end in ends if end > BEFORE_ALL), default=None)

    def _ranges(self) -> list[KeyRange]:
        if not isinstance(self.source, LiveSource):
            return [KeyRange()]
        return list(self.source.key_ranges(self.table.name, self.table.key, self.part_rows))

    def _divided(
        self,
        number: int,
        lower: datetime | None,
        mark: datetime,
        ranges: Iterable[KeyRange],
        known: frozenset[bytes] = frozenset(),
    ) -> Extracted:
        """Land a window in parts. Skip parts that an earlier run finished."""
        columns = dict(self.reading.columns)
        proposed = Plan(_text(lower), mark.isoformat(), self.bucket_count, columns, tuple(ranges))
        divided = self.raw_store.divided(self.source.name, self.table.name, number, proposed)
        lower, mark = parse_timestamp(divided.plan.lower), datetime.fromisoformat(divided.plan.upper)
        done = divided.parts()
        for place, keys in enumerate(divided.plan.ranges):
            if place not in done:
                overlap = Overlap(UPDATED_AT, lower, mark - self.skew, known)
                files = self._land(number, overlap, mark, keys)
                digests = self.raw_store.put_digests(
                    self.source.name, self.table.name, number, pack(overlap.remembered)
                )
                done[place] = divided.record(place, Part(files, digests))
        parts = [done[place] for place in range(len(divided.plan.ranges))]
        remembered = {digest for part in parts for digest in unpack(self.raw_store.digests(part.digests))}
        packed = pack(sorted(remembered)[:MOST_DIGESTS])
        digests = self.raw_store.put_digests(self.source.name, self.table.name, number, packed)
        files = tuple(file for part in parts for file in part.files)
        window = self._complete(number, lower, mark, files, digests)
        if window is None:
            divided.discard()  # otherwise the next run would find this plan, finished and empty
        if isinstance(self.source, StagedSource):
            self.source.delete_staged(self.table.name)
        return Extracted(window, mark, parts=len(parts))

    def _land(self, number: int, overlap: Overlap, mark: datetime, keys: KeyRange) -> tuple[WindowFile, ...]:
        """Read rows below the mark and write the new ones."""
        begins = overlap.lower - self.skew if overlap.lower else None
        names, texts, lists = self.reading.names, self.reading.texts, self.reading.lists
        window = ReadWindow(self.table.name, self.table.key, names, UPDATED_AT, begins, mark, keys, texts, lists)
        writer = self.raw_store.writer(self.source.name, self.table.name, number, self.bucket_count)
        with writer, self.source.read(window) as batches:
            for rows in gathered(self._rows(batches, overlap), writer.rows_bytes):
                writer.add(with_bucket(self.table, rows, self.bucket_count))
            return writer.finish()

    def _rows(self, batches: Iterable[pa.RecordBatch], overlap: Overlap) -> Iterator[pa.Table]:
        """Yield rows that can be cast and are new, batch by batch."""
        for batch in batches:
            rows = self.reading.rows(batch, self.on_rejects)
            self._note(rows[UPDATED_AT])
            yield overlap.fresh(rows)
            self.on_rows(batch.num_rows)

    def _note(self, timestamps: pa.ChunkedArray) -> None:
        """Remember the newest ``updated_at`` up to the snapshot's time. Later ones are errors or planned."""
        if isinstance(self.source, SnapshotSource):
            is_past = pc.less_equal(timestamps, pa.scalar(self.source.snapshot, timestamps.type))
            newest = pc.max(timestamps.filter(is_past)).as_py()
            self.newest_timestamp = max((known for known in (self.newest_timestamp, newest) if known), default=None)

    def _manifest(
        self, number: int, lower: datetime | None, upper: datetime, files: tuple[WindowFile, ...], overlap: str
    ) -> Manifest:
        return Manifest(
            self.source.name,
            self.table.name,
            number,
            _text(lower),
            upper.isoformat(),
            self.bucket_count,
            files,
            CHANGES,
            overlap_seconds=self.skew.total_seconds(),
            overlap=overlap,
            source_columns=dict(self.reading.columns),
        )

    def _complete(
        self, number: int, lower: datetime | None, upper: datetime, files: tuple[WindowFile, ...], overlap: str
    ) -> Manifest | None:
        if not files:
            return None
        window = self._manifest(number, lower, upper, files, overlap)
        self.raw_store.complete(window)
        return window


def _is_later(export: Manifest, taken_at: datetime, mark: datetime) -> bool:
    """Return whether a landed export is later than another, by their marks and by their times.

    The time alone does not decide: a copy carries the time of the copy. The mark alone does not either: the newest row
    of a quiet table is the same in both.
    """
    if export.kind != EXPORT or datetime.fromisoformat(export.upper) < mark:
        return False
    if not export.taken_at:  # landed by a version that did not record it
        return datetime.fromisoformat(export.upper) > mark
    return datetime.fromisoformat(export.taken_at) > taken_at


def gathered(pieces: Iterable[pa.Table], size_bytes: int) -> Iterator[pa.Table]:
    """Yield the same rows in larger tables, without a copy, so that work per distinct value is done less often."""
    held: list[pa.Table] = []
    held_bytes = 0
    for piece in pieces:
        held.append(piece)
        held_bytes += piece.nbytes
        if held_bytes >= size_bytes:
            yield pa.concat_tables(held)
            held, held_bytes = [], 0
    if held:
        yield pa.concat_tables(held)


def _text(bound: datetime | None) -> str | None:
    return bound.isoformat() if bound else None
