"""Read the Parquet files of a lake table, by key or whole, a batch of rows at a time."""

import io
from collections.abc import Iterator, Sequence
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
from resources.delta.file_cache import FILE_CACHE, FileCache
from resources.delta.spec import BUCKET, ROW_GROUP_BYTES, WHOLE
from resources.s3.client import S3Resource

BATCH_BYTES = 8 << 20
"""Approximate memory for one file while it is rewritten."""
_WHOLE_BYTES = 256 << 10
"""Read a file up to this size in one request. Of a larger file, read its end first, then the row groups needed."""
MOST_WHOLE_BYTES = 16 << 20
"""Read a file up to this size in one request, and cache it, when all its row groups are needed."""
_TAIL_BYTES = 64 << 10
"""Bytes that Arrow reads of a file's end to find its metadata."""
SPOOL_BYTES = 8 << 20


@dataclass(frozen=True)
class Folder:
    """The data files of a table: the S3 bucket, the table's name, and its columns without the partition column."""

    store: S3Store
    name: str
    schema: pa.Schema
    measured: tuple[str, ...]
    target_bytes: int
    row_group_bytes: int = ROW_GROUP_BYTES
    cache: FileCache = FILE_CACHE

    def open(self, file: DataFile, *, whole: bool = False) -> "OpenFile":
        """Open a file to search it or, with ``whole``, to read all its rows.

        A file that is small, for a search or for reading it whole, is read in one request and cached for the rewrite
        that is likely to follow. A larger file is read in ranges.
        """
        most = MOST_WHOLE_BYTES if whole else _WHOLE_BYTES
        if file.size_bytes > most and self.cache.get(f"{self.name}/{file.path}") is None:
            source: Any = pa.PythonFile(_Ranges(self.store, f"{self.name}/{file.path}", file.size_bytes), mode="r")
        else:
            source = pa.BufferReader(self.body(file))
        return OpenFile(pq.ParquetFile(source), file, self.schema)

    def body(self, file: DataFile) -> bytes:
        """Return all bytes of a file, and cache them."""
        at = f"{self.name}/{file.path}"
        return self.cache.read(at, lambda: obstore.get(self.store, at).bytes().to_bytes())

    def put(self, path: str, body: IO[bytes], size: int) -> None:
        """Write a new object: a large one in parts; a small one is also cached for its next reader."""
        at = f"{self.name}/{path}"
        if size > SPOOL_BYTES:
            content: Any = body
            obstore.put(self.store, at, content, use_multipart=True)
            return
        small = body.read()
        obstore.put(self.store, at, small, use_multipart=False)
        if not path.startswith(CHANGES):  # no stage reads change data
            self.cache.keep(at, small)


def store_of(s3: S3Resource) -> S3Store:
    """Return the S3 bucket for obstore, which works outside Python's lock, with the current credentials."""
    return S3Store(s3.bucket, **s3.obstore_options)


class _Ranges(io.RawIOBase):
    """A large object as a file. Each read is a request, except for its cached end."""

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
    """An open Parquet file of a bucket. Columns that were added to the table later are null."""

    parquet: pq.ParquetFile
    file: DataFile
    schema: pa.Schema

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield all rows, in the table's columns and the bucket, in batches of about BATCH_BYTES."""
        metadata = self.parquet.metadata
        size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
        rows = max(1_000, min(1_000_000, BATCH_BYTES * metadata.num_rows // max(size, 1)))
        for batch in self.parquet.iter_batches(batch_size=rows, use_threads=False):
            yield self._framed(pa.Table.from_batches([batch]), self.schema.names).with_columns(self._bucket())

    def ascends(self, column: str) -> bool:
        """Return whether the row groups are sorted by a column, according to their statistics."""
        ranges = [self._range(number, column) for number in range(self.parquet.metadata.num_row_groups)]
        known = [found for found in ranges if found is not None]  # pyarrow crashes when it compares one to None
        return len(ranges) < 2 or (len(known) == len(ranges) and all(a.max <= b.min for a, b in pairwise(known)))

    def row_groups(self, key: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield all rows, a row group at a time, each sorted."""
        for number in range(self.parquet.metadata.num_row_groups):
            yield self._read(number, self.schema.names).with_columns(self._bucket()).sort(key)

    def matching(self, keys: pl.DataFrame, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield rows whose key columns equal a row of ``keys``. Other columns are read only where a key matches."""
        key = [name for name in keys.columns if name in self.parquet.schema_arrow.names]
        others = [name for name in columns if name not in (*key, BUCKET)]
        for group in self._groups(keys[keys.columns[0]]):
            read = self.parquet.read_row_group(group, columns=key, use_threads=False)
            if not _may_hold(read[key[0]].cast(self.schema.field(key[0]).type), keys[key[0]]):
                continue
            found = self._framed(read, key)
            mask = _is_in(found, keys, key)
            if mask.any():
                rows = pl.concat([found, self._read(group, others)], how="horizontal") if others else found
                yield rows.filter(mask).with_columns(self._bucket()).select(columns)

    def _groups(self, values: pl.Series) -> Iterator[int]:
        """Yield the row groups whose range of the first key column contains one of the values."""
        present = values.drop_nulls()
        for number in range(self.parquet.metadata.num_row_groups):
            found = self._range(number, values.name)
            is_unknown = found is None or values.len() > present.len()
            if is_unknown or present.is_between(found.min, found.max).any():
                yield number

    def _range(self, group: int, column: str) -> Any:
        """Return the statistics of a column of a row group, or None where it has no ``min`` and ``max``."""
        metadata = self.parquet.metadata.row_group(group)
        for number in range(metadata.num_columns):
            if metadata.column(number).path_in_schema == column:
                found = metadata.column(number).statistics
                return found if found is not None and found.has_min_max else None
        return None

    def _read(self, group: int, columns: Sequence[str]) -> pl.DataFrame:
        present = [name for name in columns if name in self.parquet.schema_arrow.names]
        return self._framed(self.parquet.read_row_group(group, columns=present, use_threads=False), columns)

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
    """Return whether a column has one of the values. A cheap test first, because most row groups have none."""
    wanted = values.to_arrow().cast(column.type)
    return bool(pc.any(pc.is_in(column, value_set=wanted)).as_py())


def _is_in(rows: pl.DataFrame, keys: pl.DataFrame, key: Sequence[str]) -> pl.Series:
    if len(key) == 1:
        return rows[key[0]].is_in(keys[key[0]].implode(), nulls_equal=True)
    marked = keys.unique().with_columns(_in=pl.lit(value=True))
    joined = rows.join(marked, on=list(key), how="left", nulls_equal=True, maintain_order="left")
    return joined["_in"].fill_null(value=False)
