"""Read the rows of a label file: Parquet, CSV or JSON lines."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pyarrow as pa

from assets.transforms.delimited import Table, UnusableReportError
from assets.transforms.source.contract import recast_rows, recast_table
from assets.transforms.source.schema import LABELS_SCHEMA, OPTIONAL_LABEL_COLUMNS, REASON

FORMATS = (".parquet", ".csv", ".jsonl")
"""Ends of the names of label files, in lower case."""
_REJECT = {"reason": pl.String, "row": pl.String}
_TRUTH = {
    **dict.fromkeys(("true", "t", "yes", "y", "1", "1.0"), "true"),
    **dict.fromkeys(("false", "f", "no", "n", "0", "0.0"), "false"),
}
_LINES_AT_ONCE = 16_384
_TRUTH_COLUMNS = ("is_member", "is_review")


class UnusableLabelsError(ValueError):
    """No label of a file can be used. The message is the reason, one clause."""


def rows_of_csv(body: bytes) -> Iterator[pa.Table]:
    """Yield the labels of delimited text, in the columns of ``as_labels``. Any separator and encoding of spreadsheets.

    A row with another number of cells than the header is a reject.
    """
    try:
        text = Table(body, lambda header: header.strip().casefold() in LABELS_SCHEMA.names)
        names = [name.strip().casefold() for name in text.header]
        _require_columns(names)
        repeated = [name for name in LABELS_SCHEMA.names if names.count(name) > 1]
        if repeated:
            raise UnusableLabelsError(f"the file has {names.count(repeated[0])} columns {repeated[0]}")
        yield from _batches(_of_cells(text, names))
    except UnusableReportError as error:
        raise UnusableLabelsError(str(error)) from None


def rows_of_json_lines(body: bytes) -> Iterator[pa.Table]:
    """Yield the labels of JSON lines in UTF-8, one object a line, in the columns of ``as_labels``.

    A line that is no object, or that lacks a column, is a reject. If every line is a reject, the file is refused.
    """
    try:
        lines = body.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise UnusableLabelsError("the file is not text in UTF-8") from None
    found = [_of_line(line) for line in lines if line.strip()]
    if not found:
        raise UnusableLabelsError("the file is empty")
    if all(isinstance(row, str) for row, _ in found):
        raise UnusableLabelsError(f"no line of the file is a label; in the first, {found[0][0]}")
    yield from _batches(iter(found))


def as_labels(rows: pa.Table) -> pa.Table:
    """Return rows of any types in LABELS_SCHEMA, with the columns ``reason`` and ``row``, null unless it is a reject.

    A row with a value that cannot be cast, such as a time out of range, is a reject, with all of its values as JSON in
    ``row``. Where a truth value is due, 0 and 1, and texts such as yes and no, are truth values. Ids may be numbers,
    also whole ones that pandas wrote as doubles.
    """
    given = rows = _decoded(rows)
    if "item_id" in rows.column_names and pa.types.is_floating(rows["item_id"].type):
        given = given.set_column(given.column_names.index("item_id"), "item_id", _as_whole(rows["item_id"]))
    for name in _TRUTH_COLUMNS:
        if name in rows.column_names:  # sources that know no booleans write numbers or texts
            given = given.set_column(given.column_names.index(name), name, _as_truth(rows[name]))
    cast, rejects = recast_rows(LABELS_SCHEMA, given)
    usable = pl.DataFrame(pl.from_arrow(cast))
    named = pl.Schema(_REJECT)
    frames = [usable.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in named.items())]
    if not rejects.is_empty():
        values = rejects.drop(REASON)
        bare = pl.DataFrame(pl.from_arrow(recast_table(LABELS_SCHEMA, values.to_arrow())))
        shown = values.select(row=pl.struct(pl.all()).struct.json_encode())
        frames.append(bare.with_columns(rejects[REASON].alias("reason"), shown["row"]))
    return pl.concat(frames).to_arrow(compat_level=pl.CompatLevel.oldest())


def _decoded(rows: pa.Table) -> pa.Table:
    """Return dictionaries, which pandas writes for categories, as the values that they stand for."""
    for at, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(at, field.name, rows[field.name].cast(field.type.value_type))
    return rows


def _as_whole(column: pa.ChunkedArray) -> pa.Array:
    """Return numbers as texts: whole ones without a decimal point, and NaN, which is a missing value, as null."""
    numbers = pl.Series(pl.from_arrow(column)).cast(pl.Float64).fill_nan(None)
    whole = numbers.cast(pl.Int64, strict=False)
    is_whole = (whole.cast(pl.Float64) == numbers) & (numbers.abs() < 2**53)
    return whole.cast(pl.String).zip_with(is_whole.fill_null(value=False), numbers.cast(pl.String)).to_arrow()


def require_label_columns(names: list[str]) -> None:
    """Raise UnusableLabelsError if a column that every label file has is missing."""
    _require_columns(names)


def _require_columns(names: list[str]) -> None:
    missing = [name for name in LABELS_SCHEMA.names if name not in {*names, *OPTIONAL_LABEL_COLUMNS}]
    if missing:
        raise UnusableLabelsError(f"the file has no column {missing[0]}")


_Row = tuple[dict[str, Any] | str, str]
"""The values of a row, or the reason why it is none; and the row as JSON."""


def _of_cells(text: Table, names: list[str]) -> Iterator[_Row]:
    for number, cells in text.lines():
        fitted = text.fitted(cells)
        if fitted is None:
            shown = json.dumps({"line": number, "cells": cells}, ensure_ascii=False)
            yield f"line {number} has {len(cells)} cells, and the header has {len(names)}", shown
        else:
            values = {name: cell or None for name, cell in zip(names, fitted, strict=True)}
            yield {name: values.get(name) for name in LABELS_SCHEMA.names}, ""


def _of_line(line: str) -> _Row:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return "the line is not JSON", json.dumps({"line": line[:1_000]}, ensure_ascii=False)
    if not isinstance(found, dict):
        return "the line is not a JSON object", json.dumps({"line": line[:1_000]}, ensure_ascii=False)
    missing = [name for name in LABELS_SCHEMA.names if name not in {*found, *OPTIONAL_LABEL_COLUMNS}]
    if missing:
        return f"the line has no {missing[0]}", json.dumps(found, ensure_ascii=False)
    return {name: _as_cell(found.get(name)) for name in LABELS_SCHEMA.names}, ""


def _as_cell(value: object) -> str | None:
    """Return a JSON value as text, as a cell of CSV has it."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _batches(rows: Iterator[_Row]) -> Iterator[pa.Table]:
    """Yield rows as tables: first one without rows."""
    good: list[dict[str, Any]] = []
    bad: list[tuple[str, str]] = []
    yield _table([], [])
    for row, shown in rows:
        if isinstance(row, str):
            bad.append((row, shown))
        else:
            good.append(row)
        if len(good) + len(bad) >= _LINES_AT_ONCE:
            yield _table(good, bad)
            good, bad = [], []
    yield _table(good, bad)


