"""The Parquet files of a lake table: read by key or whole, written sorted, a batch of rows at a time.

Belongs here: bytes on S3, row groups, statistics. Not here: which files or rows (lake_lookup.py, lake_rewrite.py).
"""

import io
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import IO, Any

import obstore
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.store import S3Store

from resources.lake_log import CHANGES, DataFile
from resources.lake_sums import add_up, content_sum, file_name
from resources.lake_tables import BUCKET, WHOLE
from resources.s3 import S3Resource

BATCH_BYTES = 8 << 20
"""About what is in memory of a file that is rewritten, and of each of the few that are at a time."""
ROW_GROUP_BYTES = 1 << 20
"""Rows in memory that make a row group: the least that is read of a file for the sake of one row."""
TARGET_BYTES = 32 << 20
"""A file that grows beyond this is continued in another. A change rewrites whole files, so they are smaller than those
of tables that are only read; 1 TB is then 32,000 files, of which a log is still read in a tenth of a second."""
_WHOLE_BYTES = 256 << 10
"""A file up to this size is read in one request; of a larger one, its end first, then what is wanted."""
_TAIL_BYTES = 64 << 10
_SPOOL_BYTES = 8 << 20
_TEXT_STATISTICS = 64
"""Characters of a text that enter the statistics."""


