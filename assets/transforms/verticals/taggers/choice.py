"""Choose the method that tags: another replaces the first only if it is better beyond chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

_RESAMPLES, _SEED = 1_000, 1
_LOWEST = 2.5
"""Percentile of the bootstrap that has to lie above 0."""


@dataclass(frozen=True)
class Comparison:
    """Macro-F1 of two methods on the same items, and the 95 % interval of the difference."""

    first: float
    second: float
    low: float
    high: float


def compare(calls: pl.DataFrame, first: str, second: str) -> Comparison:
    """Compare two methods by a paired bootstrap over accounts.

    ``calls`` has (method, account_id, vertical, is_member, is_called), the same items for both.
    """
    tables = _counts(calls, [first, second])  # (methods, accounts, verticals, 3)
    draw = np.random.default_rng(_SEED)
    accounts = tables.shape[1]
    if not accounts:
        return Comparison(0.0, 0.0, 0.0, 0.0)
    flat = tables.reshape(2, accounts, -1)
    weights = draw.multinomial(accounts, np.full(accounts, 1 / accounts), size=_RESAMPLES).astype(np.float64)
    resampled = (weights @ flat).reshape(2, _RESAMPLES, *tables.shape[2:])
    differences = _macro_f1(resampled[1]) - _macro_f1(resampled[0])
    low, high = np.percentile(differences, [_LOWEST, 100 - _LOWEST])
    whole = _macro_f1(tables.sum(axis=1))
    return Comparison(float(whole[0]), float(whole[1]), float(low), float(high))


def choose(calls: pl.DataFrame, methods: Sequence[str]) -> str:
    """Return the first method, or a later one whose difference from the best so far lies above 0."""
    best = methods[0]
    for other in methods[1:]:
        mine = calls.filter(pl.col("method") == other)
        if mine.is_empty():
            continue
        shared = calls.join(mine.select("item_id", "vertical"), on=["item_id", "vertical"], how="semi")
        if compare(shared, best, other).low > 0:
            best = other
    return best


def _counts(calls: pl.DataFrame, methods: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return true positives, called and members, shape (methods, accounts, verticals, 3)."""
    accounts, verticals = calls["account_id"].unique().sort(), calls["vertical"].unique().sort()
    found = np.zeros((len(methods), len(accounts), len(verticals), 3))
    for number, method in enumerate(methods):
        rows = calls.filter(pl.col("method") == method)
        places = (
            rows["account_id"].cast(pl.Enum(accounts)).to_physical().to_numpy(),
            rows["vertical"].cast(pl.Enum(verticals)).to_physical().to_numpy(),
        )
        called, member = rows["is_called"].to_numpy(), rows["is_member"].to_numpy()
        for place, values in enumerate((called & member, called, member)):
            np.add.at(found[number, :, :, place], places, values)
    return found


def _macro_f1(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean F1 over the verticals, for each leading index; the last axes are (verticals, 3)."""
    hits, called, members = np.moveaxis(counts, -1, 0)
    return np.asarray((2 * hits / np.maximum(called + members, 1)).mean(axis=-1))
