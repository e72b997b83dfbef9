"""The fingerprint of a set of rows: the sum of the rows' hashes, independent of their order and their files."""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from uuid import uuid4

import numpy as np
import polars as pl

from resources.delta.spec import BUCKET

_LANE = 1 << 64
_NAME = re.compile(r"(?:^|/)[0-9a-f]{32}-([0-9a-f]{32})\.parquet$")


def content_sum(rows: pl.DataFrame) -> int:
    """Return the sum of the rows' 128-bit hashes; 0 for no rows.

    A null does not count, so adding a column to a table does not change a row's hash. The bucket does not count
    either. Another version of polars may hash differently: sums then never match, and derived rows are computed again.
    """
    names = tuple(sorted(name for name in rows.columns if name != BUCKET))
    if not rows.height or not names:
        return 0
    lanes = rows.select(_lane(names, 0), _lane(names, 1))
    high, low = (int(np.sum(lane.to_numpy(), dtype=np.uint64)) for lane in lanes)
    return high << 64 | low


@lru_cache(maxsize=256)
def _lane(names: tuple[str, ...], lane: int) -> pl.Expr:
    """Return the expression of a row's 64-bit hash. The two lanes differ in their seeds."""
    hashes = [pl.when(pl.col(name).is_null()).then(0).otherwise(pl.col(name).hash(_seed(name, lane))) for name in names]
    return pl.sum_horizontal(hashes).cast(pl.UInt64).hash(lane).alias(str(lane))


def _seed(name: str, lane: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{lane}{name}".encode(), digest_size=8).digest(), "big")


def add_up(sums: Iterable[int]) -> int:
    """Return the sum of all rows from the sums of parts of them. The two lanes are added separately."""
    lanes = [divmod(value, _LANE) for value in sums]
    return sum(high for high, _ in lanes) % _LANE << 64 | sum(low for _, low in lanes) % _LANE


def file_name(rows_sum: int) -> str:
    """Return a unique name for a new file that ends with the sum of its rows."""
    return f"{uuid4().hex}-{rows_sum:032x}.parquet"


def named_sum(path: str) -> int | None:
    """Return the sum in a file's name, or None for a file of another writer."""
    found = _NAME.search(path)
    return None if found is None else int(found[1], 16)
