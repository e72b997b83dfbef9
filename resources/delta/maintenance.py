"""Upkeep of lake tables: small files put together, overlapping ones sorted apart, old ones deleted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from resources.delta.commit import Commit, DataFile, OutrunError, write_commit
from resources.delta.files import Folder
from resources.delta.merge import FILE
from resources.delta.snapshot import Snapshot
from resources.delta.spec import TableSpec
from resources.delta.table import LakeResource
from resources.delta.writer import Writer

MOST_SMALL_FILES = 16
"""Of a bucket, before they are put together: every merge may leave one, and each is one more to open."""
MOST_OVERLAP = 8
"""Files of a bucket that one key may lie in by their ranges, before some are sorted apart: a look-up opens them all."""
_SMALL_PART = 0.25
"""A file is small below this part of the table's target."""


@dataclass(frozen=True)
class Fragmentation:
    """How scattered a bucket is: its files, the small ones, and how many of the others one key may lie in."""

    bucket: int
    files: int
    small_files: int
    overlap: int

    @property
    def is_due(self) -> bool:
        """Whether the bucket is over a threshold."""
        return self.small_files > MOST_SMALL_FILES or self.overlap > MOST_OVERLAP


@dataclass(frozen=True)
class Upkeep:
    """What was done to a table: buckets put in order, their files before and after, and writers that were first."""

    buckets: int = 0
    files_before: int = 0
    files_after: int = 0
    outrun: int = 0


def is_small(spec: TableSpec) -> pl.Expr:
    """Whether a file of a snapshot is small."""
    return pl.col("size_bytes") < spec.target_bytes * _SMALL_PART


def fragmentation(snapshot: Snapshot, spec: TableSpec) -> list[Fragmentation]:
    """Every bucket's, from the log alone."""
    large = snapshot.files.filter(~is_small(spec))
    known = large.drop_nulls(["least", "greatest"])
    # Sweeping over the keys, a file counts from its least to its greatest one, both included.
    starts = known.select("bucket", at="least", order=pl.lit(0), step=pl.lit(1))
    ends = known.select("bucket", at="greatest", order=pl.lit(1), step=pl.lit(-1))
    swept = pl.concat([starts, ends]).sort("bucket", "at", "order")
    deepest = swept.with_columns(pl.col("step").cum_sum().over("bucket")).group_by("bucket").agg(pl.col("step").max())
    silent = large.group_by("bucket").agg(silent=pl.col("least").is_null().sum())
    counted = snapshot.files.group_by("bucket").agg(files=pl.len(), small=is_small(spec).sum())
    joined = counted.join(deepest, on="bucket", how="left").join(silent, on="bucket", how="left").sort("bucket")
    rows = joined.select("bucket", "files", "small", (pl.col("step").fill_null(0) + pl.col("silent").fill_null(0)))
    return [Fragmentation(*row) for row in rows.iter_rows()]


