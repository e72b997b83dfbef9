"""Carrying out an edit: the files that hold its rows are written anew, one by one, and what is new beside them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import polars as pl

from resources.delta.commit import DataFile
from resources.delta.files import Folder
from resources.delta.merge import FILE, Edit, images
from resources.delta.snapshot import Snapshot, candidates, in_threads
from resources.delta.spec import BUCKET, WHOLE, TableSpec
from resources.delta.writer import Writer

_HOME = "_home"


@dataclass(frozen=True)
class Written:
    """Files that were written for an edit, none of them committed, and those that they replace."""

    adds: tuple[DataFile, ...]
    removes: tuple[DataFile, ...]
    changes: tuple[DataFile, ...]

    @property
    def paths(self) -> list[str]:
        """The paths of everything that was written."""
        return [file.path for file in (*self.adds, *self.changes)]


def carry_out(folder: Folder, snapshot: Snapshot, spec: TableSpec, edit: Edit) -> Written:
    """Write the files of an edit, a batch of rows of each of a few at a time.

    A changed row stays in the file that it was in, so files keep their key ranges and clustering does not erode. A new
    row goes into a file that covers its key where that is rewritten anyway, and else, with the others of its bucket,
    into a new one: adding a row is then a small file and not the rewriting of a large one, and upkeep puts small files
    together. Where rows change and the table feeds, the change data tell all rows of the edit.
    """
    after = _with_homes(snapshot, spec, edit)
    removed = edit.before.partition_by(FILE, as_dict=True)
    moved_in = after.drop_nulls(_HOME).partition_by(_HOME, as_dict=True)
    tasks: list[Callable[[], list[DataFile]]] = [
        partial(_rewrite, folder, snapshot.file(int(number[0])), spec, rows, moved_in.get(number))
        for number, rows in removed.items()
    ]
    fresh = after.filter(pl.col(_HOME).is_null()).drop(_HOME)
    tasks += [partial(_write, folder, bucket, spec, rows) for bucket, rows in _by_bucket(fresh, spec)]
    tasks = [*tasks, *_change_tasks(folder, snapshot, spec, edit)]
    written = in_threads(_done, tasks)
    removes = tuple(snapshot.file(int(number[0])) for number in removed)
    files = [file for of_task in written for file in of_task]
    adds, changes = ([file for file in files if file.is_change_data is kind] for kind in (False, True))
    return Written(tuple(adds), removes, tuple(changes))


def _done(task: Callable[[], list[DataFile]]) -> list[DataFile]:
    return task()


def _with_homes(snapshot: Snapshot, spec: TableSpec, edit: Edit) -> pl.DataFrame:
    """The rows to put in, with the FILE that each goes into, null for a new one."""
    place = [*spec.key, *([BUCKET] if spec.partitioned else [])]
    was_in = edit.before.select(*place, pl.col(FILE).alias(_HOME)).unique(place, keep="first")
    after = edit.after.join(was_in, on=place, how="left", nulls_equal=True)
    stay, come = after.drop_nulls(_HOME), after.filter(pl.col(_HOME).is_null()).drop(_HOME)
    rewritten = snapshot.files.filter(pl.col(FILE).is_in(edit.before[FILE].unique().implode()))
    first = spec.key[0]
    keys = come[first].unique().sort()
    covering = candidates(rewritten.drop_nulls(["least", "greatest"]), keys)
    homes = [
        pl.DataFrame({first: keys.slice(start, length), BUCKET: bucket, _HOME: number})
        for number, bucket, start, length in covering.select(FILE, "bucket", "start", "length").iter_rows()
    ]
    none = pl.DataFrame(schema={first: keys.dtype, BUCKET: pl.Int32, _HOME: pl.UInt32})
    typed = [part.cast({BUCKET: pl.Int32, _HOME: pl.UInt32}) for part in homes]
    found = pl.concat([none, *typed]).unique([first, BUCKET], keep="first")
    if spec.partitioned:
        come = come.join(found, on=[first, BUCKET], how="left", nulls_equal=True)
    else:
        come = come.join(found.drop(BUCKET), on=first, how="left", nulls_equal=True)
    return pl.concat([stay, come.select(stay.columns)])


def _by_bucket(rows: pl.DataFrame, spec: TableSpec) -> Iterator[tuple[int, pl.DataFrame]]:
    if not spec.partitioned:
        yield from [(WHOLE, rows)] if rows.height else []
        return
    for (bucket,), part in rows.partition_by(BUCKET, as_dict=True).items():
        yield int(bucket), part


def _write(folder: Folder, bucket: int, spec: TableSpec, rows: pl.DataFrame) -> list[DataFile]:
    writer = Writer.of(folder, bucket)
    writer.add(spec.in_order(rows))
    return writer.finish()


def _rewrite(
    folder: Folder, file: DataFile, spec: TableSpec, removed: pl.DataFrame, put_in: pl.DataFrame | None
) -> list[DataFile]:
    """A file without some keys and with some rows, which come in before the first batch that ends beyond them."""
    keys, first = removed.select(spec.key).unique(), spec.key[0]
    waiting = (removed.clear() if put_in is None else put_in).drop(FILE, _HOME, strict=False).sort(spec.key)
    writer = Writer.of(folder, file.bucket, replaced=file)
    for batch in folder.open_whole(file).batches():
        kept = batch.join(keys, on=list(spec.key), how="anti", nulls_equal=True)
        last = batch[first].max()
        due = waiting.filter(pl.col(first) <= last).height if last is not None else 0
        writer.add(spec.in_order(pl.concat([kept, waiting[:due].select(kept.columns)])))
        waiting = waiting[due:]
    writer.add(waiting)
    return writer.finish()


def _change_tasks(
    folder: Folder, snapshot: Snapshot, spec: TableSpec, edit: Edit
) -> Iterator["partial[list[DataFile]]"]:
    """Writing change data, a file a bucket. Of new rows alone the added files tell."""
    if snapshot.feeds and edit.before.height:
        for bucket, rows in _by_bucket(images(edit, spec.key), spec):
            yield partial(_write_changes, folder, bucket, rows)


def _write_changes(folder: Folder, bucket: int, rows: pl.DataFrame) -> list[DataFile]:
    writer = Writer.of_changes(folder, bucket)
    writer.add(rows)
    return writer.finish()
