"""The statistics of a new file, as the log carries them: bounds that hold, of the columns that are pruned by."""

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import polars as pl

_TEXT_STATISTICS = 64
"""Characters of a text that enter the statistics."""


class Statistics:
    """Least and greatest values and nulls of some columns, as an add action carries them."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._least: dict[str, Any] = {}
        self._greatest: dict[str, Any] = {}
        self._nulls = dict.fromkeys(columns, 0)

    def add(self, rows: pl.DataFrame) -> None:
        """Count rows."""
        for name in self._columns:
            least: Any = rows[name].min()
            greatest: Any = rows[name].max()
            self._nulls[name] += rows[name].null_count()
            if least is not None:
                self._least[name] = min(self._least.get(name, least), least)
                self._greatest[name] = max(self._greatest.get(name, greatest), greatest)

    def to_json(self, rows: int) -> str:
        """The text of the add action's ``stats``."""
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
    """A value as JSON, or one just below it: of a long text its beginning, of a moment its millisecond."""
    if isinstance(value, str):
        return value[:_TEXT_STATISTICS]
    return _moment(value) if isinstance(value, date) else value


def greatest_bound(value: Any) -> Any:
    """A value as JSON, or one just above it."""
    if isinstance(value, str):
        return value if len(value) <= _TEXT_STATISTICS else value[:_TEXT_STATISTICS] + chr(0x10FFFF)
    if isinstance(value, datetime):
        return _moment(value + timedelta(microseconds=999))
    return _moment(value) if isinstance(value, date) else value


def _moment(value: date) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.") + f"{value.microsecond // 1000:03d}Z"
    return value.isoformat()
