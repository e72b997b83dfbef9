"""Compare a source's columns with the declared columns, and cast its rows to the declared types."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from assets.transforms.source.recasting import in_range, recast
from assets.transforms.source.schema import REASON, TIMESTAMP, Policy, SourceTable

_TEXT_WORDS = (
    *("text", "character varying", "varchar", "character", "char", "bpchar", "name", "citext", "uuid"),
    "user-defined",  # an enumeration in information_schema
    *("tinytext", "mediumtext", "longtext", "enum"),
)
_WORDS: Mapping[str, pa.DataType] = {
    **dict.fromkeys(("smallint", "int2", "tinyint"), pa.int16()),
    **dict.fromkeys(("integer", "int", "int4", "mediumint"), pa.int32()),
    **dict.fromkeys(("bigint", "int8"), pa.int64()),
    **dict.fromkeys(("real", "float4"), pa.float32()),
    **dict.fromkeys(("double precision", "float8", "double"), pa.float64()),
    **dict.fromkeys(("boolean", "bool"), pa.bool_()),
    **dict.fromkeys(
        ("timestamp with time zone", "timestamp without time zone", "timestamptz", "timestamp", "datetime"), TIMESTAMP
    ),
    **dict.fromkeys(("text[]", "_text", "character varying[]", "array"), pa.list_(pa.string())),
    **dict.fromkeys(_TEXT_WORDS, pa.string()),
    **dict.fromkeys(("json", "jsonb", "super", "numeric", "decimal", "date"), pa.string()),
}
"""Type name in Postgres, its catalogue, Redshift or MySQL → Arrow type."""
_PADDED_WORDS = {"character", "char", "bpchar"}
_PLAIN_WORDS = (
    frozenset(_WORDS) - {"uuid", "user-defined", "enum", "json", "jsonb", "numeric", "decimal", "date"} - _PADDED_WORDS
)
"""Types that every source gives as the same Arrow type. A padded text is read without its padding, as keys are."""
_LIST_WORDS = frozenset({"super", "varchar"})
"""Types that hold lists as JSON in Redshift, which has no arrays."""
_WIDENS = {pa.int64(): (pa.int16(), pa.int32()), pa.float64(): (pa.float32(),)}


_REFUSED_CHARACTERS = re.compile(r"[ ,;{}()=\x00-\x1f\x7f]")
"""Characters that Spark and Athena refuse in a column name without column mapping, and control characters."""

_CUT_BY = "updated_at"
"""A day is too coarse for windows, and texts and numbers have another order."""


@dataclass(frozen=True)
class Difference:
    """How a source's columns differ: added column → type, dropped columns, retyped column → (found, declared).

    ``lake_columns`` are the columns that the lake table has already.
    """

    table: SourceTable
    added: Mapping[str, str]
    dropped: tuple[str, ...]
    retyped: Mapping[str, tuple[str, str]]
    lake_columns: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Return whether the columns are exactly the declared columns."""
        return not (self.added or self.dropped or self.retyped)

    @property
    def is_refused(self) -> bool:
        """Return whether no row may be read: frozen, without a required column, or without times to cut windows by."""
        frozen = self.table.policy is Policy.FREEZE and not self.is_empty
        return frozen or not set(self.dropped).isdisjoint(self.table.required) or _CUT_BY in self.retyped

    def describe(self) -> str:
        """Return the exact difference as one sentence."""
        if self.is_empty:
            return f"{self.table.name} has the declared columns."
        parts = [f"{name} ({found}) was added{self._left_out(name)}" for name, found in sorted(self.added.items())]
        parts += [f"{name} is gone" for name in self.dropped]
        parts += [f"{name} is {found}, declared {due}" for name, (found, due) in sorted(self.retyped.items())]
        return f"{self.table.name}, policy {self.table.policy}: {'; '.join(parts)}."

    def carried(self) -> dict[str, pa.DataType]:
        """Return the added columns to land, with their types; empty unless the policy is evolve.

        Columns whose type has no Arrow equivalent, such as bytea, are left out. So are columns whose name cannot enter
        the lake table.
        """
        if self.table.policy is not Policy.EVOLVE:
            return {}
        types = {name: _held(found) for name, found in self.added.items() if not self._exclusion(name)}
        return {name: found for name, found in sorted(types.items()) if found is not None}

    def _left_out(self, name: str) -> str:
        """Return why an added column is not landed, or blank if it is, or if the policy lands none."""
        if self.table.policy is Policy.EVOLVE and _held(self.added[name]) is None:
            return " and left out, because its type has no counterpart in the lake"
        return self._exclusion(name)

    def _exclusion(self, name: str) -> str:
        """Return why the name of an added column cannot enter the lake table, or blank if it can."""
        if name.startswith("_") or name.casefold() == "account_bucket":
            return " and left out, because its name is reserved"  # for Delta, Spark and our own joins
        if name in self.lake_columns:
            return ""
        taken = {*self.table.schema.names, *self.added, *self.lake_columns} - {name}
        alike = sorted(other for other in taken if other.casefold() == name.casefold())
        if alike:
            return f" and left out, because its name differs only in case from {alike[0]}"
        if not name.strip() or _REFUSED_CHARACTERS.search(name):
            return " and left out, because Spark and Athena refuse a character of its name"
        return ""


