"""Compute the column statistics of a new file, as its add action in the log carries them."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

_TEXT_CHARACTERS = 64
"""Length of a text in the statistics; a longer one is cut."""


class Statistics:
    """Least and greatest values and null counts of some columns of a file."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns, self._parts = list(columns), list[pl.DataFrame]()

    def add(self, rows: pl.DataFrame) -> None:
        """Include rows."""
        kinds = {"min": pl.all().min(), "max": pl.all().max(), "nulls": pl.all().null_count()}
        found = rows.select(self._columns).select(value.name.prefix(f"{kind} ") for kind, value in kinds.items())
        self._parts.append(found)

    def to_json(self, rows: int) -> str:
        """Return the text of the add action's ``stats``."""
        parts = pl.concat(self._parts)
        least: dict[str, Any] = {name: parts[f"min {name}"].min() for name in self._columns}
        greatest: dict[str, Any] = {name: parts[f"max {name}"].max() for name in self._columns}
        return json.dumps(
            {
                "numRecords": rows,
                "minValues": _known({name: least_bound(value) for name, value in least.items()}),
                "maxValues": _known({name: greatest_bound(value) for name, value in greatest.items()}),
                "nullCount": {name: int(parts[f"nulls {name}"].sum()) for name in self._columns},
            },
            separators=(",", ":"),
        )


def _known(bounds: Mapping[str, Any]) -> dict[str, Any]:
    return {name: bound for name, bound in bounds.items() if bound is not None}


def least_bound(value: Any) -> Any:
    """Return a value as JSON, or a bound just below it: the start of a long text, the millisecond of a timestamp.

    None if there is no value, or if JSON has no number for it (NaN, infinity). Readers then skip no file by the column.
    """
    if isinstance(value, str):
        return value[:_TEXT_CHARACTERS]
    return _as_json(value)


def greatest_bound(value: Any) -> Any:
    """Return a value as JSON, or a bound just above it; None where ``least_bound`` does, and if there is none above."""
    if isinstance(value, str):
        return value if len(value) <= _TEXT_CHARACTERS else value[:_TEXT_CHARACTERS] + chr(0x10FFFF)
    if isinstance(value, datetime):
        rounding = timedelta(microseconds=-value.microsecond % 1000)
        try:
            return _as_json(value + rounding)
        except OverflowError:  # the last millisecond of the year 9999
            return None
    return _as_json(value)


def _as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
