"""Read dropped files; these functions run in a disposable process, which `resources.isolation.process` starts.

It imports this module, so nothing here may import Dagster, which takes a second.
"""

from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from assets.transforms.audience import ColumnMap, read_report
from assets.transforms.delimited import UnusableReportError
from assets.transforms.labels.files import READERS, UnusableLabelsError, as_labels, require_label_columns
from assets.transforms.search.votes import FILE_SCHEMA as JUDGEMENTS_SCHEMA
from assets.transforms.source.contract import recast_table
from assets.transforms.source.schema import LABELS_SCHEMA
from resources.isolation import parquet
from resources.isolation.process import Limits
from resources.isolation.worker import RefusedFileError

MOST_BYTES = 256 << 20
"""Larger files are refused before they are fetched."""
_MOST_LABELS, _MOST_DECODED_BYTES = 1_000_000, 1 << 30
_REPORT_MEMORY_BYTES, _SECONDS, _SECONDS_PER_MIB = 3 << 30, 60, 4


def label_rows(name: str, body: bytes) -> Iterator[pa.Table]:
    """Yield the labels of a file, which its name's end says how to read: Parquet, CSV or JSON lines.

    The columns are those of LABELS_SCHEMA, then ``reason`` and ``row`` of a reject. The file may lack
    OPTIONAL_LABEL_COLUMNS.
    """
    read = next((reader for end, reader in READERS.items() if name.endswith(end)), _label_rows_of_parquet)
    try:
        yield from _at_most(read(body), _MOST_LABELS)
    except UnusableLabelsError as error:
        raise RefusedFileError(str(error)) from None


def _label_rows_of_parquet(body: bytes) -> Iterator[pa.Table]:
    limits = {"most_rows": _MOST_LABELS, "most_bytes": _MOST_DECODED_BYTES}
    for table in parquet.rows(body, LABELS_SCHEMA.names, **limits):
        require_label_columns(table.column_names)
        table.validate(full=True)  # Parquet text may be invalid UTF-8, which polars does not check
        yield as_labels(table)


def judgement_rows(body: bytes) -> Iterator[pa.Table]:
    """Yield the judgements of a Parquet file in JUDGEMENTS_SCHEMA. A value that cannot be cast is null."""
    limits = {"most_rows": _MOST_LABELS, "most_bytes": _MOST_DECODED_BYTES}
    for table in parquet.rows(body, JUDGEMENTS_SCHEMA.names, **limits):
        if missing := [name for name in JUDGEMENTS_SCHEMA.names if name not in table.column_names]:
            raise RefusedFileError(f"the file has no column {missing[0]}")
        table.validate(full=True)
        yield recast_table(JUDGEMENTS_SCHEMA, table)


def _at_most(tables: Iterator[pa.Table], most_rows: int) -> Iterator[pa.Table]:
    count = 0
    for table in tables:
        count += table.num_rows
        if count > most_rows:
            raise RefusedFileError(f"the file has more than {most_rows:,} rows, so it has to be split")
        yield table


def report(name: str, body: bytes, columns: ColumnMap) -> Iterator[pa.Table]:
    """Yield the usable rows, the rejects and the unknown columns of an audience report."""
    try:
        found = read_report(name, body, columns)
    except UnusableReportError as error:
        raise RefusedFileError(str(error)) from None
    for frame in (found.rows, found.rejects, found.unknown_columns):
        yield frame.to_arrow(compat_level=pl.CompatLevel.oldest())


def report_limits(size_bytes: int) -> Limits:
    """Return what reading a report of this size may take. Its text takes up to ten times its bytes."""
    return Limits(_REPORT_MEMORY_BYTES, _SECONDS + _SECONDS_PER_MIB * (size_bytes >> 20))


def too_large(size_bytes: int) -> str | None:
    """Return why a file is not read at all, None if it is small enough."""
    if size_bytes <= MOST_BYTES:
        return None
    return f"the file is larger than {MOST_BYTES >> 20} MiB, so it has to be split"
