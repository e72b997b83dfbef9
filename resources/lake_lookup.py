"""Which files of a table hold which keys, from its log, and the rows of a few keys.

Belongs here: a table at one version, and reading no more of it than the keys ask for. Not here: changing it.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable

from resources.lake_edits import FILE
from resources.lake_files import Folder
from resources.lake_log import DataFile
from resources.lake_tables import BUCKET, WHOLE, TableSpec

THREADS = 8
"""Files that are read or written at a time; each holds a batch of rows in memory."""

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
        ``keys`` need not have all key columns, but the first. Memory: the rows found, and a row group per thread.
        """
        key = keys.unique().sort(keys.columns[0])
        found = candidates(self.snapshot.in_buckets(buckets), key[key.columns[0]])
        tasks = list(found.select(FILE, "start", "length").iter_rows())

        def read(task: tuple[int, int, int]) -> list[pl.DataFrame]:
            number, start, length = task
            opened = self.folder.open(self.snapshot.file(number))
            parts = opened.matching(key.slice(start, length), columns)
            return [part.with_columns(pl.lit(number, pl.UInt32).alias(FILE)) for part in parts]

        parts = [part for read_parts in in_threads(read, tasks) for part in read_parts]
        return pl.concat([self.none(columns), *parts])

    def none(self, columns: Sequence[str]) -> pl.DataFrame:
        """No rows, in some columns and FILE."""
        empty = pl.DataFrame(pl.from_arrow(self.snapshot.schema.empty_table())).select(columns)
        return empty.with_columns(pl.lit(None, pl.UInt32).alias(FILE))

    def all_rows(self, buckets: Iterable[int] | None = None) -> pl.DataFrame:
        """Every row of some buckets, in the table's columns and FILE. Memory: those rows."""
        columns = self.snapshot.schema.names

        def read(number: int) -> list[pl.DataFrame]:
            batches = self.folder.open(self.snapshot.file(number)).batches()
            return [batch.select(columns).with_columns(pl.lit(number, pl.UInt32).alias(FILE)) for batch in batches]

        read_files = in_threads(read, self.snapshot.in_buckets(buckets)[FILE].to_list())
        return pl.concat([self.none(columns), *(batch for batches in read_files for batch in batches)])


def in_threads(task: Callable[[A], B], items: Sequence[A]) -> list[B]:
    """The results of a task for each item, in order. The first error ends it."""
    if len(items) < 2:
        return [task(item) for item in items]
    with ThreadPoolExecutor(min(THREADS, len(items))) as pool:
        return list(pool.map(task, items))
