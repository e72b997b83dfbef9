"""Parquet files that others wrote on S3, read one row group at a time."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from resources.s3.client import S3Resource

_BATCH_ROWS = 16_384


def open_parquet(s3: S3Resource, key: str) -> pq.ParquetFile:
    """An object as a Parquet file; a context manager."""
    # Buffered ahead by row group: otherwise every column chunk is read in small pieces, back and forth.
    return pq.ParquetFile(f"{s3.bucket}/{key}", filesystem=s3.arrow_filesystem, pre_buffer=True)


def stream(s3: S3Resource, keys: Iterable[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of several files in a schema's columns, which all of them have.

    Memory: one row group as it lies in the file, which Redshift makes 32 MB and RDS up to some 128 MB, and one batch.
    """
    for key in keys:
        with open_parquet(s3, key) as parquet:
            for group in range(parquet.num_row_groups):
                for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=schema.names):
                    yield batch.select(schema.names).cast(schema)
