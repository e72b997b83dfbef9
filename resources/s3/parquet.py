"""Read Parquet files of other writers on S3, one row group at a time."""

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from resources.s3.client import S3Resource

_BATCH_ROWS = 16_384


def open_parquet(s3: S3Resource, key: str) -> pq.ParquetFile:
    """Open an object as a Parquet file, a context manager."""
    # pre_buffer reads each row group at once; otherwise every column chunk is read in small pieces.
    return pq.ParquetFile(f"{s3.bucket}/{key}", filesystem=s3.arrow_filesystem, pre_buffer=True)


def stream(s3: S3Resource, keys: Iterable[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of several files as the columns of a schema, which each file must have.

    Memory: one compressed row group (32 MB from Redshift, up to about 128 MB from RDS) and one batch.
    """
    for key in keys:
        with open_parquet(s3, key) as parquet:
            for group in range(parquet.num_row_groups):
                for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=schema.names):
                    yield batch.select(schema.names).cast(schema)
