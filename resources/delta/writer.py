"""Write new files of a lake table: rows arrive in order, are written as row groups, and go to S3 as whole files."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from resources.delta.commit import CHANGES, DataFile
from resources.delta.files import SPOOL_BYTES, Folder
from resources.delta.fingerprint import add_up, content_sum, file_name
from resources.delta.spec import BUCKET, WHOLE
from resources.delta.statistics import Statistics


@dataclass
class Writer:
    """Write the files of one bucket. ``files`` are the files that are complete."""

    folder: Folder
    bucket: int
    target_bytes: int
    prefix: str = ""
    files: list[DataFile] = field(default_factory=list)
    _buffer: list[pl.DataFrame] = field(default_factory=list)
    _buffer_bytes: int = 0
    _open: "_NewFile | None" = None

    @classmethod
    def of(cls, folder: Folder, bucket: int, replaced: DataFile | None = None) -> "Writer":
        """Return a writer of table rows. The replacement of a file stays one file up to twice the target size."""
        grown = replaced is not None and replaced.size_bytes < 2 * folder.target_bytes
        return cls(folder, bucket, folder.target_bytes * 2 if grown else folder.target_bytes)

    @classmethod
    def of_changes(cls, folder: Folder, bucket: int) -> "Writer":
        """Return a writer of change data: table rows with ``_change_type``, without statistics, in one file."""
        schema = folder.schema.append(pa.field("_change_type", pa.string()))
        return cls(replace(folder, schema=schema, measured=()), bucket, 1 << 62, CHANGES)

    def add(self, rows: pl.DataFrame) -> None:
        """Write rows; buffer up to one row group."""
        step = 1 + rows.height * self.folder.row_group_bytes // max(int(rows.estimated_size()), 1)
        for part in rows.iter_slices(step):
            self._buffer.append(part)
            self._buffer_bytes += int(part.estimated_size())
            if self._buffer_bytes >= self.folder.row_group_bytes:
                self._flush()

    def finish(self) -> list[DataFile]:
        """Write the buffer and return all files."""
        self._flush()
        self._close()
        return self.files

    def _flush(self) -> None:
        rows = pl.concat(self._buffer) if self._buffer else pl.DataFrame()
        self._buffer, self._buffer_bytes = [], 0
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
    """A file that is being written, on local disk beyond a few megabytes."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._body = tempfile.SpooledTemporaryFile(SPOOL_BYTES)  # noqa: SIM115 - closed by finish, or when collected
        self._parquet = pq.ParquetWriter(
            pa.PythonFile(self._body, mode="w"),
            folder.schema,
            compression="zstd",
            # A dictionary of numbers that hardly repeat makes a file half as large again.
            use_dictionary=[path for path, kind in _leaves(folder.schema) if not pa.types.is_floating(kind)],
            write_statistics=list(folder.measured),
            write_page_index=True,
        )
        self._rows, self._sums, self._statistics = 0, [0], Statistics(folder.measured)

    @property
    def size_bytes(self) -> int:
        """Return the bytes written so far."""
        return self._body.tell()

    def write(self, rows: pl.DataFrame) -> None:
        """Write a row group."""
        rows = rows.select(self._folder.schema.names)
        self._parquet.write_table(rows.to_arrow().cast(self._folder.schema), row_group_size=rows.height)
        self._rows += rows.height
        self._statistics.add(rows)
        self._sums.append(content_sum(rows))

    def finish(self, bucket: int, prefix: str) -> DataFile:
        """Upload the file to S3."""
        self._parquet.close()
        size = self._body.tell()
        self._body.seek(0)
        place = "" if bucket == WHOLE else f"{BUCKET}={bucket}/"
        path = f"{prefix}{place}{file_name(add_up(self._sums))}"
        self._folder.put(path, self._body, size)
        self._body.close()
        return DataFile(path, size, self._rows, bucket, self._statistics.to_json(self._rows))


def _leaves(schema: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    """Yield the Parquet columns of a schema of plain columns and lists, with the type of their values."""
    for column in schema:
        is_list = pa.types.is_list(column.type)
        yield (f"{column.name}.list.element", column.type.value_type) if is_list else (column.name, column.type)
