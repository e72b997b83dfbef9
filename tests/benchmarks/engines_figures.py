"""Figures of a table that every engine must agree on: rows, values, distinct values and sums, as SQL and in polars."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

Answer = Sequence[Sequence[str | None]]
"""Rows of an engine's answer, every value as text."""
REFUSED = "refused"
"""First word of the only row of an answer if the engine did not answer; the second is its reason."""
_RELATIVE = 1e-9
"""Difference of two sums of floats, which depend on the order of the rows."""


@dataclass(frozen=True)
class Dialect:
    """What engines write differently: a name, the milliseconds of a time, the days of a date, the length of a list."""

    quote: str
    milliseconds: str
    days: str
    items: str


SPARK = Dialect("`", "unix_millis({0})", "datediff({0}, date '1970-01-01')", "size({0})")
TRINO = Dialect('"', "round(to_unixtime({0}) * 1000)", "date_diff('day', date '1970-01-01', {0})", "cardinality({0})")
Schema = Mapping[str, pl.DataType]


def query(dialect: Dialect, source: str, schema: Schema, by: Sequence[str] = ()) -> str:
    """Return the SQL of the figures of a table or a subquery, one row for each group ``by``."""
    parts = ["count(*)"]
    for name, dtype in schema.items():
        column = f"{dialect.quote}{name}{dialect.quote}"
        parts += [f"count({column})", f"coalesce(sum({_number(dialect, column, dtype)}), 0)"]
        if _has_distinct(dtype):
            parts.append(f"count(distinct {column})")
    grouped = f" GROUP BY {', '.join(by)}" if by else ""
    return f"SELECT {', '.join([*by, *parts])} FROM {source}{grouped}"


def _number(dialect: Dialect, column: str, dtype: pl.DataType) -> str:
    """Return what is added up of a column: its value, length, or time; for a list the number of its items."""
    if isinstance(dtype, pl.String | pl.Binary):
        return f"length({column})"
    if isinstance(dtype, pl.Boolean):
        return f"CASE WHEN {column} THEN 1 ELSE 0 END"
    if isinstance(dtype, pl.Date):
        return dialect.days.format(column)
    if isinstance(dtype, pl.Datetime):
        return f"CAST({dialect.milliseconds.format(column)} AS DECIMAL(38, 0))"
    if isinstance(dtype, pl.List):
        return f"CASE WHEN {column} IS NOT NULL THEN {dialect.items.format(column)} END"
    return column if dtype.is_float() else f"CAST({column} AS DECIMAL(38, 0))"


def _has_distinct(dtype: pl.DataType) -> bool:
    return not isinstance(dtype, pl.List | pl.Boolean | pl.Datetime)


def in_polars(rows: pl.DataFrame, schema: Schema, by: Sequence[str] = ()) -> Answer:
    """Return the answer of polars to the same question."""
    groups = rows.partition_by(by, as_dict=True) if by else {(): rows}
    return [[*map(str, key), *map(str, _figures(part, schema))] for key, part in groups.items()]


def _figures(rows: pl.DataFrame, schema: Schema) -> list[object]:
    found: list[object] = [rows.height]
    for name, dtype in schema.items():
        values = rows[name].drop_nulls()
        found += [len(values), sum(_of(dtype)(values).to_list())]
        if _has_distinct(dtype):
            found.append(values.n_unique())
    return found


def _of(dtype: pl.DataType) -> Callable[[pl.Series], pl.Series]:
    """Return the function of what is added up of a column."""
    if isinstance(dtype, pl.String):
        return lambda values: values.str.len_chars()
    if isinstance(dtype, pl.Binary):
        return lambda values: values.bin.size()
    if isinstance(dtype, pl.Date):
        return lambda values: values.to_physical()
    if isinstance(dtype, pl.Datetime):
        return lambda values: values.dt.epoch("ms")
    if isinstance(dtype, pl.List):
        return lambda values: values.list.len()
    return lambda values: values


def differences(ours: Answer, theirs: Answer) -> list[str]:
    """Return the figures that differ between two answers, in words. The order of the rows does not matter."""
    if [*map(len, ours)] != [*map(len, theirs)]:
        return [f"{len(ours)} groups of other figures: {str(theirs)[:200]}"]
    pairs = zip(sorted(ours, key=str), sorted(theirs, key=str), strict=True)
    return [
        f"figure {number}: {mine}, not {other}"
        for one, two in pairs
        for number, (mine, other) in enumerate(zip(one, two, strict=True))
        if not _equal(mine, other)
    ]


def _equal(mine: str | None, other: str | None) -> bool:
    if mine == other or mine is None or other is None:
        return mine == other
    try:
        one, two = float(mine), float(other)
    except ValueError:
        return False
    if mine.lstrip("-").isdigit() and other.lstrip("-").isdigit():
        return int(mine) == int(other)
    return one == two or abs(one - two) <= _RELATIVE * max(abs(one), abs(two)) or (one != one and two != two)
