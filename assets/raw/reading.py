"""How one table is read from one source: the columns to ask for, and its rows in the declared types."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from assets.transforms.source.contract import (
    Difference,
    compare,
    landed_schema,
    read_columns,
    recast_rows,
    text_columns,
)
from assets.transforms.source.schema import SourceTable
from resources.errors import PermanentFailure

Rejects = Callable[[pl.DataFrame], object]
"""Takes rows that cannot be cast, as the source gave them, with a column ``reason``."""
Keep = Callable[[pa.Table], pa.Table]
"""The rows that may be landed, of a batch as the source gave it: those of no erased account."""


def keep_all(rows: pa.Table) -> pa.Table:
    """Every row: nobody was erased."""
    return rows


class SourceTableMissingError(PermanentFailure):
    """The source has no such table, or does not show it."""


class ContractError(PermanentFailure):
    """A source's columns are not the declared ones, and the table's policy, or a lost key, forbids to go on."""


@dataclass(frozen=True)
class Reading:
    """A table as a source has it now; ``columns`` are column → type in the source's own words."""

    difference: Difference
    columns: Mapping[str, str]
    schema: pa.Schema
    keep: Keep = keep_all

    @classmethod
    def of(cls, table: SourceTable, columns: Mapping[str, str], keep: Keep = keep_all) -> "Reading":
        """The reading of a table with those columns. Raises SourceTableMissingError and ContractError."""
        if not columns:
            message = f"The source has no table public.{table.name}, or its role does not see it."
            raise SourceTableMissingError(message)
        difference = compare(table, columns)
        if difference.is_refused:
            message = (
                f"{difference.describe()} No row was read: declare the change in assets/transforms/source/schema.py, "
                "or undo it in the source."
            )
            raise ContractError(message)
        return cls(difference, columns, landed_schema(difference), keep)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns to ask for."""
        return read_columns(self.difference, self.columns)

    @property
    def texts(self) -> frozenset[str]:
        """Those to ask for as text."""
        return text_columns(self.columns)

    def rows(self, batch: pa.RecordBatch, on_rejects: Rejects) -> pa.Table:
        """The rows of a batch that are kept, in the landed types; those that cannot be cast go to ``on_rejects``."""
        rows, rejects = recast_rows(self.schema, self.keep(pa.Table.from_batches([batch])))
        if not rejects.is_empty():
            on_rejects(rejects)
        return rows
