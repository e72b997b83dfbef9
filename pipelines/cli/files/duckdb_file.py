"""A DuckDB file of all marts, which any BI tool with a DuckDB driver opens."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
import polars as pl

from pipelines.cli.files.table_file import replacing
from resources.delta.table import WHOLE, LakeResource, TableSpec


def write(file: Path, marts: Sequence[TableSpec], lake: LakeResource) -> int:
    """Write a table per mart and return the number of rows. Memory: the largest bucket of a mart.

    Times are naive and in UTC: programs show a time with a zone in their own. Texts have no control characters but line
    feeds and tabs: DuckDB's shell shows them. Each column has its description as a comment, and the table ``columns``
    lists them all.
    """
    with replacing(file) as path, duckdb.connect(str(path)) as connection:
        rows = sum(_write_mart(connection, spec, lake) for spec in marts)
        described = [(_name(spec), name, column.description) for spec in marts for name, column in spec.columns.items()]
        meanings = pl.DataFrame(described, schema=["mart", "column", "meaning"], orient="row")
        connection.register("found", meanings.to_arrow())
        connection.execute("CREATE TABLE columns AS SELECT * FROM found")
        connection.unregister("found")
        return rows


def _write_mart(connection: duckdb.DuckDBPyConnection, spec: TableSpec, lake: LakeResource) -> int:
    rows = 0
    for number, part in enumerate(_parts(spec, lake)):
        connection.register("found", part.to_arrow())
        verb = f"INSERT INTO {_name(spec)}" if number else f"CREATE TABLE {_name(spec)} AS"
        connection.execute(f"{verb} SELECT * FROM found")  # noqa: S608 -- names of our own tables
        connection.unregister("found")
        rows += part.height
    for name, column in spec.columns.items():
        text = column.description.replace("'", "''")
        connection.execute(f"COMMENT ON COLUMN {_name(spec)}.\"{name}\" IS '{text}'")
    return rows


def _parts(spec: TableSpec, lake: LakeResource) -> Iterable[pl.DataFrame]:
    """Yield no rows, for the columns, and then the rows of each bucket in the order of the key."""
    yield _shown(spec.empty())
    for bucket in sorted(lake.contents(spec)):
        rows = lake.scan(spec, None if bucket == WHOLE else bucket).select(spec.schema.names)
        yield _shown(rows.sort(spec.key, nulls_last=True).collect())


def _shown(rows: pl.DataFrame) -> pl.DataFrame:
    plain = pl.col(pl.String).str.replace_all(r"[\p{Cc}--[\n\t]]", "")
    return rows.with_columns(plain, pl.col(pl.Datetime("us", "UTC")).dt.replace_time_zone(None))


def _name(spec: TableSpec) -> str:
    return spec.name.removeprefix("mart/")
