"""A folder of Parquet files in the source schema: what it must look like, and its rows in batches.

Belongs here: validation and casting to the declared types. Not here: writing them anywhere (load.py).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assets.transforms.source_schema import LABELS_SCHEMA, SOURCE_TABLES

_REQUIRED_FILES = ("accounts", "posts")
_OPTIONAL_COLUMNS = {"labels": {"annotator"}}
_BATCH_ROWS = 10_000


class InputError(ValueError):
    """What somebody gave cannot be used; the message is one sentence: what, where, what was expected."""


@dataclass(frozen=True)
class SourceFile:
    """One validated file. ``ignored`` names the columns that the source schema does not have."""

    name: str
    path: Path
    schema: pa.Schema
    ignored: tuple[str, ...]

    def batches(self) -> Iterator[pa.Table]:
        """The rows in the declared columns and types, 10,000 at a time; InputError for a value that overflows."""
        try:
            parquet = pq.ParquetFile(self.path)
            names = [name for name in self.schema.names if name in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=names):
                yield _cast(pa.Table.from_batches([batch]), self.schema)
        except (pa.ArrowInvalid, OSError) as error:
            message = f"{self.path} has a value that cannot be read: {str(error).splitlines()[0]}"
            raise InputError(message) from None


def open_folder(folder: Path) -> dict[str, SourceFile]:
    """Table name (or ``labels``) → its validated file; raises InputError at the first thing that is wrong."""
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
    try:
        parquet = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        message = f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}"
        raise InputError(message) from None
    held = parquet.schema_arrow
    for field in schema:
        if field.name in held.names:
            _require_type(path, parquet, held.field(field.name), field)
        elif field.name not in _OPTIONAL_COLUMNS.get(name, set()):
            message = f"{path} has no column {field.name}; expected it with type {field.type}."
            raise InputError(message)
    return SourceFile(name, path, schema, tuple(sorted(set(held.names) - set(schema.names))))


def _require_type(path: Path, parquet: pq.ParquetFile, held: pa.Field, declared: pa.Field) -> None:
    if _fits(held.type, declared.type) or _all_null(parquet, held.name):
        return
    message = f"{path} column {held.name} has type {held.type}; expected {declared.type}."
    raise InputError(message)


def _fits(held: pa.DataType, declared: pa.DataType) -> bool:
    """Whether every value of a type is one of the declared type: another encoding, unit or a narrower width."""
    if held == declared or pa.types.is_null(held):
        return True
    if pa.types.is_dictionary(held):
        return _fits(held.value_type, declared)
    if pa.types.is_string(declared):
        return bool(pa.types.is_large_string(held) or pa.types.is_string_view(held))
    if pa.types.is_integer(declared):
        return bool(pa.types.is_integer(held))  # a value that does not fit is found when it is read
    if pa.types.is_timestamp(declared):
        return bool(pa.types.is_timestamp(held))
    if pa.types.is_list(declared):
        is_listed = pa.types.is_list(held) or pa.types.is_large_list(held) or pa.types.is_list_view(held)
        return bool(is_listed) and _fits(held.value_type, declared.value_type)
    return False


def _all_null(parquet: pq.ParquetFile, name: str) -> bool:
    return all(
        batch.column(0).null_count == batch.num_rows for batch in parquet.iter_batches(_BATCH_ROWS, columns=[name])
    )


def _cast(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        held = rows[field.name] if field.name in rows.column_names else pa.nulls(rows.num_rows)
        if isinstance(held, pa.ChunkedArray) and held.null_count == rows.num_rows:
            held = pa.nulls(rows.num_rows)
        if pa.types.is_timestamp(held.type) and held.type.tz is None:
            held = held.cast(pa.timestamp(held.type.unit, tz="UTC"))  # a time without a zone is UTC
        # Only finer time units than microseconds may lose digits; anything else that does not fit is an error.
        columns.append(held.cast(field.type, safe=not pa.types.is_timestamp(field.type)))
    return pa.table(columns, schema=schema)