def compare(table: SourceTable, columns: Mapping[str, str], lake_columns: Iterable[str] = ()) -> Difference:
    """Return the difference between a declared table and a source's columns (name → the source's type name)."""
    declared = {field.name: field.type for field in table.schema}
    return Difference(
        table,
        added={name: found for name, found in columns.items() if name not in declared},
        dropped=tuple(name for name in declared if name not in columns),
        retyped={
            name: (columns[name], str(due))
            for name, due in declared.items()
            if name in columns and not _accepts(due, columns[name])
        },
        lake_columns=tuple(lake_columns),
    )


def landed_schema(difference: Difference) -> pa.Schema:
    """Return the columns of landed rows: the declared columns, then the added columns to land."""
    return pa.schema([*difference.table.schema, *(pa.field(*item) for item in difference.carried().items())])


def read_columns(difference: Difference, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Return the columns to read, out of those that the source has."""
    return tuple(name for name in landed_schema(difference).names if name in columns)


def text_columns(columns: Mapping[str, str]) -> frozenset[str]:
    """Return the columns to read as text, because sources give them in different types, such as numeric or uuid."""
    return frozenset(name for name, found in columns.items() if _word(found) not in _PLAIN_WORDS)


def list_columns(columns: Mapping[str, str]) -> frozenset[str]:
    """Return the columns that are arrays in Postgres, as its type names say."""
    return frozenset(name for name, found in columns.items() if found.endswith("[]"))


def recast_table(schema: pa.Schema, rows: pa.Table) -> pa.Table:
    """Return rows cast to a schema. A value that cannot be cast, and a column that the rows lack, is null.

    Columns that already have their type are not copied.
    """
    columns = []
    for field in schema:
        if field.name not in rows.column_names:
            columns.append(pa.chunked_array([pa.nulls(rows.num_rows, field.type)]))
        elif rows[field.name].type.equals(field.type) and _is_whole(rows[field.name]):
            columns.append(rows[field.name])
        else:
            found = recast(_series(rows[field.name]), field.type)
            columns.append(pa.chunked_array([found.to_arrow().cast(field.type)]))
    return pa.table(columns, schema=schema)


def recast_rows(schema: pa.Schema, rows: pa.Table) -> tuple[pa.Table, pl.DataFrame]:
    """Return rows cast to a schema, and the rows with a value that cannot be cast, with a REASON.

    Rejected rows keep the source's values, in types that JSON can hold. Memory: the rows twice.
    """
    cast = recast_table(schema, rows)
    reasons = []
    for field in schema:
        if field.name in rows.column_names and cast[field.name].null_count > rows[field.name].null_count:
            failed = _series(cast[field.name].is_null()) & _series(rows[field.name].is_valid())
            said = pl.lit(f"{field.name} cannot be read as {field.type}")
            reasons.append(pl.select(pl.when(failed).then(said)).to_series())
    if not reasons:
        return cast, pl.DataFrame()
    reason = pl.select(pl.coalesce(reasons)).to_series()
    given_rows = pl.DataFrame([_legible(_series(_decoded(rows[name]))).alias(name) for name in rows.column_names])
    rejects = given_rows.with_columns(reason.alias(REASON)).filter(reason.is_not_null())
    return cast.filter(reason.is_null().to_arrow()), rejects


def _is_whole(values: pa.ChunkedArray) -> bool:
    """Return whether every value is what its type says: a time in the years 1 to 9999, a text in UTF-8.

    Postgres' infinity is outside of these years. A database without an encoding has texts of any bytes.
    """
    if pa.types.is_timestamp(values.type):
        return in_range(_series(values)).fill_null(value=True).all()
    return _is_utf8(values)


def _is_utf8(values: pa.ChunkedArray) -> bool:
    if not (_is_text(values.type) or (pa.types.is_list(values.type) and _is_text(values.type.value_type))):
        return True
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decoded(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts with \\xe9 for each byte that is not of UTF-8, and other columns as they are."""
    if _is_utf8(values):
        return values
    return pa.chunked_array([[_shown(found) for found in _bytes(values).to_pylist()]], values.type)


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return None if value is None else value.decode(errors="backslashreplace")


def _bytes(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(pa.list_(pa.binary()) if pa.types.is_list(values.type) else pa.binary())


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype))


