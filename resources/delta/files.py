"""The Parquet files of a lake table: read by key or whole, a batch of rows at a time."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any

import obstore
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from obstore.store import S3Store

from resources.delta.commit import CHANGES, DataFile
from resources.delta.file_cache import BODIES, Bodies
from resources.delta.spec import BUCKET, ROW_GROUP_BYTES, WHOLE
from resources.s3.client import S3Resource

BATCH_BYTES = 8 << 20
"""About what is in memory of a file that is rewritten, and of each of the few that are at a time."""
_WHOLE_BYTES = 256 << 10
"""A file up to this size is read in one request; of a larger one, its end first, then what is wanted."""
MOST_WHOLE_BYTES = 16 << 20
"""Up to this size a file of which all row groups are wanted is read in one request, and kept for the next reader."""
_TAIL_BYTES = 64 << 10
"""What Arrow reads of a file's end to find its metadata."""
SPOOL_BYTES = 8 << 20


@dataclass(frozen=True)
class Folder:
    """Where a table's files are: the S3 bucket, the table's name, and its columns without the partition's."""

    store: S3Store
    name: str
    schema: pa.Schema
    measured: tuple[str, ...]
    target_bytes: int
    row_group_bytes: int = ROW_GROUP_BYTES
    bodies: Bodies = BODIES

    def open(self, file: DataFile) -> "OpenFile":
        """A file, to read from; what is read of a large one is requested then.

        A small one is kept when rows are found in it, for the rewriting that is likely to follow.
        """
        at = f"{self.name}/{file.path}"
        body = self.bodies.get(at)
        if body is None and file.size_bytes > _WHOLE_BYTES:
            source: Any = pa.PythonFile(_Ranges(self.store, at, file.size_bytes), mode="r")
            return OpenFile(pq.ParquetFile(source), file, self.schema)
        found = body or self._fetch(at)
        return self._opened(file, found, lambda: self.bodies.keep(at, found))

    def open_whole(self, file: DataFile) -> "OpenFile":
        """A file of which all rows are wanted: one that is not too large is read in one request, and kept."""
        if file.size_bytes > MOST_WHOLE_BYTES:
            return self.open(file)
        return self._opened(file, self.body(file))

    def body(self, file: DataFile) -> bytes:
        """All of a file's bytes, which are kept for the next reader."""
        at = f"{self.name}/{file.path}"
        return self.bodies.read(at, lambda: self._fetch(at))

    def _fetch(self, at: str) -> bytes:
        return obstore.get(self.store, at).bytes().to_bytes()

    def _opened(self, file: DataFile, body: bytes, keep: Callable[[], None] = lambda: None) -> "OpenFile":
        return OpenFile(pq.ParquetFile(pa.BufferReader(body)), file, self.schema, keep)

    def put(self, path: str, body: IO[bytes], size: int) -> None:
        """Write a new object; a large one in parts, and one that is not is kept for its reader."""
        at = f"{self.name}/{path}"
        if size > SPOOL_BYTES:
            content: Any = body
            obstore.put(self.store, at, content, use_multipart=True)
            return
        small = body.read()
        obstore.put(self.store, at, small, use_multipart=False)
        if not path.startswith(CHANGES):  # which no stage reads
            self.bodies.keep(at, small)


def store_of(s3: S3Resource) -> S3Store:
    """The S3 bucket for obstore, which reads and writes outside Python's lock, with credentials as they are now."""
    return S3Store(s3.bucket, **s3.obstore_options)


class _Ranges(io.RawIOBase):
    """A large object as a file: each read is a request, but for its end, which is kept."""

    def __init__(self, store: S3Store, at: str, size: int) -> None:
        self._store, self._at, self._size, self._position = store, at, size, 0
        self._tail_from = max(0, size - _TAIL_BYTES)
        self._tail = obstore.get_range(store, at, start=self._tail_from, end=size).to_bytes()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = start + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        start = self._position
        end = self._size if size < 0 else min(self._size, start + size)
        self._position = max(start, end)
        if start >= end:
            return b""
        if start >= self._tail_from:
            return self._tail[start - self._tail_from : end - self._tail_from]
        return obstore.get_range(self._store, self._at, start=start, end=end).to_bytes()


