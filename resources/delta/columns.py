"""Rows in the columns of a table: typed, filled up, and as Delta spells their types."""

import polars as pl
import pyarrow as pa

from resources.delta.merge import FILE


def typed(rows: pl.DataFrame, schema: pa.Schema, *, only_given: bool = False) -> pl.DataFrame:
    """Rows in the columns and types of a table; columns that they lack are null, or left out with ``only_given``."""
    types = pl.DataFrame(pl.from_arrow(schema.empty_table())).schema
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in types.items()
        if name in rows.columns or not only_given
    )


def no_standing(rows: pl.DataFrame) -> pl.DataFrame:
    """No standing rows, in the columns of others."""
    return rows.clear().with_columns(pl.lit(None, pl.UInt32).alias(FILE))


def arrow_schema(rows: pl.DataFrame) -> pa.Schema:
    """The columns of rows as Delta knows them: Arrow's large types are the plain ones there."""
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
