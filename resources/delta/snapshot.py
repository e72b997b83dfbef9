"""A snapshot of a table: which files hold which keys, according to its log, and reading rows of those files."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from resources.delta.commit import DataFile
from resources.delta.file_cache import FileCache
from resources.delta.files import Folder
from resources.delta.fingerprint import add_up, content_sum, named_sum
from resources.delta.merge import FILE
from resources.delta.spec import BUCKET, WHOLE, TableSpec

THREADS = 8
"""Files that are read or written at the same time; each holds a batch of rows in memory."""

_CASTS = pl.ScanCastOptions(
    integer_cast="upcast",
    float_cast=["upcast", "downcast"],
    datetime_cast=["nanosecond-downcast", "millisecond-upcast", "convert-timezone"],
    categorical_to_string="allow",
)
"""Casts for files of other writers; the same that polars uses for Delta."""

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Snapshot:
    """A table at one version.

    ``files`` has FILE, path, size_bytes, rows, bucket, and the least value, greatest value and null count of the first
    key column. A statistic that a file does not have is null.
    """

    version: int
    files: pl.DataFrame
    schema: pa.Schema
    feeds: bool

    @classmethod
    def of(cls, table: DeltaTable, spec: TableSpec) -> "Snapshot":
        """Return the snapshot of the version that a table is loaded at. Memory: its list of files."""
        actions = pl.DataFrame(table.get_add_actions(flatten=True))
        first = spec.key[0]
        dtype = spec.polars_schema[first]

        def column(name: str, kind: "pl.DataType | type[pl.DataType]") -> pl.Expr:
            return pl.col(name).cast(kind) if name in actions.columns else pl.lit(None, kind)

        files = actions.select(
            path="path",
            size_bytes="size_bytes",
            rows=column("num_records", pl.Int64),
            bucket=column(f"partition.{BUCKET}", pl.Int64).fill_null(WHOLE) if spec.partitioned else pl.lit(WHOLE),
            least=column(f"min.{first}", dtype),
            greatest=column(f"max.{first}", dtype),
            nulls=column(f"null_count.{first}", pl.Int64),
        )
        feeds = table.metadata().configuration.get("delta.enableChangeDataFeed") == "true"
        # Without the comments of the columns: every file would repeat them.
        schema = pa.schema([column.remove_metadata() for column in pa.schema(table.schema().to_arrow())])
        return cls(table.version(), files.with_row_index(FILE), schema, feeds)

    def file(self, number: int) -> DataFile:
        """Return the file with a number of column FILE."""
        path, size, rows, bucket = self.files.row(number)[1:5]
        return DataFile(path, size, rows or 0, bucket)

    def in_buckets(self, buckets: Iterable[int] | None) -> pl.DataFrame:
        """Return the files of some buckets, or of all for None."""
        return self.files if buckets is None else self.files.filter(pl.col("bucket").is_in(list(buckets)))


def candidates(files: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    """Return the files whose key range contains one of the keys, with the slice of ``keys`` that it contains.

    ``keys`` are unique and sorted, nulls first. Columns: those of ``files``, ``start`` and ``length``.
    """
    nulls = keys.null_count()
    present, unknown = keys.slice(nulls), pl.col("least").is_null() | pl.col("greatest").is_null()
    bounds = files.with_columns(
        start=present.search_sorted(files["least"], side="left").cast(pl.Int64),
        end=present.search_sorted(files["greatest"], side="right").cast(pl.Int64),
    )
    start = pl.when(unknown).then(0).otherwise("start")
    end = pl.when(unknown).then(present.len()).otherwise("end")
    # A null key sorts first, so a file that may contain one gets the keys from the start.
    has_null = (pl.col("nulls").is_null() | (pl.col("nulls") > 0)) if nulls else pl.lit(value=False)
    start = pl.when(has_null).then(0).otherwise(start + nulls)
    end = pl.max_horizontal(end + nulls, start)
    return bounds.with_columns(start=start, length=end - start).drop("end").filter(pl.col("length") > 0)


@dataclass(frozen=True)
class Lookup:
    """Read the rows of a snapshot."""

    folder: Folder
    snapshot: Snapshot

    def rows_of(self, keys: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
        """Return the rows of some keys, in the given columns and FILE, in no order.

        ``keys`` needs the table's first key column; it may have others. With the bucket, a key is searched in that
        bucket only. Files and row groups are skipped by their key statistics. Memory: the rows found, and a row group
        per thread.
        """
        files, tasks = self.snapshot.files, []
        if BUCKET in keys.columns:
            of_bucket = files.partition_by("bucket", as_dict=True)
            for (bucket,), part in keys.partition_by(BUCKET, as_dict=True, include_key=False).items():
                tasks += _tasks(of_bucket.get((bucket,), files.clear()), part)
        else:
            tasks += _tasks(files, keys)

        def read(task: tuple[int, pl.DataFrame]) -> list[pl.DataFrame]:
            number, wanted = task
            return _numbered(self.folder.open(self.snapshot.file(number)).matching(wanted, columns), number)

        return self._joined(in_threads(read, tasks), columns)

    def current(self, spec: TableSpec, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the current rows, with FILE, of the keys of ``rows``: in their buckets or, if keys move, in any."""
        columns = self.snapshot.schema.names
        here = self.rows_of(rows.select(spec.place), columns)
        if not (spec.moves and spec.partitioned):
            return here
        unseen = rows.select(spec.key).join(here, on=list(spec.key), how="anti", nulls_equal=True)
        return pl.concat([here, self.rows_of(unseen, columns)])

    def all_rows(self, buckets: Iterable[int] | None = None) -> pl.DataFrame:
        """Return every row of some buckets, in the table's columns and FILE. Memory: those rows."""
        columns = self.snapshot.schema.names

        def read(number: int) -> list[pl.DataFrame]:
            batches = self.folder.open(self.snapshot.file(number), whole=True).batches()
            return _numbered((batch.select(columns) for batch in batches), number)

        return self._joined(in_threads(read, self.snapshot.in_buckets(buckets)[FILE].to_list()), columns)

    def _joined(self, of_files: Iterable[list[pl.DataFrame]], columns: Sequence[str]) -> pl.DataFrame:
        none = pl.DataFrame(pl.from_arrow(self.snapshot.schema.empty_table())).select(columns)
        return pl.concat([*_numbered([none], 0), *(part for parts in of_files for part in parts)])

    def query(self, bucket: int) -> pl.LazyFrame:
        """Return the rows of a bucket, in the table's columns, from its files in the cache. Memory: those files."""
        files = [self.snapshot.file(number) for number in self.snapshot.in_buckets([bucket])[FILE]]
        schema = pl.DataFrame(pl.from_arrow(self.folder.schema.empty_table())).schema
        bodies = in_threads(self.folder.body, files)
        rows = pl.scan_parquet(
            bodies, schema=schema, missing_columns="insert", extra_columns="ignore", cast_options=_CASTS
        )
        return rows.with_columns(pl.lit(bucket, pl.Int32).alias(BUCKET)).select(self.snapshot.schema.names)

    def altered_files(self, buckets: Iterable[int] | None = None, *, of_others: bool = True) -> int:
        """Return how many files of some buckets are unreadable, or differ from the sum of rows in their names.

        The names of other writers' files have no sum: such files count, unless ``of_others`` is false.
        """
        uncached = replace(self.folder, cache=FileCache(0))

        def is_altered(number: int) -> bool:
            file = self.snapshot.file(number)
            if not of_others and named_sum(file.path) is None:
                return False
            try:
                return named_sum(file.path) != add_up(content_sum(rows) for rows in uncached.open(file).batches())
            except (pa.ArrowException, FileNotFoundError):
                return True

        return sum(in_threads(is_altered, self.snapshot.in_buckets(buckets)[FILE].to_list()))


