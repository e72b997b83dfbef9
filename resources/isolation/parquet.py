"""Read Parquet in a disposable process: `process.read(rows, path)`."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from resources.isolation.worker import RefusedFileError

_BATCH_ROWS = 16_384


def schema(source: str | bytes) -> Iterator[pa.Table]:
    """Yield one table without rows: the columns of a file, given as its path or its content."""
    with _opened(source) as parquet:
        yield parquet.schema_arrow.remove_metadata().empty_table()


def rows(
    source: str | bytes,
    columns: Sequence[str],
    batch_rows: int = _BATCH_ROWS,
    most_rows: int = 0,
    most_bytes: int = 0,
) -> Iterator[pa.Table]:
    """Yield the named columns of a file that it has: first a table without rows, then its rows in batches.

    ``most_rows`` and ``most_bytes`` limit the decoded rows, as a kilobyte may hold millions of rows; 0 is no limit.
    Texts may be invalid UTF-8: validate them. Memory: one encoded row group, and one batch.
    """
    with _opened(source) as parquet:
        held = parquet.schema_arrow.remove_metadata()
        names = [name for name in columns if name in held.names]
        for name in names:
            if held.names.count(name) > 1:
                raise RefusedFileError(f"the file has {held.names.count(name)} columns {name}")
        yield pa.schema([held.field(name) for name in names]).empty_table()
        count = size = 0
        for group in range(parquet.num_row_groups):
            for batch in parquet.iter_batches(batch_rows, row_groups=[group], columns=names):
                count, size = count + batch.num_rows, size + batch.nbytes
                if most_rows and count > most_rows:
                    raise RefusedFileError(f"the file has more than {most_rows:,} rows, so it has to be split")
                if most_bytes and size > most_bytes:
                    limit = f"{most_bytes >> 20:,} MiB"
                    raise RefusedFileError(f"the rows of the file take more than {limit}, so it has to be split")
                yield pa.Table.from_batches([batch]).select(names)


def _opened(source: str | bytes) -> pq.ParquetFile:
    # Spark's INT96 times as microseconds: nanoseconds wrap around outside the years 1677 to 2262.
    held = pa.BufferReader(source) if isinstance(source, bytes) else source
    return pq.ParquetFile(held, coerce_int96_timestamp_unit="us")