def _table(good: list[dict[str, Any]], bad: list[tuple[str, str]]) -> pa.Table:
    texts = pa.schema([(name, pa.string()) for name in LABELS_SCHEMA.names])
    labels = as_labels(pa.Table.from_pylist([_utf8(row) for row in good], schema=texts))
    rejects = pa.Table.from_pylist([_utf8({"reason": reason, "row": row}) for reason, row in bad], schema=labels.schema)
    return pa.concat_tables([labels, rejects])


def _utf8(row: dict[str, Any]) -> dict[str, Any]:
    """Replace halves of surrogate pairs, which JSON may write and UTF-8 has not."""
    return {name: None if value is None else value.encode(errors="replace").decode() for name, value in row.items()}


def _as_truth(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column with 0 and 1 as false and true, if all of its numbers are; with yes and no as true and false."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        texts = pl.Series(pl.from_arrow(values))
        known = texts.str.strip_chars().str.to_lowercase().replace_strict(_TRUTH, default=None, return_dtype=pl.String)
        return pa.chunked_array([known.zip_with(known.is_not_null(), texts).to_arrow(compat_level=_OLDEST)])
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return values
    numbers = pl.Series(pl.from_arrow(values))
    if not ((numbers == 0) | (numbers == 1)).all():
        return values
    return pa.chunked_array([(numbers == 1).to_arrow()])


_OLDEST = pl.CompatLevel.oldest()
READERS: dict[str, Callable[[bytes], Iterator[pa.Table]]] = {".csv": rows_of_csv, ".jsonl": rows_of_json_lines}
"""End of a file's name → its reader; Parquet is read by the caller."""
