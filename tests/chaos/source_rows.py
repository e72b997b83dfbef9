"""Rows that the application of a chaos run writes: few keys, owners of every bucket, values that need quoting."""

import random
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pyarrow as pa

from assets.transforms.source.schema import SourceTable, account_bucket
from tests.chaos.steps import BUCKETS

EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
_KEYS = 14
_WORDS = ("vegan recipes", "O'Brien", "", "naïve ☕", "a\nb\tc", '"quoted"', "\\", "x" * 40, "NULL", "日本", None)


def keys_of(table: SourceTable) -> list[str]:
    """Return the keys of the rows."""
    return [f"{table.name[0]}'{number}" if number % 5 == 0 else f"key-{number}" for number in range(_KEYS)]


@cache
def owners() -> tuple[str, ...]:
    """Return an owner of every bucket, and two of the first."""
    numbered = [f"owner-{number}" for number in range(40)]
    first = [next(it for it in numbered if account_bucket(it, BUCKETS) == bucket) for bucket in range(BUCKETS)]
    return (*first, next(it for it in numbered if it not in first and account_bucket(it, BUCKETS) == 0))


def row(table: SourceTable, key: str, draw: random.Random) -> dict[str, Any]:
    """Return the values of a live row by column, without `updated_at`."""
    return {
        item.name: key if item.name == table.key else _value(table, item, draw)
        for item in table.schema
        if item.name != "updated_at"
    }


def _value(table: SourceTable, column: pa.Field, draw: random.Random) -> Any:
    if column.name in table.owner_columns:
        return draw.choice(owners() if column.name in table.required else (*owners(), None))
    if column.name == "network":
        return draw.choice(("youtube", "x"))
    if column.name == "deleted_at":
        return None
    if pa.types.is_list(column.type):
        return draw.choice([None, [], ["a"], ["b", "ünï", "a"]])
    if pa.types.is_timestamp(column.type):
        return draw.choice([None, EPOCH + timedelta(microseconds=draw.randrange(10**14))])
    if pa.types.is_integer(column.type):
        return draw.choice([None, 1, 5] if column.name == "rating" else [None, 0, -1, 2**53 + 1, 7])
    return draw.choice(_WORDS)
