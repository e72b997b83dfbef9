"""A folder of Parquet files in the source schema: its validation, and its rows in batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.transforms.source.schema import LABELS_SCHEMA, SOURCE_TABLES, TIMESTAMP
from resources.errors import InputError

_REQUIRED_FILES = ("accounts", "posts")
_OPTIONAL_COLUMNS = {"labels": {"annotator"}}
_BATCH_ROWS = 10_000
_EARLIEST_US, _LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The first and last microsecond of the years 1 to 9999, which Postgres, Arrow and Python all support."""


@dataclass(frozen=True)
class SourceFile:
    """One validated file. ``ignored``: its columns that are not in the source schema."""

    name: str
    path: Path
    schema: pa.Schema
    ignored: tuple[str, ...]

    def batches(self) -> Iterator[pa.Table]:
        """Yield the rows in the declared columns and types, 10,000 at a time. Raise InputError for any other value."""
        parquet = _opened(self.path)
        names = [name for name in self.schema.names if name in parquet.schema_arrow.names]
        for batch in _read(self.path, parquet, names):
            rows = pa.Table.from_batches([batch])
            yield pa.table([_column(self.path, rows, field) for field in self.schema], schema=self.schema)


def open_folder(folder: Path) -> dict[str, SourceFile]:
    """Return table name (or ``labels``) → its validated file. Raise InputError at the first defect."""
    if not folder.is_dir():
        message = f"{folder} is not a folder; expected one with accounts.parquet and posts.parquet."
        raise InputError(message)
    schemas = {**{name: table.schema for name, table in SOURCE_TABLES.items()}, "labels": LABELS_SCHEMA}
    found = {}
    for name, schema in schemas.items():
        path = folder / f"{name}.parquet"
        if path.is_file():
            found[name] = _validated(name, path, schema)
        elif name in _REQUIRED_FILES:
            message = f"{folder} has no {name}.parquet; expected accounts.parquet and posts.parquet."
            raise InputError(message)
    return found


def _validated(name: str, path: Path, schema: pa.Schema) -> SourceFile:
    parquet = _opened(path)
    held = parquet.schema_arrow
    for field in schema:
        if held.names.count(field.name) > 1:
            message = f"{path} has {held.names.count(field.name)} columns {field.name}; expected one."
            raise InputError(message)
        if field.name in held.names:
            _require_type(path, parquet, held.field(field.name), field)
        elif field.name not in _OPTIONAL_COLUMNS.get(name, set()):
            message = f"{path} has no column {field.name}; expected it with type {field.type}."
            raise InputError(message)
    return SourceFile(name, path, schema, tuple(sorted(set(held.names) - set(schema.names))))


def _opened(path: Path) -> pq.ParquetFile:
    try:
        # Spark's INT96 times as microseconds: nanoseconds wrap around outside the years 1677 to 2262.
        return pq.ParquetFile(path, coerce_int96_timestamp_unit="us")
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _read(path: Path, parquet: pq.ParquetFile, names: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        yield from parquet.iter_batches(_BATCH_ROWS, columns=names)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}")


def _require_type(path: Path, parquet: pq.ParquetFile, held: pa.Field, declared: pa.Field) -> None:
    if _fits(held.type, declared.type) or _all_null(path, parquet, held.name):
        return
    message = f"{path} column {held.name} has type {held.type}; expected {declared.type}."
    raise InputError(message)


def _fits(held: pa.DataType, declared: pa.DataType) -> bool:
    """Return whether a type holds the declared type's values, in another encoding, unit or width."""
    if held == declared or pa.types.is_null(held):
        return True
    if pa.types.is_dictionary(held):
        return _fits(held.value_type, declared)
    if pa.types.is_string(declared):
        return bool(pa.types.is_large_string(held) or pa.types.is_string_view(held))
    if pa.types.is_integer(declared):
        return bool(pa.types.is_integer(held))  # each value is checked when it is read
    if pa.types.is_timestamp(declared):
        return bool(pa.types.is_timestamp(held))
    if pa.types.is_list(declared):
        is_listed = pa.types.is_list(held) or pa.types.is_large_list(held) or pa.types.is_list_view(held)
        return bool(is_listed) and _fits(held.value_type, declared.value_type)
    return False


def _all_null(path: Path, parquet: pq.ParquetFile, name: str) -> bool:
    return all(batch.column(0).null_count == batch.num_rows for batch in _read(path, parquet, [name]))


def _column(path: Path, rows: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    """Return a column of the file in its declared type. An absent column is null."""
    if field.name not in rows.column_names or rows[field.name].null_count == rows.num_rows:
        return pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
    held = rows[field.name]
    try:
        held.validate(full=True)  # Parquet text may be invalid UTF-8, which later readers do not check
        return _timestamps(held) if pa.types.is_timestamp(field.type) else held.cast(field.type)
    except pa.ArrowException as error:
        problem = str(error).splitlines()[0]
        message = f"{path} column {field.name} holds a value that is not {field.type}: {problem}"
        raise InputError(message) from None


def _timestamps(held: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return times in UTC and microseconds. A time without a zone is UTC; finer digits are cut."""
    if pa.types.is_dictionary(held.type):
        held = held.cast(held.type.value_type)
    in_utc = held.cast(pa.timestamp(held.type.unit, tz="UTC"))
    found = in_utc.cast(TIMESTAMP, safe=held.type.unit != "ns")  # nanoseconds always fit, but lose digits
    extremes = pc.min_max(found.cast(pa.int64())).as_py()
    if extremes["min"] < _EARLIEST_US or extremes["max"] > _LATEST_US:
        message = "a time is outside the years 1 to 9999"
        raise pa.ArrowInvalid(message)
    return found