def _series(values: pa.ChunkedArray) -> pl.Series:
    """Convert a column to polars; an extension type (Postgres' numeric) becomes its storage type.

    A time with a zone is an instant, so the zone is of no account; one that no database knows would be refused. Texts
    of which one is not UTF-8 become bytes. A column of another type that polars refuses becomes null.
    """
    if isinstance(values.type, pa.BaseExtensionType):
        values = pa.chunked_array([chunk.storage for chunk in values.chunks], values.type.storage_type)
    if pa.types.is_timestamp(values.type) and values.type.tz not in (None, "UTC"):
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
    if not _is_utf8(values):  # polars takes texts as they are, and panics when it shows them
        values = _bytes(values)
    try:
        return pl.Series(pl.from_arrow(values))
    except pl.exceptions.PolarsError:
        return pl.Series([None], dtype=pl.String).new_from_index(0, len(values))


def _legible(values: pl.Series) -> pl.Series:
    """Return a rejected column in a form that JSON can hold: bytes as Postgres prints them, floats as text.

    Times outside the years 1 to 9999 become text too: polars panics when it prints them.
    """
    if values.dtype == pl.Binary:
        return "\\x" + values.bin.encode("hex")
    if isinstance(values.dtype, pl.List) and values.explode().dtype.is_temporal():
        return values.cast(pl.List(pl.Int64))
    if values.dtype.is_nested() and "Binary" in str(values.dtype):
        return pl.Series([None if value is None else str(value.to_list()) for value in values], dtype=pl.String)
    if isinstance(values.dtype, pl.Date | pl.Datetime) and not in_range(values).fill_null(value=True).all():
        texts = values.set(~in_range(values), None).dt.to_string("iso")
        is_late, beyond = values.to_physical() > 0, pl.Series(["infinity, or after the year 9999"])
        outside = beyond.new_from_index(0, len(values)).set(~is_late, "-infinity, or before the year 1")
        return texts.zip_with(in_range(values), outside.set(values.is_null(), None))
    return values.cast(pl.String) if values.dtype.is_float() else values


def _word(text: str) -> str:
    """Return a type's name without length or precision: `varchar(255)`, `timestamp(3) with time zone`."""
    return re.sub(r"\s*\([^)]*\)", "", text).strip().lower()


def _held(text: str) -> pa.DataType | None:
    return _WORDS.get(_word(text))


def _accepts(declared: pa.DataType, text: str) -> bool:
    """Return whether every value of a source's type fits the declared type."""
    word, held = _word(text), _held(text)
    if declared == pa.string():
        return word in _TEXT_WORDS
    if pa.types.is_list(declared):
        return held == declared or word in _LIST_WORDS
    return held == declared or held in _WIDENS.get(declared, ())
