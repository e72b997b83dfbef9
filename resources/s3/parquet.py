"""Read Parquet files of other writers on S3, one row group at a time."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from resources.s3.client import S3Resource

_BATCH_ROWS = 16_384


def read_columns(s3: S3Resource, keys: Sequence[str], columns: Sequence[str]) -> pa.RecordBatchReader:
    """Stream some columns of several files, in the types of the first file; without a file, there are no rows.

    Memory: one compressed row group (32 MB from Redshift, up to about 128 MB from RDS) and one batch.
    """
    schema = pa.schema([(name, pa.string()) for name in columns])
    if keys:
        with _open(s3, keys[0]) as first:
            schema = pa.schema([first.schema_arrow.field(name) for name in columns])
    return pa.RecordBatchReader.from_batches(schema, _stream(s3, keys, schema))


def _stream(s3: S3Resource, keys: Sequence[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for key in keys:
        with _open(s3, key) as parquet:
            for group in range(parquet.num_row_groups):
                for batch in parquet.iter_batches(_BATCH_ROWS, row_groups=[group], columns=schema.names):
                    yield batch.select(schema.names).cast(schema)


def _open(s3: S3Resource, key: str) -> pq.ParquetFile:
    # pre_buffer reads each row group at once; otherwise every column chunk is read in small pieces.
    return pq.ParquetFile(f"{s3.bucket}/{key}", filesystem=s3.arrow_filesystem, pre_buffer=True)
