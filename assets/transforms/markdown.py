"""Show rows as a Markdown table in which no text is markup."""

import re

import polars as pl

from assets.transforms.text.cleaning import printable

_MARKUP = re.compile(r"[\\`*_\[\]<>|~$&#!]")


def as_markdown(text: str) -> str:
    """Return a text for a cell of a Markdown table: one line, and no character of it is markup."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", printable(text))


def markdown_table(rows: pl.DataFrame, limit: int | None = None) -> str:
    """Return rows as a Markdown table. A text of more than ``limit`` characters is cut."""
    lines = [f"| {' | '.join(rows.columns)} |", f"|{'---|' * rows.width}"]
    return "\n".join([*lines, *(f"| {' | '.join(_cell(value, limit) for value in row)} |" for row in rows.iter_rows())])


def _cell(value: object, limit: int | None) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return as_markdown(text if limit is None or len(text) <= limit else f"{text[: limit - 1]}…")
