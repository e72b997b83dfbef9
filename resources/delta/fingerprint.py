"""What a set of rows is, as one number: the sum of its rows' hashes, whatever their order or their files."""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from uuid import uuid4

import numpy as np
import polars as pl

from resources.delta.spec import BUCKET

_MODULUS = 1 << 128
_NAME = re.compile(r"(?:^|/)[0-9a-f]{32}-([0-9a-f]{32})\.parquet$")


def content_sum(rows: pl.DataFrame) -> int:
    """The sum of the rows' 128-bit hashes, modulo 2**128; of no rows, 0.

    A null counts for nothing, so a row has one hash before and after a column was added to its table. The bucket does
    not count: it is the file's. Another version of polars may hash differently; sums of both never agree, and what
    was derived is then derived once more.
    """
    names = tuple(sorted(name for name in rows.columns if name != BUCKET))
    if not rows.height or not names:
        return 0
    high, low = (
        int(np.sum(lane.to_numpy(), dtype=np.uint64)) for lane in rows.select(_lane(names, 0), _lane(names, 1))
    )
    return high << 64 | low


@lru_cache(maxsize=256)
def _lane(names: tuple[str, ...], lane: int) -> pl.Expr:
    """Each row's hash, of two that differ in their seeds."""
    of_columns = [
        pl.when(pl.col(name).is_null()).then(0).otherwise(pl.col(name).hash(_seed(name, lane))) for name in names
    ]
    return pl.sum_horizontal(of_columns).cast(pl.UInt64).hash(lane).alias(str(lane))


def _seed(name: str, lane: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{lane}{name}".encode(), digest_size=8).digest(), "big")


def add_up(sums: Iterable[int]) -> int:
    """The sum of all rows, from the sums of parts of them; lanes are added apart."""
    high = low = 0
    for value in sums:
        high, low = (high + (value >> 64)) % (1 << 64), (low + value) % (1 << 64)
    return high << 64 | low


def file_name(rows_sum: int) -> str:
    """A name for a new file: never used before, and with the sum of its rows."""
    return f"{uuid4().hex}-{rows_sum % _MODULUS:032x}.parquet"


def named_sum(path: str) -> int | None:
    """The sum in a file's name; None of a file that somebody else wrote."""
    found = _NAME.search(path)
    return None if found is None else int(found[1], 16)
