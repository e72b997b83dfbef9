"""`cippus export`: a mart as a CSV, Parquet or Excel file, or all marts as a DuckDB file, for people without S3."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.cli.terminal import Json, err, out, print_json, require_stack, require_utf8, shown
from resources.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from resources.delta.table import TableSpec


_OF_VERTICALS = {"vertical", "verticals", "top_vertical"}
"""Columns of marts that name verticals."""


class Format(StrEnum):
    """The kinds of files; the end of a file's name says which."""

    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"
    DUCKDB = "duckdb"


def export(
    what: Annotated[str, typer.Argument(help="A mart, such as mart/creators, or `all` for a DuckDB file.")],
    file: Annotated[Path, typer.Argument(help="File to write; an existing one is replaced.")],
    format_: Annotated[
        Format | None, typer.Option("--format", help="Kind of file; by default the end of its name says it.")
    ] = None,
    where: Annotated[
        str, typer.Option(help="Rows to keep, as an SQL condition, such as \"country = 'DE' AND followers > 1000\".")
    ] = "",
    as_json: Json = False,
) -> None:
    """Write a mart, or all of them, to a file on this machine."""
    from assets.marts.tables import MARTS

    require_utf8("The condition", where)
    marts = {spec.name: spec for spec in MARTS}
    kind = _kind(file, format_)
    if what != "all" and what not in marts:
        message = f"{what} is no mart; expected all, {', '.join(marts)}."
        raise InputError(message)
    if (what == "all") != (kind is Format.DUCKDB):
        message = "All marts go into one DuckDB file: cippus export all marts.duckdb; other files hold one mart."
        raise InputError(message)
    if what == "all" and where:
        message = "--where selects rows of one mart; leave it out to export all."
        raise InputError(message)
    _require_place(file)
    require_stack()
    from assets.audit import Audit
    from pipelines.cli.files import duckdb_file, spreadsheet_rows, table_file
    from resources import person
    from resources.spend.store import S3Store
    from resources.wiring import resources

    lake, spec = resources().lake, marts.get(what)
    if spec is None:
        write = partial(duckdb_file.write, file, MARTS, lake)
    else:
        writers = {Format.CSV: table_file.csv, Format.PARQUET: table_file.parquet, Format.XLSX: spreadsheet_rows.xlsx}
        write = partial(writers[kind], file, selected(lake.scan(spec).select(spec.schema.names), where, spec), spec)
    Audit(S3Store(lake.s3)).record(person.at_terminal(), "export", f"exported {what} as {kind.value}")
    with err.status(f"exporting {shown(what)}"):
        rows = write()
    decided = _overrides(MARTS if spec is None else [spec])
    for sentence in decided.values():
        err.print(shown(sentence), highlight=False, soft_wrap=True)
    if as_json:
        print_json({"file": str(file), "rows": rows, "overrides": decided})
    else:
        out.print(f"{shown(file)}: {rows:,} rows of {shown(what)}.", highlight=False, soft_wrap=True)


def _overrides(marts: "Sequence[TableSpec]") -> dict[str, str]:
    """Return what people decided about verticals, if one of the marts has a column of them."""
    from resources.catalogues import load_verticals, overrides_of

    if not any(name in _OF_VERTICALS for spec in marts for name in spec.schema.names):
        return {}
    return overrides_of(found.name for found in load_verticals())


def _kind(file: Path, format_: Format | None) -> Format:
    if format_ is not None:
        return format_
    try:
        return Format(file.suffix.removeprefix(".").lower())
    except ValueError:
        message = f"{file.name} does not end in .csv, .parquet, .xlsx or .duckdb; say --format."
        raise InputError(message) from None


def _require_place(file: Path) -> None:
    if file.is_dir():
        message = f"{file} is a folder; expected a file to write."
        raise InputError(message)
    if file.exists() and not file.is_file():  # it would be replaced, and root may replace a device
        message = f"{file} is a device or a pipe; expected a file to write."
        raise InputError(message)
    if not file.resolve().parent.is_dir():
        message = f"{file.resolve().parent} is not a folder; expected one to write {file.name} into."
        raise InputError(message)


def selected(rows: "pl.LazyFrame", where: str, spec: "TableSpec") -> "pl.LazyFrame":
    """Return the rows that meet a condition, in the order of the mart's key. Raise InputError for one that is none."""
    import polars as pl

    ordered = rows.sort(spec.key, nulls_last=True)
    if not where:
        return ordered
    try:
        found = ordered.filter(pl.sql_expr(where))
        spec.empty().lazy().filter(pl.sql_expr(where)).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        said = str(error).splitlines()[0]
        message = f"--where {where!r} cannot be used: {said}. The columns are {', '.join(spec.schema.names)}."
        raise InputError(message) from None
    return found
