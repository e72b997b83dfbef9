"""Write the rows of a mart as CSV that opens everywhere, and the QuickSight manifest of its files."""

import re
from collections.abc import Sequence

import polars as pl

LINE_BREAKS = r"[\n\r\x{0B}\x{0C}\x{1C}-\x{1E}\x{85}\x{2028}\x{2029}]+"
"""Every character at which some program begins a new line."""
_QUOTED_CELL = re.compile(r'"(?:[^"]|"")*"')
WRITTEN_LIMIT = 2_047
"""QuickSight's longest text. A cell of the CSV is at most this long as it is written, with all of its quotes."""


def ordered(parts: Sequence[pl.LazyFrame], columns: Sequence[str], key: Sequence[str]) -> pl.DataFrame:
    """Return the rows of some parts in the order of the key, with these columns."""
    return pl.concat(parts).select(columns).sort(*key, *columns, nulls_last=True).collect()


def as_csv(rows: pl.DataFrame) -> bytes:
    """Return rows as RFC 4180 text: UTF-8, no BOM, a header, one physical line per row, times in UTC, 0 and 1.

    Null is an empty cell; an empty text is two quotes. `escaped` says how a text is written.
    """
    flat = rows.with_columns(
        pl.col(pl.Boolean).cast(pl.Int8),
        escaped(pl.col(pl.String)),
        pl.col(pl.Datetime("us", "UTC")).dt.strftime("%Y-%m-%d %H:%M:%S"),
    )
    return flat.write_csv(quote_style="non_numeric", line_terminator="\r\n").encode()


def escaped(text: pl.Expr) -> pl.Expr:
    """Return texts as they are written to CSV: in one line, no formula, and short enough.

    A text whose first character, after spaces, is =, +, - or @ gets an apostrophe before it, or a spreadsheet would
    compute it. Each text is cut so that its cell has at most WRITTEN_LIMIT characters, with all quotes.
    """
    return _written(in_one_line(text).str.replace(r"^(\s*[=+\-@＝＋－＠])", "'${1}"))


def in_one_line(text: pl.Expr) -> pl.Expr:
    """Return texts in one line: line breaks become ` ¶ `, tabs become spaces, other controls are left out."""
    joined = text.str.replace_all(LINE_BREAKS, " ¶ ").str.replace_all("\t", " ", literal=True)
    return joined.str.replace_all(r"\p{Cc}", "")


def _written(text: pl.Expr) -> pl.Expr:
    """Return texts whose cells fit: the writer doubles each quote, and puts two around the text."""
    doubled = text.str.replace_all('"', '""', literal=True).str.slice(0, WRITTEN_LIMIT - 2)
    halved = doubled.str.extract(r'("+)$', 1).str.len_bytes().fill_null(0) % 2 == 1  # the cut divides a pair
    whole = pl.when(halved).then(doubled.str.head(-1)).otherwise(doubled)
    return whole.str.replace_all('""', '"', literal=True)


def longest_cell(body: bytes) -> int:
    """Return the number of characters of the longest quoted cell of a CSV file, as it is written."""
    return max(map(len, _QUOTED_CELL.findall(body.decode())), default=0)


def quicksight_manifest(prefix: str) -> dict[str, object]:
    """Return the manifest of the CSV files under an s3:// prefix."""
    return {
        "fileLocations": [{"URIPrefixes": [prefix]}],
        "globalUploadSettings": {
            "format": "CSV",
            "delimiter": ",",
            "textqualifier": '"',
            "containsHeader": "true",
        },
    }
