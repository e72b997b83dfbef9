"""Maintain lake tables: compact small files, sort overlapping files, delete old files and old log entries."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from resources.delta.commit import Commit, CommitConflictError, DataFile, write_commit
from resources.delta.files import Folder
from resources.delta.merge import FILE
from resources.delta.protocol import require_writable
from resources.delta.snapshot import Snapshot
from resources.delta.spec import TableSpec
from resources.delta.table import LakeResource
from resources.delta.writer import Writer

MOST_SMALL_FILES = 16
"""Small files of a bucket that are not compacted yet. Every merge may add one, and each is one more to open."""
MOST_OVERLAP = 8
"""Files of a bucket whose ranges may contain the same key, before some are sorted. A look-up opens all of them."""
_SMALL_PART = 0.25
"""A file is small below this part of the table's target size."""


@dataclass(frozen=True)
class Fragmentation:
    """The files of a bucket, its small files, and how many of the others may contain the same key."""

    bucket: int
    files: int
    small_files: int
    overlap: int

    @property
    def is_due(self) -> bool:
        """Return whether the bucket is over a threshold."""
        return self.small_files > MOST_SMALL_FILES or self.overlap > MOST_OVERLAP


@dataclass(frozen=True)
class Compaction:
    """Result for a table: compacted buckets, their files before and after, and conflicts with other writers."""

    buckets: int = 0
    files_before: int = 0
    files_after: int = 0
    outrun: int = 0


def is_small(spec: TableSpec) -> pl.Expr:
    """Return the expression that selects the small files of a snapshot."""
    return pl.col("size_bytes") < spec.target_bytes * _SMALL_PART


def fragmentation(snapshot: Snapshot, spec: TableSpec) -> list[Fragmentation]:
    """Return the fragmentation of every bucket, from the log alone."""
    return [
        Fragmentation(bucket, files.height, files.filter(is_small(spec)).height, len(_runs(files, spec)))
        for (bucket,), files in sorted(snapshot.files.partition_by("bucket", as_dict=True).items())
    ]


@dataclass(frozen=True)
class LakeMaintenance:
    """Maintenance of the tables of a lake.

    Replaced files and the log are kept for the lake's ``retention_hours``, for readers that began before and for the
    change feed. Unreferenced files of a crashed attempt are kept as long, because a writer may still commit them.
    """

    lake: LakeResource

    def compact(self, spec: TableSpec) -> Compaction:
        """Compact the buckets that are over a threshold. For the others only the log is read."""
        if self.lake.open(spec) is None:
            return Compaction()
        snapshot = self.lake.writable_snapshot(spec)
        due = [found.bucket for found in fragmentation(snapshot, spec) if found.is_due]
        done = [self._replace(spec, snapshot, list(chosen_files(snapshot, spec, bucket))) for bucket in due]
        return Compaction(len(done), *(sum(column) for column in zip(*done, strict=True)))

    def _replace(self, spec: TableSpec, snapshot: Snapshot, chosen: Sequence[DataFile]) -> tuple[int, int, int]:
        """Replace files by sorted ones, unless another writer has replaced one meanwhile.

        Return the number of files before and after, and of conflicts.
        """
        try:
            made = sorted_files(self.lake.folder(spec, snapshot), spec, chosen)
        except FileNotFoundError:
            if not self.lake.is_outdated(spec, snapshot):
                raise
            return len(chosen), len(chosen), 1
        touched = frozenset(file.bucket for file in chosen)
        try:
            commit = Commit("OPTIMIZE", adds=made, removes=chosen, touched=touched, data_change=False)
            write_commit(self.lake.s3, spec.name, snapshot.version, commit)
        except CommitConflictError:
            return len(chosen), len(chosen), 1
        return len(chosen), len(made), 0

    def clean(self, spec: TableSpec) -> int:
        """Delete the log before the last checkpoint, and unreferenced files, all older than the retention."""
        table = self.lake.open(spec)
        if table is None:
            return 0
        require_writable(table)
        if not self.lake.retention.items() <= table.metadata().configuration.items():
            table.alter.set_table_properties(self.lake.retention)
        self.lake.checkpoint(spec)
        table.cleanup_metadata()
        return len(table.vacuum(self.lake.retention_hours, dry_run=False, enforce_retention_duration=False, full=True))