@dataclass(frozen=True)
class BucketRows:
    """All rows of a bucket (None: of the table) at a snapshot, with the FILE that they are in."""

    snapshot: Snapshot
    bucket: int | None
    rows: pl.DataFrame

    def at(self, snapshot: Snapshot) -> pl.DataFrame | None:
        """Return the rows with their FILE at another version, or None if the bucket has other files there."""
        buckets = None if self.bucket is None else [self.bucket]
        before, after = (version.in_buckets(buckets).select("path", FILE) for version in (self.snapshot, snapshot))
        paired = before.join(after, on="path", how="full", suffix="_now")
        if self.snapshot.schema != snapshot.schema or paired.null_count().sum_horizontal().item():
            return None
        return self.rows.with_columns(pl.col(FILE).replace_strict(paired[FILE], paired[f"{FILE}_now"]))


def _numbered(parts: Iterable[pl.DataFrame], number: int) -> list[pl.DataFrame]:
    return [part.with_columns(pl.lit(number, pl.UInt32).alias(FILE)) for part in parts]


def _tasks(files: pl.DataFrame, keys: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
    """Return (FILE, keys that it may contain) for each file that may contain one."""
    ordered = keys.unique().sort(keys.columns[0])
    found = candidates(files, ordered[ordered.columns[0]]).select(FILE, "start", "length")
    return [(number, ordered.slice(start, length)) for number, start, length in found.iter_rows()]


def in_threads(task: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """Return the results of a task for each item, in order. The first error ends it."""
    if len(items) < 2:
        return [task(item) for item in items]
    with ThreadPoolExecutor(min(THREADS, len(items))) as pool:
        return list(pool.map(task, items))
