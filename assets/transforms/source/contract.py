"""The contract with a source: how its columns differ from the declared ones, and rows in the declared types."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from assets.transforms.source.recasting import FIRST_MOMENT, LAST_MOMENT, recast
from assets.transforms.source.schema import REASON, TIMESTAMP, Policy, SourceTable

_TEXT_WORDS = (
    *("text", "character varying", "varchar", "character", "char", "bpchar", "name", "citext", "uuid"),
    "user-defined",  # an enumeration, in the catalogue's words
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
"""Type in a source's own words (Postgres, its catalogue, Redshift, MySQL) → the Arrow type that holds its values."""
_PLAIN_WORDS = frozenset(_WORDS) - {"uuid", "user-defined", "json", "jsonb", "numeric", "decimal", "date"}
"""Those that every source gives as Arrow values, and not each as a type of its own."""
_LIST_WORDS = frozenset({"super", "varchar"})
"""Redshift has no arrays: a list is JSON there, in one of these."""
_WIDENS = {pa.int64(): (pa.int16(), pa.int32()), pa.float64(): (pa.float32(),)}


@dataclass(frozen=True)
class Difference:
    """How a source's table differs from the declared one: added column → type, dropped, retyped → (found, declared)."""

    table: SourceTable
    added: Mapping[str, str]
    dropped: tuple[str, ...]
    retyped: Mapping[str, tuple[str, str]]

    @property
    def is_empty(self) -> bool:
        """Whether the source keeps the contract to the letter."""
        return not (self.added or self.dropped or self.retyped)

    @property
    def is_refused(self) -> bool:
        """Whether no row may be read: the policy freezes, or a column is gone without which no row can be used."""
        frozen = self.table.policy is Policy.FREEZE and not self.is_empty
        return frozen or not set(self.dropped).isdisjoint(self.table.required)

    def describe(self) -> str:
        """The exact difference in one sentence."""
        if self.is_empty:
            return f"{self.table.name} has the declared columns."
        parts = [f"{name} ({found}) was added" for name, found in sorted(self.added.items())]
        parts += [f"{name} is gone" for name in self.dropped]
        parts += [f"{name} is {found}, declared {due}" for name, (found, due) in sorted(self.retyped.items())]
        return f"{self.table.name}, policy {self.table.policy}: {'; '.join(parts)}."

    def carried(self) -> dict[str, pa.DataType]:
        """Added column → type, of those that travel along: none, unless the policy is to evolve.

        A type without an equal, such as bytea, does not travel.
        """
        if self.table.policy is not Policy.EVOLVE:
            return {}
        types = {name: _held(found) for name, found in self.added.items()}
        return {name: found for name, found in sorted(types.items()) if found is not None}


def compare(table: SourceTable, columns: Mapping[str, str]) -> Difference:
    """The difference between a declared table and the columns (name → type in its own words) that a source has."""
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
    )


def landed_schema(difference: Difference) -> pa.Schema:
    """The columns of landed rows: the declared ones, and those that travel along."""
    return pa.schema([*difference.table.schema, *(pa.field(*item) for item in difference.carried().items())])


def read_columns(difference: Difference, columns: Mapping[str, str]) -> tuple[str, ...]:
    """The columns to ask the source for, out of those that it has."""
    return tuple(name for name in landed_schema(difference).names if name in columns)


def text_columns(columns: Mapping[str, str]) -> frozenset[str]:
    """The columns whose values only have a text in common between sources, such as numeric or uuid."""
    return frozenset(name for name, found in columns.items() if _word(found) not in _PLAIN_WORDS)


def recast_rows(schema: pa.Schema, rows: pa.Table) -> tuple[pa.Table, pl.DataFrame]:
    """Rows in a schema's columns and types, and those with a value that has no equal in its type, with a REASON.

    A column that the rows lack is null. Rejects are as the source gave them, in types that JSON can hold. Columns that
    have their type already are not copied. Memory: the rows twice.
    """
    taken, reasons = [], []
    for field in schema:
        if field.name not in rows.column_names:
            taken.append(pa.chunked_array([pa.nulls(rows.num_rows, field.type)]))
        elif rows[field.name].type.equals(field.type) and not _may_be_boundless(rows[field.name]):
            taken.append(rows[field.name])
        else:
            given = _series(rows[field.name])
            found = recast(given, field.type)
            failed = found.is_null() & given.is_not_null()
            taken.append(pa.chunked_array([found.to_arrow().cast(field.type)]))
            if failed.any():
                said = pl.lit(f"{field.name} cannot be read as {field.type}")
                reasons.append(pl.select(pl.when(failed).then(said)).to_series())
    cast = pa.table(taken, schema=schema)
    if not reasons:
        return cast, pl.DataFrame()
    reason = pl.select(pl.coalesce(reasons)).to_series()
    given_rows = pl.DataFrame([_legible(_series(rows[name])).alias(name) for name in rows.column_names])
    rejects = given_rows.with_columns(reason.alias(REASON)).filter(reason.is_not_null())
    return cast.filter(reason.is_null().to_arrow()), rejects


def _may_be_boundless(values: pa.ChunkedArray) -> bool:
    """Whether moments lie outside the years 1 to 9999, as Postgres' infinity does, which most readers cannot show."""
    if not pa.types.is_timestamp(values.type):
        return False
    found = pc.min_max(values.cast(pa.timestamp("us", values.type.tz)).cast(pa.int64())).as_py()
    return found["min"] is not None and not FIRST_MOMENT <= found["min"] <= found["max"] <= LAST_MOMENT


def _series(values: pa.ChunkedArray) -> pl.Series:
    """A column for polars; of a type that Arrow does not know (Postgres' numeric), what it is stored as."""
    if isinstance(values.type, pa.BaseExtensionType):
        values = pa.chunked_array([chunk.storage for chunk in values.chunks], values.type.storage_type)
    return pl.Series(pl.from_arrow(values))


def _legible(values: pl.Series) -> pl.Series:
    """A rejected column: bytes as Postgres prints them, and floats as text, because JSON has no NaN."""
    if values.dtype == pl.Binary:
        return "\\x" + values.bin.encode("hex")
    if values.dtype.is_nested() and "Binary" in str(values.dtype):
        return pl.Series([None if value is None else str(value.to_list()) for value in values], dtype=pl.String)
    return values.cast(pl.String) if values.dtype.is_float() else values


def _word(text: str) -> str:
    """A type's name without its length or precision: `character varying(255)`, `timestamp(3) with time zone`."""
    return re.sub(r"\s*\([^)]*\)", "", text).strip().lower()


def _held(text: str) -> pa.DataType | None:
    return _WORDS.get(_word(text))


def _accepts(declared: pa.DataType, text: str) -> bool:
    """Whether every value of a source's type is one of the declared type too."""
    word, held = _word(text), _held(text)
    if declared == pa.string():
        return word in _TEXT_WORDS
    if pa.types.is_list(declared):
        return held == declared or word in _LIST_WORDS
    return held == declared or held in _WIDENS.get(declared, ())