@dataclass(frozen=True)
class Folder:
    """Where a table's files are: the S3 bucket, the table's name, and its columns without the partition's."""

    store: S3Store
    name: str
    schema: pa.Schema
    measured: tuple[str, ...]

    def open(self, file: DataFile) -> "OpenFile":
        """A file, to read from; what is read of it is requested then."""
        at = f"{self.name}/{file.path}"
        if file.size_bytes <= _WHOLE_BYTES:
            source: Any = pa.BufferReader(obstore.get(self.store, at).bytes())
        else:
            source = pa.PythonFile(_Ranges(self.store, at, file.size_bytes), mode="r")
        return OpenFile(pq.ParquetFile(source), file, self.schema)

    def writer(self, bucket: int, target_bytes: int = TARGET_BYTES) -> "Writer":
        """A writer of new files of one bucket, in rows of the table's columns that come in order."""
        return Writer(self, bucket, target_bytes)

    def change_writer(self, bucket: int) -> "Writer":
        """A writer of change data: the table's columns and ``_change_type``, without statistics."""
        schema = self.schema.append(pa.field("_change_type", pa.string()))
        return Writer(Folder(self.store, self.name, schema, ()), bucket, 1 << 62, CHANGES)

    def put(self, path: str, body: IO[bytes], size: int) -> None:
        """Write a new object; a large one in parts."""
        content: Any = body if size > _SPOOL_BYTES else body.read()
        obstore.put(self.store, f"{self.name}/{path}", content, use_multipart=size > _SPOOL_BYTES)


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

    def batches(self) -> Iterator[pl.DataFrame]:
        """All rows, in the table's columns and the bucket's, a few megabytes at a time."""
        metadata = self.parquet.metadata
        size = sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
        rows = max(1_000, min(1_000_000, BATCH_BYTES * metadata.num_rows // max(size, 1)))
        for batch in self.parquet.iter_batches(batch_size=rows):
            yield self._framed(pa.Table.from_batches([batch]), self.schema.names).with_columns(self._bucket())

    def matching(self, keys: pl.DataFrame, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Rows whose key columns equal a row of ``keys``; other columns are read where there are such rows only."""
        key = [name for name in keys.columns if name in self.parquet.schema_arrow.names]
        others = [name for name in columns if name not in (*key, BUCKET)]
        for group in self._groups(keys[keys.columns[0]]):
            found = self._read(group, key)
            mask = _is_in(found, keys, key)
            if mask.any():
                rest = self._read(group, others) if others else pl.DataFrame()
                rows = pl.concat([found, rest], how="horizontal") if others else found
                yield rows.filter(mask).with_columns(self._bucket()).select(columns)

    def _groups(self, values: pl.Series) -> Iterator[int]:
        """The row groups whose range of the first key column holds one of the values, which are sorted."""
        metadata = self.parquet.metadata
        names = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
        place = names.index(values.name) if values.name in names else None
        present = values.drop_nulls()
        for number in range(metadata.num_row_groups):
            found = None if place is None else metadata.row_group(number).column(place).statistics
            is_silent = found is None or not found.has_min_max or values.len() > present.len()
            if is_silent or present.is_between(found.min, found.max).any():
                yield number

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


def _is_in(rows: pl.DataFrame, keys: pl.DataFrame, key: Sequence[str]) -> pl.Series:
    if len(key) == 1:
        return rows[key[0]].is_in(keys[key[0]].implode(), nulls_equal=True)
    marked = keys.unique().with_columns(_in=pl.lit(value=True))
    joined = rows.join(marked, on=list(key), how="left", nulls_equal=True, maintain_order="left")
    return joined["_in"].fill_null(value=False)


@dataclass
class Writer:
    """Writes the files of one bucket: rows come in order and leave in row groups. ``files`` are those written."""

    folder: Folder
    bucket: int
    target_bytes: int
    prefix: str = ""
    files: list[DataFile] = field(default_factory=list)
    _held: list[pl.DataFrame] = field(default_factory=list)
    _held_bytes: int = 0
    _open: "_NewFile | None" = None

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows; those of a row group are held back."""
        step = max(1, rows.height * ROW_GROUP_BYTES // max(int(rows.estimated_size()), 1))
        for part in rows.iter_slices(step):
            self._held.append(part)
            self._held_bytes += int(part.estimated_size())
            if self._held_bytes >= ROW_GROUP_BYTES:
                self._flush()

    def finish(self) -> list[DataFile]:
        """Write what is held back and name all files."""
        self._flush()
        self._close()
        return self.files

    def _flush(self) -> None:
        rows = pl.concat(self._held) if self._held else pl.DataFrame()
        self._held, self._held_bytes = [], 0
        if rows.is_empty():
            return
        self._open = self._open or _NewFile(self.folder)
        self._open.write(rows)
        if self._open.size_bytes >= self.target_bytes:
            self._close()

    def _close(self) -> None:
        if self._open is not None:
            self.files.append(self._open.finish(self.bucket, self.prefix))
            self._open = None


class _NewFile:
    """One file that is written: on disk beyond a few megabytes, and on S3 when it is complete."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._body = tempfile.SpooledTemporaryFile(_SPOOL_BYTES)  # noqa: SIM115 - closed by finish, or when collected
        self._parquet = pq.ParquetWriter(
            pa.PythonFile(self._body, mode="w"),
            folder.schema,
            compression="zstd",
            write_statistics=list(folder.measured),
            write_page_index=True,
        )
        self._rows, self._sums, self._statistics = 0, [0], _Statistics(folder.measured)

    @property
    def size_bytes(self) -> int:
        """What was written so far."""
        return self._body.tell()

    def write(self, rows: pl.DataFrame) -> None:
        """Write a row group."""
        rows = rows.select(self._folder.schema.names)
        self._parquet.write_table(rows.to_arrow().cast(self._folder.schema), row_group_size=rows.height)
        self._rows += rows.height
        self._statistics.add(rows)
        self._sums.append(content_sum(rows))

    def finish(self, bucket: int, prefix: str) -> DataFile:
        """Put the file on S3."""
        self._parquet.close()
        size = self._body.tell()
        self._body.seek(0)
        place = "" if bucket == WHOLE else f"{BUCKET}={bucket}/"
        path = f"{prefix}{place}{file_name(add_up(self._sums))}"
        self._folder.put(path, self._body, size)
        self._body.close()
        return DataFile(path, size, self._rows, bucket, self._statistics.to_json(self._rows))


class _Statistics:
    """Least and greatest values and nulls of some columns, as an add action carries them."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._least: dict[str, Any] = {}
        self._greatest: dict[str, Any] = {}
        self._nulls = dict.fromkeys(columns, 0)

    def add(self, rows: pl.DataFrame) -> None:
        """Count rows."""
        for name in self._columns:
            least: Any = rows[name].min()
            greatest: Any = rows[name].max()
            self._nulls[name] += rows[name].null_count()
            if least is not None:
                self._least[name] = min(self._least.get(name, least), least)
                self._greatest[name] = max(self._greatest.get(name, greatest), greatest)

    def to_json(self, rows: int) -> str:
        """The text of the add action's ``stats``."""
        return json.dumps(
            {
                "numRecords": rows,
                "minValues": {name: least_bound(value) for name, value in self._least.items()},
                "maxValues": {name: greatest_bound(value) for name, value in self._greatest.items()},
                "nullCount": self._nulls,
            },
            separators=(",", ":"),
        )


def least_bound(value: Any) -> Any:
    """A value as JSON, or one just below it: of a long text its beginning, of a moment its millisecond."""
    if isinstance(value, str):
        return value[:_TEXT_STATISTICS]
    return _moment(value) if isinstance(value, date) else value


def greatest_bound(value: Any) -> Any:
    """A value as JSON, or one just above it."""
    if isinstance(value, str):
        return value if len(value) <= _TEXT_STATISTICS else value[:_TEXT_STATISTICS] + chr(0x10FFFF)
    if isinstance(value, datetime):
        return _moment(value + timedelta(microseconds=999))
    return _moment(value) if isinstance(value, date) else value


def _moment(value: date) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    return value.isoformat()