def chosen_files(snapshot: Snapshot, spec: TableSpec, bucket: int) -> Iterator[DataFile]:
    """Yield the files of a bucket to compact: its small files, and the smallest sorted runs of the others.

    Files that do not overlap form a run. The smallest runs are chosen until half of MOST_OVERLAP are left. The longest
    run stays, so a row is rewritten about as often as its table doubles.
    """
    files = snapshot.in_buckets([bucket])
    small = files.filter(is_small(spec))[FILE].to_list()
    runs = sorted(_runs(files, spec), key=lambda run: run[0])
    most = len(runs) - MOST_OVERLAP // 2 if len(runs) > MOST_OVERLAP else 0
    for number in [*small, *(number for _, run in runs[:most] for number in run)]:
        yield snapshot.file(number)


def _runs(files: pl.DataFrame, spec: TableSpec) -> list[tuple[int, list[int]]]:
    """Divide the files of a bucket that are not small into the fewest runs without overlap, as (bytes, FILEs).

    Their number is how many files may contain the same key. A file without statistics is a run of its own.
    """
    ends: list[object] = []
    runs: list[tuple[int, list[int]]] = []
    columns = [FILE, "size_bytes", "least", "greatest"]
    large = files.filter(~is_small(spec)).sort("least", nulls_last=False)
    for number, size, least, greatest in large.select(columns).iter_rows():
        fits = [at for at, end in enumerate(ends) if end is not None and least is not None and end < least]
        if fits:
            at = fits[0]
            runs[at] = runs[at][0] + size, [*runs[at][1], number]
            ends[at] = greatest
        else:
            runs.append((size, [number]))
            ends.append(greatest)
    return runs


def sorted_files(folder: Folder, spec: TableSpec, files: Sequence[DataFile]) -> list[DataFile]:
    """Write the rows of some files of one bucket into new sorted files of the target size.

    Memory: a row group of each file. An unsorted file, which another engine may write, is held whole.
    Raises RuntimeError when rows would be lost or repeated.
    """
    writer = Writer.of(folder, files[0].bucket)
    for rows in merged(spec.key, [_sorted(folder, spec, file) for file in files]):
        writer.add(rows)
    made = writer.finish()
    rows_before, rows_after = sum(file.rows for file in files), sum(file.rows for file in made)
    if rows_before != rows_after:
        raise RuntimeError(
            f"{folder.name}: the log says {rows_before} rows, the files have {rows_after}; nothing was replaced."
        )
    return made


def _sorted(folder: Folder, spec: TableSpec, file: DataFile) -> Iterator[pl.DataFrame]:
    opened = folder.open(file)
    groups = opened.row_groups(spec.key)
    yield from groups if opened.ascends(spec.key[0]) else [pl.concat(list(groups)).sort(spec.key)]


def merged(key: Sequence[str], sources: Sequence[Iterator[pl.DataFrame]]) -> Iterator[pl.DataFrame]:
    """Merge sorted streams of rows into one, by the first key column, nulls first. Memory: a batch of each stream."""
    first = key[0]
    heads = {number: head for number, source in enumerate(sources) if (head := next(source, None)) is not None}
    while heads:
        # Every stream is known up to the last key of its head, so all are known up to the least of these keys.
        bound = min((head[first][-1] for head in heads.values()), key=lambda value: (value is not None, value))
        ready = []
        for number, head in list(heads.items()):
            is_due = pl.col(first).is_null() if bound is None else pl.col(first).is_null() | (pl.col(first) <= bound)
            due = head.filter(is_due)
            ready.append(due)
            rest: pl.DataFrame | None = head[due.height :]
            while rest is not None and rest.is_empty():
                rest = next(sources[number], None)
            heads.pop(number)
            if rest is not None:
                heads[number] = rest
        yield pl.concat(ready).sort(key)