@dataclass(frozen=True)
class OpenFile:
    """An open Parquet file of a bucket. Columns that the table got later are null."""

    parquet: pq.ParquetFile
    file: DataFile
    schema: pa.Schema
    keep: Callable[[], None] = lambda: None

    def batches(self) -> Iterator[pl.DataFrame]:
        """All rows, in the table's columns and the bucket's, a few megabytes at a time."""
        metadata = self.parquet.metadata
        size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
        rows = max(1_000, min(1_000_000, BATCH_BYTES * metadata.num_rows // max(size, 1)))
        for batch in self.parquet.iter_batches(batch_size=rows, use_threads=False):
            yield self._framed(pa.Table.from_batches([batch]), self.schema.names).with_columns(self._bucket())

    def ascends(self, column: str) -> bool:
        """Whether each row group begins where the one before has ended, or later, by its statistics."""
        ranges = [self._range(number, column) for number in range(self.parquet.metadata.num_row_groups)]
        if len(ranges) < 2:
            return True
        known = [found for found in ranges if found is not None]
        return len(known) == len(ranges) and all(a.max <= b.min for a, b in pairwise(known))

    def row_groups(self, key: Sequence[str]) -> Iterator[pl.DataFrame]:
        """All rows, a row group at a time, each sorted."""
        for number in range(self.parquet.metadata.num_row_groups):
            yield self._read(number, self.schema.names).with_columns(self._bucket()).sort(key)

    def matching(self, keys: pl.DataFrame, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Rows whose key columns equal a row of ``keys``; other columns are read where there are such rows only."""
        key = [name for name in keys.columns if name in self.parquet.schema_arrow.names]
        others = [name for name in columns if name not in (*key, BUCKET)]
        for group in self._groups(keys[keys.columns[0]]):
            read = self.parquet.read_row_group(group, columns=key, use_threads=False)
            if not _may_hold(read[key[0]], keys[key[0]]):
                continue
            found = self._framed(read, key)
            mask = _is_in(found, keys, key)
            if mask.any():
                self.keep()
                rest = self._read(group, others) if others else pl.DataFrame()
                rows = pl.concat([found, rest], how="horizontal") if others else found
                yield rows.filter(mask).with_columns(self._bucket()).select(columns)

    def _groups(self, values: pl.Series) -> Iterator[int]:
        """The row groups whose range of the first key column holds one of the values, which are sorted."""
        present = values.drop_nulls()
        for number in range(self.parquet.metadata.num_row_groups):
            found = self._range(number, values.name)
            is_silent = found is None or values.len() > present.len()
            if is_silent or present.is_between(found.min, found.max).any():
                yield number

    def _range(self, group: int, column: str) -> Any:
        """Statistics of a column of a row group, with ``min`` and ``max``; None where there are none."""
        metadata = self.parquet.metadata.row_group(group)
        for number in range(metadata.num_columns):
            if metadata.column(number).path_in_schema == column:
                found = metadata.column(number).statistics
                return found if found is not None and found.has_min_max else None
        return None

    def _read(self, group: int, columns: Sequence[str]) -> pl.DataFrame:
        held = [name for name in columns if name in self.parquet.schema_arrow.names]
        return self._framed(self.parquet.read_row_group(group, columns=held, use_threads=False), columns)

    def _framed(self, table: pa.Table, columns: Sequence[str]) -> pl.DataFrame:
        kinds = [self.schema.field(name) for name in columns]
        arrays = [
            table[kind.name].cast(kind.type) if kind.name in table.column_names else pa.nulls(table.num_rows, kind.type)
            for kind in kinds
        ]
        return pl.DataFrame(pl.from_arrow(pa.table(arrays, schema=pa.schema(kinds))))

    def _bucket(self) -> list[pl.Expr]:
        return [] if self.file.bucket == WHOLE else [pl.lit(self.file.bucket, pl.Int32).alias(BUCKET)]


def _may_hold(column: pa.ChunkedArray, values: pl.Series) -> bool:
    """Whether a column has one of the values, asked first and cheaply: most row groups that are opened have none."""
    wanted = values.to_arrow().cast(column.type)
    return bool(pc.any(pc.is_in(column, value_set=wanted)).as_py())


def _is_in(rows: pl.DataFrame, keys: pl.DataFrame, key: Sequence[str]) -> pl.Series:
    if len(key) == 1:
        return rows[key[0]].is_in(keys[key[0]].implode(), nulls_equal=True)
    marked = keys.unique().with_columns(_in=pl.lit(value=True))
    joined = rows.join(marked, on=list(key), how="left", nulls_equal=True, maintain_order="left")
    return joined["_in"].fill_null(value=False)
