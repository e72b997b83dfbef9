"""Compute the column statistics of a new file, as its add action in the log carries them."""

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

_TEXT_CHARACTERS = 64
"""Length of a text in the statistics; a longer one is cut."""


class Statistics:
    """Least and greatest values and null counts of some columns of a file."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._least: dict[str, Any] = {}
        self._greatest: dict[str, Any] = {}
        self._nulls = dict.fromkeys(columns, 0)

    def add(self, rows: pl.DataFrame) -> None:
        """Include rows."""
        for name in self._columns:
            least: Any = rows[name].min()
            greatest: Any = rows[name].max()
            self._nulls[name] += rows[name].null_count()
            if least is not None:
                self._least[name] = min(self._least.get(name, least), least)
                self._greatest[name] = max(self._greatest.get(name, greatest), greatest)

    def to_json(self, rows: int) -> str:
        """Return the text of the add action's ``stats``."""
        return json.dumps(
            {
                "numRecords": rows,
                "minValues": {name: least_bound(value) for name, value in self._least.items()},
                "maxValues": {name: greatest_bound(value) for name, value in self._greatest.items()},
                "nullCount": self._nulls,
            },
            separators=(",", ":"),
        )


def least_bound(value: Any) -> Any:
    """Return a value as JSON, or a bound just below it: the start of a long text, the millisecond of a timestamp."""
    if isinstance(value, str):
        return value[:_TEXT_CHARACTERS]
    return _timestamp(value) if isinstance(value, date) else value


def greatest_bound(value: Any) -> Any:
    """Return a value as JSON, or a bound just above it."""
    if isinstance(value, str):
        return value if len(value) <= _TEXT_CHARACTERS else value[:_TEXT_CHARACTERS] + chr(0x10FFFF)
    if isinstance(value, datetime):
        return _timestamp(value + timedelta(microseconds=999))
    return _timestamp(value) if isinstance(value, date) else value


def _timestamp(value: date) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    return value.isoformat()