@dataclass(frozen=True)
class LakeUpkeep:
    """Upkeep of the tables of a lake.

    The lake's ``retention_hours`` is how long replaced files and the log are kept: a reader that began before a file
    was replaced reads it until then, and change feeds and older versions reach back as far. What a crashed attempt
    left unreferenced is deleted after the same time, and not before: a writer may be about to commit it.
    """

    lake: LakeResource

    def tidy(self, spec: TableSpec) -> Upkeep:
        """Put the buckets in order that are over a threshold; the others cost nothing but the look at the log."""
        snapshot = self.lake.snapshot(spec)
        done = Upkeep()
        if snapshot is None:
            return done
        for found in fragmentation(snapshot, spec):
            if found.is_due:
                chosen = list(chosen_files(snapshot, spec, found.bucket))
                made = self._together(spec, snapshot, chosen)
                done = Upkeep(
                    done.buckets + 1,
                    done.files_before + len(chosen),
                    done.files_after + (len(chosen) if made is None else made),
                    done.outrun + (made is None),
                )
        return done

    def _together(self, spec: TableSpec, snapshot: Snapshot, chosen: Sequence[DataFile]) -> int | None:
        """Replace files by sorted ones, if no other writer replaces one of them meanwhile; how many, or None."""
        folder = self.lake.folder(spec, snapshot)
        made = sorted_files(folder, spec, chosen)
        bucket = frozenset(file.bucket for file in chosen)
        try:
            commit = Commit("OPTIMIZE", adds=made, removes=chosen, touched=bucket, data_change=False)
            write_commit(self.lake.s3, spec.name, snapshot.version, commit)
        except OutrunError:
            self.lake.s3.delete([f"{spec.name}/{file.path}" for file in made])
            return None
        return len(made)

    def clean(self, spec: TableSpec) -> int:
        """Delete the log before the last checkpoint, and files that no version needs, all older than the retention."""
        table = self.lake.open(spec)
        if table is None:
            return 0
        held = table.metadata().configuration
        if any(held.get(name) != value for name, value in self.lake.retention.items()):
            table.alter.set_table_properties(self.lake.retention)
        self.lake.checkpoint(spec)
        table.cleanup_metadata()
        return len(table.vacuum(self.lake.retention_hours, dry_run=False, enforce_retention_duration=False, full=True))


def chosen_files(snapshot: Snapshot, spec: TableSpec, bucket: int) -> Iterator[DataFile]:
    """What is put together of a bucket that is due: its small files, and of the others the smallest sorted runs.

    Files that do not overlap are a run. As many of the smallest runs go together as leave half of MOST_OVERLAP, so the
    long run that most rows are in stays, and a row is rewritten about as often as its table doubles.
    """
    files = snapshot.in_buckets([bucket])
    small = files.filter(is_small(spec))[FILE].to_list()
    large = files.filter(~is_small(spec))
    runs = sorted(_runs(large), key=lambda run: run[0])
    most = len(runs) - MOST_OVERLAP // 2 if len(runs) > MOST_OVERLAP else 0
    for number in [*small, *(number for _, run in runs[:most] for number in run)]:
        yield snapshot.file(number)


def _runs(files: pl.DataFrame) -> list[tuple[int, list[int]]]:
    """Files cut into as few runs as they overlap, as (bytes, FILEs)."""
    ends: list[object] = []
    runs: list[tuple[int, list[int]]] = []
    columns = [FILE, "size_bytes", "least", "greatest"]
    for number, size, least, greatest in files.sort("least", nulls_last=False).select(columns).iter_rows():
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
    """The rows of some files of one bucket in new ones, sorted, of the target's size.

    Memory: a row group of each file at a time. A file that is not sorted, which a foreign writer may leave, is held
    whole. Raises RuntimeError when rows would be lost or repeated.
    """
    writer = Writer.of(folder, files[0].bucket)
    sources = [_sorted(folder, spec, file) for file in files]
    for rows in merged(spec.key, sources):
        writer.add(rows)
    made = writer.finish()
    if sum(file.rows for file in made) != sum(file.rows for file in files):
        message = f"{folder.name}: files hold other numbers of rows than the log says; nothing was replaced."
        raise RuntimeError(message)
    return made


def _sorted(folder: Folder, spec: TableSpec, file: DataFile) -> Iterator[pl.DataFrame]:
    opened = folder.open(file)
    if opened.ascends(spec.key[0]):
        yield from opened.row_groups(spec.key)
    else:
        yield pl.concat(list(opened.row_groups(spec.key))).sort(spec.key)


def merged(key: Sequence[str], sources: Sequence[Iterator[pl.DataFrame]]) -> Iterator[pl.DataFrame]:
    """Sorted streams of rows as one, by the first key column; nulls first. Holds a batch of each stream."""
    first = key[0]
    heads = {number: head for number, source in enumerate(sources) if (head := next(source, None)) is not None}
    while heads:
        # Every stream is known up to the end of its head, so all are up to the earliest of these.
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
