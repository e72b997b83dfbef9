"""Excel files of a mart: a sheet of rows, and a sheet that says what the columns mean."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import xlsxwriter

from assets.transforms.marts.csv_files import in_one_line
from pipelines.cli.files.table_file import replacing
from resources.delta.table import TableSpec
from resources.errors import InputError

MOST_ROWS, MOST_CHARACTERS = 1_048_575, 32_767
"""What a sheet and a cell hold; the header is one more row."""
_FIRST_DAY = date(1900, 3, 1)
"""Earlier dates are texts: programs disagree on the days of 1900."""


def xlsx(file: Path, rows: pl.LazyFrame, spec: TableSpec) -> int:
    """Write typed cells: no text is a formula or a link. Texts are in one line and cut to MOST_CHARACTERS.

    U+FFFE and U+FFFF are left out, because XML has no such characters. Raises InputError for more rows than a sheet
    holds.
    """
    found = rows.with_columns(cell_text(pl.col(pl.String))).collect()
    if found.height > MOST_ROWS:
        message = f"{found.height:,} rows are more than a sheet holds ({MOST_ROWS:,}); add --where, or write .csv."
        raise InputError(message)
    with replacing(file) as path, xlsxwriter.Workbook(str(path), {"constant_memory": True}) as book:
        _write_rows(book, found)
        _write_meanings(book, spec)
    return found.height


def cell_text(text: pl.Expr) -> pl.Expr:
    """Return texts as cells hold them."""
    return in_one_line(text).str.replace_all(r"[\x{FFFE}\x{FFFF}]", "").str.slice(0, MOST_CHARACTERS)


def _write_rows(book: Any, rows: pl.DataFrame) -> None:
    bold = book.add_format({"bold": True})
    formats = {
        pl.Date: book.add_format({"num_format": "yyyy-mm-dd"}),
        pl.Datetime: book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
    }
    sheet = book.add_worksheet("rows")
    sheet.freeze_panes(1, 1)
    sheet.set_column(0, max(0, rows.width - 1), 18)
    sheet.write_row(0, 0, rows.columns, bold)
    shown = [formats.get(dtype.base_type()) for dtype in rows.dtypes]
    for number, row in enumerate(rows.iter_rows(), 1):
        for place, value in enumerate(row):
            _write(sheet, number, place, value, shown[place])


def _write(sheet: Any, row: int, place: int, value: Any, shown: Any) -> None:
    if isinstance(value, bool):
        sheet.write_boolean(row, place, value)
    elif isinstance(value, datetime | date):
        day = value.date() if isinstance(value, datetime) else value
        if day < _FIRST_DAY:
            sheet.write_string(row, place, str(value))
        else:
            naive = value.replace(tzinfo=None) if isinstance(value, datetime) else value
            sheet.write_datetime(row, place, naive, shown)
    elif isinstance(value, str):
        sheet.write_string(row, place, value)
    elif value is not None and abs(value) <= 2**53:
        sheet.write_number(row, place, value)
    elif value is not None:  # a sheet's numbers are doubles: this one would be rounded
        sheet.write_string(row, place, str(value))


def _write_meanings(book: Any, spec: TableSpec) -> None:
    sheet = book.add_worksheet("columns")
    sheet.set_column(0, 0, 32)
    sheet.set_column(1, 1, 120)
    sheet.write_row(0, 0, ["column", "meaning"], book.add_format({"bold": True}))
    for number, (name, column) in enumerate(spec.columns.items(), 1):
        sheet.write_string(number, 0, name)
        sheet.write_string(number, 1, column.description)
