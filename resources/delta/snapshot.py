"""Which files of a table hold which keys, from its log, and the rows of a few keys."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from resources.delta.commit import DataFile
from resources.delta.file_cache import Bodies
from resources.delta.files import Folder
from resources.delta.fingerprint import add_up, content_sum, named_sum
from resources.delta.merge import FILE
from resources.delta.spec import BUCKET, WHOLE, TableSpec

THREADS = 8
"""Files that are read or written at a time; each holds a batch of rows in memory."""

_CASTS = pl.ScanCastOptions(
    integer_cast="upcast",
    float_cast=["upcast", "downcast"],
    datetime_cast=["nanosecond-downcast", "millisecond-upcast", "convert-timezone"],
    categorical_to_string="allow",
)
"""For files of other writers, as polars reads Delta."""

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Snapshot:
    """A table at one version. ``files`` has FILE, path, size_bytes, rows, bucket, and of the first key column its
    least and greatest value and the number of its nulls, each null where a file does not say.
    """

    version: int
    files: pl.DataFrame
    schema: pa.Schema
    feeds: bool

    @classmethod
    def of(cls, table: DeltaTable, spec: TableSpec) -> "Snapshot":
        """The version that a table was loaded at. Memory: the list of its files."""
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
        schema = pa.schema(table.schema().to_arrow())
        configuration = table.metadata().configuration
        feeds = configuration.get("delta.enableChangeDataFeed") == "true"
        return cls(table.version(), files.with_row_index(FILE), schema, feeds)

    def file(self, number: int) -> DataFile:
        """A file by its FILE."""
        path, size, rows, bucket = self.files.row(number)[1:5]
        return DataFile(path, size, rows or 0, bucket)

    def in_buckets(self, buckets: Iterable[int] | None) -> pl.DataFrame:
        """The files of some buckets, or all."""
        return self.files if buckets is None else self.files.filter(pl.col("bucket").is_in(list(buckets)))


def candidates(files: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    """The files whose range holds one of the keys, with the slice of the keys, sorted and unique, that it holds.

    ``keys`` are sorted, nulls first. Columns: those of ``files``, ``start`` and ``length``.
    """
    nulls = keys.null_count()
    present, unknown = keys.slice(nulls), pl.col("least").is_null() | pl.col("greatest").is_null()
    bounds = files.with_columns(
        start=present.search_sorted(files["least"], side="left").cast(pl.Int64),
        end=present.search_sorted(files["greatest"], side="right").cast(pl.Int64),
    )
    start = pl.when(unknown).then(0).otherwise("start")
    end = pl.when(unknown).then(present.len()).otherwise("end")
    # A null key sorts first, so a file that may hold one is given the keys from the beginning.
    has_null = (pl.col("nulls").is_null() | (pl.col("nulls") > 0)) if nulls else pl.lit(value=False)
    start = pl.when(has_null).then(0).otherwise(start + nulls)
    end = pl.max_horizontal(end + nulls, start)
    return bounds.with_columns(start=start, length=end - start).drop("end").filter(pl.col("length") > 0)


@dataclass(frozen=True)
class Lookup:
    """Reading rows of a snapshot by key."""

    folder: Folder
    snapshot: Snapshot

    def rows_of(self, keys: pl.DataFrame, columns: Sequence[str], buckets: Iterable[int] | None = None) -> pl.DataFrame:
        """The rows of some keys, in the given columns and FILE, in no order; each key column by its name.

        Files and row groups are passed over by their key statistics, and of a row group the key columns come first.
        ``keys`` need not have all key columns, but the first; with the bucket, a key is looked for in that one alone.
        Memory: the rows found, and a row group per thread.
        """
        files = self.snapshot.in_buckets(buckets)
        tasks = []
        if BUCKET in keys.columns:
            of_bucket = files.partition_by("bucket", as_dict=True)
            for (bucket,), part in keys.partition_by(BUCKET, as_dict=True, include_key=False).items():
                tasks += _tasks(of_bucket.get((bucket,), files.clear()), part)
        else:
            tasks += _tasks(files, keys)

        def read(task: tuple[int, pl.DataFrame]) -> list[pl.DataFrame]:
            number, wanted = task
            parts = self.folder.open(self.snapshot.file(number)).matching(wanted, columns)
            return [part.with_columns(pl.lit(number, pl.UInt32).alias(FILE)) for part in parts]

        parts = [part for read_parts in in_threads(read, tasks) for part in read_parts]
        return pl.concat([self.none(columns), *parts])

    def standing(self, spec: TableSpec, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that stand under the keys of others, in their own buckets or, where keys move, in any; with FILE."""
        columns = self.snapshot.schema.names
        here = self.rows_of(rows.select(*spec.key, *([BUCKET] if spec.partitioned else [])), columns)
        if not (spec.moves and spec.partitioned):
            return here
        unseen = rows.select(spec.key).join(here, on=list(spec.key), how="anti", nulls_equal=True)
        return pl.concat([here, self.rows_of(unseen, columns)])

    def none(self, columns: Sequence[str]) -> pl.DataFrame:
        """No rows, in some columns and FILE."""
        empty = pl.DataFrame(pl.from_arrow(self.snapshot.schema.empty_table())).select(columns)
        return empty.with_columns(pl.lit(None, pl.UInt32).alias(FILE))

    def all_rows(self, buckets: Iterable[int] | None = None) -> pl.DataFrame:
        """Every row of some buckets, in the table's columns and FILE. Memory: those rows."""
        columns = self.snapshot.schema.names

        def read(number: int) -> list[pl.DataFrame]:
            batches = self.folder.open_whole(self.snapshot.file(number)).batches()
            return [batch.select(columns).with_columns(pl.lit(number, pl.UInt32).alias(FILE)) for batch in batches]

        read_files = in_threads(read, self.snapshot.in_buckets(buckets)[FILE].to_list())
        return pl.concat([self.none(columns), *(batch for batches in read_files for batch in batches)])

    def query(self, bucket: int) -> pl.LazyFrame:
        """The rows of a bucket, in the table's columns, over files that are read whole. Memory: those files."""
        files = [self.snapshot.file(number) for number in self.snapshot.in_buckets([bucket])[FILE]]
        schema = pl.DataFrame(pl.from_arrow(self.folder.schema.empty_table())).schema
        bodies = in_threads(self.folder.body, files)
        rows = pl.scan_parquet(
            bodies, schema=schema, missing_columns="insert", extra_columns="ignore", cast_options=_CASTS
        )
        return rows.with_columns(pl.lit(bucket, pl.Int32).alias(BUCKET)).select(self.snapshot.schema.names)

    def altered_files(self) -> int:
        """How many files hold other rows than their names say, or none that can be read, or are somebody else's."""
        as_they_are = replace(self.folder, bodies=Bodies(0))

        def is_altered(number: int) -> bool:
            file = self.snapshot.file(number)
            try:
                found = add_up(content_sum(batch) for batch in as_they_are.open(file).batches())
            except (pa.ArrowException, FileNotFoundError):
                return True
            return named_sum(file.path) != found

        return sum(in_threads(is_altered, self.snapshot.files[FILE].to_list()))


