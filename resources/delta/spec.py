"""Describe a lake table: its columns and key, the contents of a bucket, a change. Convert rows to its columns."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import polars as pl
import pyarrow as pa

BUCKET = "account_bucket"
WHOLE = -1
"""The bucket number of a table without buckets."""
MEASURED = "delta.dataSkippingStatsColumns"
"""Table property: the columns that have statistics. Other writers would copy texts into the log without it."""
ROW_GROUP_BYTES = 1 << 20
"""Rows in memory that make a row group, the smallest part of a file that can be read."""


@dataclass(frozen=True)
class Column:
    """A column: its type, what it holds, the kind of personal data in it, and the columns that it is computed from.

    ``personal``: ``id`` (of an account or its item), ``profile`` (a name, a text or figures of a person), or blank.
    ``sources``: names such as ``lake/posts.text``, of tables that the asset depends on.
    """

    type: pa.DataType
    description: str
    sources: tuple[str, ...] = ()
    personal: str = ""


@dataclass(frozen=True)
class TableSpec:
    """A Delta table: name (its folder and its asset's key), columns, key, and partitioning.

    ``columns``: what the schema's columns mean, for people; rows are not affected by it.
    ``key``: files are sorted by it. Its columns and all dates and times have statistics.
    ``filtered``: further columns with statistics, because people filter by them; engines then skip files.
    ``text_columns``: have no statistics even in the key, because statistics copy values into the log.
    ``feeds``: turn Delta's change feed on.
    ``evolves``: add unknown columns of merged rows to the table.
    ``moves``: a key may change its bucket, and is then deleted from the old one.
    ``target_bytes``: size at which a file is closed. Small, because a change rewrites whole files.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    partitioned: bool = True
    filtered: tuple[str, ...] = ()
    text_columns: tuple[str, ...] = ()
    feeds: bool = False
    evolves: bool = False
    moves: bool = False
    target_bytes: int = 32 << 20
    row_group_bytes: int = ROW_GROUP_BYTES
    columns: Mapping[str, Column] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, name: str, columns: Mapping[str, Column], key: tuple[str, ...], **options: Any) -> Self:
        """Return the table with these columns, in order."""
        schema = pa.schema([(of, column.type) for of, column in columns.items()])
        return cls(name, schema, key, columns=columns, **options)

    def sources(self, *names: str) -> tuple[str, ...]:
        """Return columns of this table as the sources of another table's column."""
        return tuple(f"{self.name}.{self.schema.field(name).name}" for name in names)

    def copied(self, name: str, description: str = "") -> Column:
        """Return a column of this table as another table copies it."""
        column = self.columns[name]
        return replace(column, description=description or column.description, sources=self.sources(name))

    @cached_property
    def polars_schema(self) -> Mapping[str, pl.DataType]:
        """Return column name → polars type, in order."""
        return dict(pl.from_arrow(self.schema.empty_table()).schema)  # type: ignore[union-attr]

    @property
    def place(self) -> list[str]:
        """Return the columns that identify a row and its bucket."""
        return [*self.key, *([BUCKET] if self.partitioned and BUCKET not in self.key else [])]

    @property
    def measured(self) -> list[str]:
        """Return the columns that have statistics, in the order of the schema."""
        wanted = {*self.key, *self.filtered} | {of.name for of in self.schema if pa.types.is_temporal(of.type)}
        return [name for name in self.schema.names if name in wanted - {*self.text_columns, BUCKET}]

    def empty(self) -> pl.DataFrame:
        """Return no rows, in this table's columns."""
        return pl.DataFrame(schema=self.polars_schema)


@dataclass(frozen=True)
class Contents:
    """Contents of one bucket of a table or index: fingerprint, rows, bytes. Equal fingerprints mean equal rows.

    The fingerprint of a Delta table is the sum of its rows' hashes, so moving rows between files does not change it.
    """

    fingerprint: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Changes:
    """Numbers of rows that a write changed."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        return f"{self.inserted:,} rows inserted, {self.updated:,} updated, {self.deleted:,} deleted"

    @property
    def written(self) -> int:
        """Return the rows that were inserted, updated or deleted."""
        return self.inserted + self.updated + self.deleted


ABSENT = Contents("absent", 0, 0)


def fingerprint(parts: Iterable[str]) -> str:
    """Return a 128-bit hash of a sequence of strings, in hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def typed(rows: pl.DataFrame, schema: pa.Schema, *, only_given: bool = False) -> pl.DataFrame:
    """Return rows in the columns and types of a table. Missing columns are null, or left out with ``only_given``."""
    types = pl.DataFrame(pl.from_arrow(schema.empty_table())).schema
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in types.items()
        if name in rows.columns or not only_given
    )


def with_nulls(frame: pl.LazyFrame, spec: TableSpec) -> pl.LazyFrame:
    """Return rows with null columns for those that an older version of the table does not have."""
    present = frame.collect_schema()
    absent = {name: dtype for name, dtype in spec.polars_schema.items() if name not in present}
    return frame.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in absent.items()) if absent else frame


def arrow_schema(rows: pl.DataFrame) -> pa.Schema:
    """Return the Delta schema of rows: Delta has no large Arrow types."""
    table = rows.clear().to_arrow(compat_level=pl.CompatLevel.oldest())
    plain = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
    return pa.schema(
        [
            (field.name, pa.list_(plain.get(field.type.value_type, field.type.value_type)))
            if pa.types.is_large_list(field.type)
            else (field.name, plain.get(field.type, field.type))
            for field in table.schema
        ]
    )
