"""Stream Parquet files of other writers on S3. A process of its own reads each file."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from resources.errors import PermanentFailure
from resources.isolation import parquet
from resources.isolation.process import Limits, UnreadableFileError, read
from resources.s3.client import S3Resource

_LIMITS = Limits(memory_bytes=4 << 30, seconds=300)
"""A row group of RDS is up to about 128 MB, encoded."""


class UnusableFileError(PermanentFailure):
    """A file of an export is damaged, so that the export cannot be used."""


def read_columns(s3: S3Resource, keys: Sequence[str], columns: Sequence[str]) -> pa.RecordBatchReader:
    """Return the columns of several files, in the types of the first file. Without files, all are text.

    Raise UnusableFileError. Each file is copied to the disk while it is read. Memory: one batch here; in the process
    that reads, one encoded row group (32 MB from Redshift, up to about 128 MB from RDS).
    """
    found = _batches(s3, keys, columns)
    first = next(found, None)
    schema = first.schema if first is not None else pa.schema([(name, pa.string()) for name in columns])
    return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in found))


def _batches(s3: S3Resource, keys: Sequence[str], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the columns of the first file without rows, and all rows."""
    for number, key in enumerate(keys):
        with tempfile.TemporaryDirectory(prefix="cippus-export-") as folder:
            path = Path(folder, "file.parquet")
            s3.client.download_file(s3.bucket, key, str(path))
            try:
                for table in read_local(path, columns, _LIMITS):
                    if not table.num_rows and not number:
                        yield pa.RecordBatch.from_pylist([], schema=table.schema)
                    yield from table.to_batches()
            except (UnreadableFileError, pa.ArrowException) as error:
                said = str(error).splitlines()[0]
                raise UnusableFileError(f"{s3.uri(key)} cannot be used: {said}. Export again.") from None


def read_local(path: Path, columns: Sequence[str], limits: Limits) -> Iterator[pa.Table]:
    """Yield a file's columns, first a table without rows. Raise UnreadableFileError or ArrowException."""
    for table in read(parquet.rows, str(path), list(columns), limits=limits):
        if missing := [name for name in columns if name not in table.column_names]:
            raise UnreadableFileError(f"the file has no column {missing[0]}")
        table.validate(full=True)  # Parquet text may be invalid UTF-8, which polars does not check
        yield table