@dataclass(frozen=True)
class BucketRows:
    """All rows of a bucket, with the FILE that they are in at a snapshot."""

    snapshot: Snapshot
    bucket: int | None
    rows: pl.DataFrame

    def at(self, snapshot: Snapshot) -> pl.DataFrame | None:
        """The rows with their FILE at another version; None where the bucket has other files there."""
        before, after = (
            found.in_buckets(_one(self.bucket)).select("path", FILE) for found in (self.snapshot, snapshot)
        )
        paired = before.join(after, on="path", how="full", suffix="_now")
        if self.snapshot.schema != snapshot.schema or paired.null_count().sum_horizontal().item():
            return None
        return self.rows.with_columns(pl.col(FILE).replace_strict(paired[FILE], paired[f"{FILE}_now"]))


def _one(bucket: int | None) -> list[int] | None:
    return None if bucket is None else [bucket]


def _tasks(files: pl.DataFrame, keys: pl.DataFrame) -> list[tuple[int, pl.DataFrame]]:
    """FILE and the keys that it may hold, of each file that may hold one."""
    ordered = keys.unique().sort(keys.columns[0])
    found = candidates(files, ordered[ordered.columns[0]]).select(FILE, "start", "length")
    return [(number, ordered.slice(start, length)) for number, start, length in found.iter_rows()]


def in_threads(task: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """The results of a task for each item, in order. The first error ends it."""
    if len(items) < 2:
        return [task(item) for item in items]
    with ThreadPoolExecutor(min(THREADS, len(items))) as pool:
        return list(pool.map(task, items))
