"""Convert rows to the columns and types of a table."""

import polars as pl
import pyarrow as pa

from resources.delta.spec import TableSpec


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
