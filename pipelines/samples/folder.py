"""A folder of Parquet files in the source schema: its validation, and its rows in batches."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from assets.transforms.source.schema import LABELS_SCHEMA, OPTIONAL_LABEL_COLUMNS, SOURCE_TABLES, TIMESTAMP
from resources.errors import InputError
from resources.isolation import parquet
from resources.isolation import process as isolation
from resources.isolation.process import Limits, UnreadableFileError

_REQUIRED_FILES = ("accounts", "posts")
_OPTIONAL_COLUMNS = {"labels": OPTIONAL_LABEL_COLUMNS}
_BATCH_ROWS = 10_000
_LIMITS = Limits(memory_bytes=4 << 30, seconds=300)
_EARLIEST_US, _LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999
"""The first and last microsecond of the years 1 to 9999, which Postgres, Arrow and Python all support."""


@dataclass(frozen=True)
class SourceFile:
    """One validated file, in one or several parts. ``ignored``: its columns that are not in the source schema."""

    name: str
    path: Path
    schema: pa.Schema
    ignored: tuple[str, ...]
    parts: tuple[Path, ...]

    def batches(self) -> Iterator[pa.Table]:
        """Yield the rows in the declared columns and types, 10,000 at a time. Raise InputError for any other value."""
        for part in self.parts:
            for rows in _read(part, self.schema.names):
                yield pa.table([_column(part, rows, field) for field in self.schema], schema=self.schema)


def open_folder(folder: Path) -> dict[str, SourceFile]:
    """Return table name (or ``labels``) → its validated file. Raise InputError at the first defect."""
    if not folder.is_dir():
        message = f"{folder} is not a folder; expected one with accounts.parquet and posts.parquet."
        raise InputError(message)
    schemas = {**{name: table.schema for name, table in SOURCE_TABLES.items()}, "labels": LABELS_SCHEMA}
    found = {}
    for name, schema in schemas.items():
        path = folder / f"{name}.parquet"
        if path.exists():
            found[name] = _validated(name, path, schema)
        elif name in _REQUIRED_FILES:
            message = f"{folder} has no {name}.parquet; expected accounts.parquet and posts.parquet."
            raise InputError(message)
    return found


def _validated(name: str, path: Path, schema: pa.Schema) -> SourceFile:
    parts = _parts(path)
    others: set[str] = set()
    for part in parts:
        held = _schema(part)
        for field in schema:
            if held.names.count(field.name) > 1:
                message = f"{part} has {held.names.count(field.name)} columns {field.name}; expected one."
                raise InputError(message)
            if field.name in held.names:
                _require_type(part, held.field(field.name), field)
            elif field.name not in _OPTIONAL_COLUMNS.get(name, set()):
                message = f"{part} has no column {field.name}; expected it with type {field.type}."
                raise InputError(message)
        others |= set(held.names) - set(schema.names)
    return SourceFile(name, path, schema, tuple(sorted(others)), parts)


def _parts(path: Path) -> tuple[Path, ...]:
    """Return the file, or the files of a folder that Spark wrote under a file's name."""
    if path.is_file():
        return (path,)
    inside = sorted(found for found in path.rglob("*") if not found.name.startswith((".", "_SUCCESS")))
    folders = [found for found in inside if found.is_dir()]
    if folders:
        what = "is not finished" if folders[0].name.startswith("_") else "has parts in folders"
        raise InputError(f"{path} {what}: {folders[0].name}; write it again, without partitions.")
    parts = tuple(found for found in inside if found.suffix == ".parquet")
    if not parts or len(parts) < len(inside):
        odd = next((found.name for found in inside if found not in parts), "no file")
        raise InputError(f"{path} is a folder with {odd}; expected only Parquet files, as Spark writes them.")
    return parts


def _schema(path: Path) -> pa.Schema:
    """Return the columns of a file. A process of its own reads it, because a damaged file may abort the reader."""
    try:
        [table] = isolation.read(parquet.schema, str(path), limits=_LIMITS)
    except UnreadableFileError as error:
        raise _unreadable(path, error) from None
    return table.schema


def _read(path: Path, names: list[str]) -> Iterator[pa.Table]:
    try:
        for table in isolation.read(parquet.rows, str(path), names, _BATCH_ROWS, limits=_LIMITS):
            if table.num_rows:
                yield table
    except UnreadableFileError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: UnreadableFileError) -> InputError:
    return InputError(f"{path} cannot be read as Parquet: {error.detail}")


def _require_type(path: Path, held: pa.Field, declared: pa.Field) -> None:
    if _fits(held.type, declared.type) or _all_null(path, held.name):
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
        # Each value is checked when it is read. pandas writes integers as doubles if one is missing.
        return bool(pa.types.is_integer(held) or _is_float(held))
    if pa.types.is_timestamp(declared):
        return bool(pa.types.is_timestamp(held))
    if pa.types.is_list(declared):
        is_listed = pa.types.is_list(held) or pa.types.is_large_list(held) or pa.types.is_list_view(held)
        return bool(is_listed) and _fits(held.value_type, declared.value_type)
    return False


def _is_float(held: pa.DataType) -> bool:
    return held in (pa.float32(), pa.float64())


def _all_null(path: Path, name: str) -> bool:
    return all(_without_nan(rows[name]).null_count == rows.num_rows for rows in _read(path, [name]))


def _without_nan(held: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with null for NaN, as which pandas writes a missing value."""
    if not _is_float(held.type):
        return held
    return pc.if_else(pc.is_nan(held), pa.scalar(None, held.type), held)


def _column(path: Path, rows: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    """Return a column of the file in its declared type. An absent column is null."""
    held = _without_nan(rows[field.name]) if field.name in rows.column_names else None
    if held is None or held.null_count == rows.num_rows:
        return pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
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
