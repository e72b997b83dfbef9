"""What a lake table is, in values: its columns and key, what a bucket of it holds, how it was changed."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

BUCKET = "account_bucket"
WHOLE = -1
"""Stands for the bucket of a table that has none."""
ROW_GROUP_BYTES = 1 << 20
"""Rows in memory that make a row group: the least that is read of a file for the sake of one row."""


@dataclass(frozen=True)
class TableSpec:
    """What a Delta table is: its name (also its folder, and its asset's key), columns, key, partition.

    Files are sorted by ``key``, and pruned by the statistics of its columns and of ``updated_at``; other columns have
    none, and neither have ``text_columns``: the log would copy their values. ``feeds`` turns Delta's change feed on.
    ``evolves``: columns of merged rows that the table does not have are added to it. ``moves``: a key may turn up in
    another bucket, which takes it out of the one where it stood. A file of ``target_bytes`` is continued in another: a
    change rewrites whole files, so they are smaller than those of tables that are only read.
    """

    name: str
    schema: pa.Schema
    key: tuple[str, ...]
    partitioned: bool = True
    text_columns: tuple[str, ...] = ()
    feeds: bool = False
    evolves: bool = False
    moves: bool = False
    target_bytes: int = 32 << 20
    row_group_bytes: int = ROW_GROUP_BYTES

    @property
    def polars_schema(self) -> dict[str, pl.DataType]:
        """Column name → polars type, in order."""
        return dict(pl.from_arrow(self.schema.empty_table()).schema)  # type: ignore[union-attr]

    def in_order(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows as they are to lie in a file."""
        return rows.sort(self.key, nulls_last=False)

    @property
    def measured(self) -> list[str]:
        """The columns that have statistics, in the order of the schema."""
        wanted = {*self.key, "updated_at"} - {*self.text_columns, BUCKET}
        return [name for name in self.schema.names if name in wanted]

    def empty(self) -> pl.DataFrame:
        """No rows, in this table's columns."""
        return pl.DataFrame(schema=self.polars_schema)


@dataclass(frozen=True)
class Contents:
    """What one bucket of a table or index holds: a fingerprint, rows and bytes. Equal fingerprints, equal rows.

    Of a Delta table it is the sum of its rows' hashes (lake_sums.py), so it outlives whatever only moves rows between
    files.
    """

    fingerprint: str
    rows: int
    size_bytes: int


@dataclass(frozen=True)
class Changes:
    """How a table was brought to its desired rows, in rows."""

    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0

    def __add__(self, other: "Changes") -> "Changes":
        return Changes(
            self.inserted + other.inserted,
            self.updated + other.updated,
            self.deleted + other.deleted,
            self.unchanged + other.unchanged,
        )

    @property
    def written(self) -> int:
        """Rows that were inserted, updated or deleted."""
        return self.inserted + self.updated + self.deleted


ABSENT = Contents("absent", 0, 0)


def fingerprint(parts: Iterable[str]) -> str:
    """A 128-bit hash of a sequence of strings, in hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()
