"""Read one table of one source: select its columns and cast its rows to the declared types."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from assets.transforms.source.contract import (
    Difference,
    compare,
    landed_schema,
    list_columns,
    read_columns,
    recast_rows,
    text_columns,
)
from assets.transforms.source.schema import Policy, SourceTable
from resources.errors import PermanentFailure

Rejects = Callable[[pl.DataFrame], object]
"""Called with rows that cannot be cast, as the source gave them, with a column REASON."""
Keep = Callable[[pa.Table], pa.Table]
"""Filters a batch of the source: drops rows of erased accounts."""


def keep_all(rows: pa.Table) -> pa.Table:
    """Keep every row."""
    return rows


class SourceTableMissingError(PermanentFailure):
    """The source has no such table, or its role does not see it."""


class ContractError(PermanentFailure):
    """A source's columns differ from the declared columns in a way that forbids reading."""


@dataclass(frozen=True)
class Reading:
    """How to read a table now; ``columns`` is column → type in the source's own type names."""

    difference: Difference
    columns: Mapping[str, str]
    schema: pa.Schema
    keep: Keep = keep_all

    @classmethod
    def of(
        cls, table: SourceTable, columns: Mapping[str, str], keep: Keep, lake_columns: Callable[[], Iterable[str]]
    ) -> "Reading":
        """Return how to read a table with those columns. Raise SourceTableMissingError or ContractError.

        ``lake_columns`` is called only if the source has undeclared columns: opening the lake table costs requests.
        """
        if not columns:
            raise SourceTableMissingError(
                f"The source has no table public.{table.name}, or its role does not see it; create it or GRANT SELECT."
            )
        may_add = table.policy is Policy.EVOLVE and not columns.keys() <= set(table.schema.names)
        difference = compare(table, columns, lake_columns() if may_add else ())
        if difference.is_refused:
            raise ContractError(
                f"{difference.describe()} No row was read: declare the change in assets/transforms/source/schema.py, "
                "or undo it in the source."
            )
        return cls(difference, columns, landed_schema(difference), keep)

    @property
    def names(self) -> tuple[str, ...]:
        """Return the columns to read."""
        return read_columns(self.difference, self.columns)

    @property
    def texts(self) -> frozenset[str]:
        """Return the columns to read as text."""
        return text_columns(self.columns)

    @property
    def lists(self) -> frozenset[str]:
        """Return the columns that are arrays."""
        return list_columns(self.columns)

    def rows(self, batch: pa.RecordBatch, on_rejects: Rejects) -> pa.Table:
        """Return the kept rows of a batch, cast to the landed types. Rows that cannot be cast go to ``on_rejects``."""
        rows, rejects = recast_rows(self.schema, self.keep(pa.Table.from_batches([batch])))
        if not rejects.is_empty():
            on_rejects(rejects)
        return rows
