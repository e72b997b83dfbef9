"""Write the files of an edit: rewrite the files that hold its rows, and put other new rows into new files."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

import polars as pl

from resources.delta.commit import DataFile
from resources.delta.files import Folder
from resources.delta.merge import FILE, Edit, images
from resources.delta.snapshot import Snapshot, candidates, in_threads
from resources.delta.spec import BUCKET, WHOLE, TableSpec
from resources.delta.writer import Writer

_TARGET = "_target"


@dataclass(frozen=True)
class Written:
    """Files that were written for an edit but are not committed, and the files that they replace."""

    adds: list[DataFile]
    removes: list[DataFile]
    changes: list[DataFile]


def write_files(folder: Folder, snapshot: Snapshot, spec: TableSpec, edit: Edit) -> Written:
    """Write the files of an edit, a few at the same time. Memory: a batch of rows of each.

    A changed row stays in its file, so files keep their key ranges. A new row goes into a rewritten file that covers
    its key. Without one it goes into a new small file of its bucket, which maintenance compacts later: that is cheaper
    than rewriting a large file. Change data is written where rows change and the table has a change feed.
    """
    after = _with_targets(snapshot, spec, edit)
    removed = edit.before.partition_by(FILE, as_dict=True)
    inserted = after.drop_nulls(_TARGET).partition_by(_TARGET, as_dict=True)
    replaced = {number: snapshot.file(int(number[0])) for number in removed}
    tasks = [
        partial(_rewrite, folder, file, spec, removed[number], inserted.get(number))
        for number, file in replaced.items()
    ]
    fresh = after.filter(pl.col(_TARGET).is_null()).drop(_TARGET)
    tasks += [partial(_write, Writer.of(folder, bucket), spec, rows) for bucket, rows in _by_bucket(fresh, spec)]
    # The added files alone describe new rows; change data is needed only where others change.
    feed = _by_bucket(images(edit, spec.key), spec) if snapshot.feeds and edit.before.height else ()
    of_changes = [partial(_write, Writer.of_changes(folder, bucket), spec, rows) for bucket, rows in feed]
    written = in_threads(operator.call, [*tasks, *of_changes])
    adds, changes = written[: len(tasks)], written[len(tasks) :]
    return Written([*chain(*adds)], [*replaced.values()], [*chain(*changes)])


def _with_targets(snapshot: Snapshot, spec: TableSpec, edit: Edit) -> pl.DataFrame:
    """Return the rows to insert with the FILE that each goes into, null for a new one."""
    current = edit.before.select(*spec.place, pl.col(FILE).alias(_TARGET)).unique(spec.place, keep="first")
    after = edit.after.join(current, on=spec.place, how="left", nulls_equal=True)
    stay, come = after.drop_nulls(_TARGET), after.filter(pl.col(_TARGET).is_null()).drop(_TARGET)
    rewritten = snapshot.files.filter(pl.col(FILE).is_in(edit.before[FILE].unique().implode()))
    first = spec.key[0]
    keys = come[first].unique().sort()
    covering = candidates(rewritten.drop_nulls(["least", "greatest"]), keys)
    types = pl.Schema([(first, keys.dtype), (BUCKET, pl.Int32()), (_TARGET, pl.UInt32())])
    targets = [
        pl.DataFrame({first: keys.slice(start, length)}).with_columns(
            pl.lit(bucket).alias(BUCKET), pl.lit(number).alias(_TARGET)
        )
        for number, bucket, start, length in covering.select(FILE, "bucket", "start", "length").iter_rows()
    ]
    found = pl.concat([pl.DataFrame(schema=types), *(part.cast(types) for part in targets)])
    on = [first, BUCKET] if spec.partitioned else [first]
    found = found.select(*on, _TARGET).unique(on, keep="first")
    return pl.concat([stay, come.join(found, on=on, how="left", nulls_equal=True).select(stay.columns)])


def _by_bucket(rows: pl.DataFrame, spec: TableSpec) -> Iterator[tuple[int, pl.DataFrame]]:
    if spec.partitioned:
        yield from ((int(bucket), part) for (bucket,), part in rows.partition_by(BUCKET, as_dict=True).items())
    elif rows.height:
        yield WHOLE, rows


def _write(writer: Writer, spec: TableSpec, rows: pl.DataFrame) -> list[DataFile]:
    writer.add(rows.sort(spec.key))
    return writer.finish()


def _rewrite(
    folder: Folder, file: DataFile, spec: TableSpec, removed: pl.DataFrame, inserted: pl.DataFrame | None
) -> list[DataFile]:
    """Write a file without some keys and with some rows. Each row goes before the first batch that ends after it."""
    keys, first = removed.select(spec.key).unique(), spec.key[0]
    waiting = (removed.clear() if inserted is None else inserted).drop(FILE, _TARGET, strict=False).sort(spec.key)
    writer = Writer.of(folder, file.bucket, replaced=file)
    for batch in folder.open(file, whole=True).batches():
        kept = batch.join(keys, on=list(spec.key), how="anti", nulls_equal=True)
        last = batch[first].max()
        due = waiting.filter(pl.col(first) <= last).height if last is not None else 0
        writer.add(pl.concat([kept, waiting[:due].select(kept.columns)]).sort(spec.key))
        waiting = waiting[due:]
    writer.add(waiting)
    return writer.finish()
