"""Fit the threshold of a vertical's tag on labels, and tag."""

import zlib
from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import polars as pl

from assets.transforms.verticals.scoring import by_vertical

MIN_PER_CLASS = 5
"""With fewer labelled members or non-members a fitted threshold is noise, and the catalogue's default is used."""


def best_threshold(scores: npt.NDArray[np.float64], member: npt.NDArray[np.bool_]) -> float:
    """Return the threshold whose rule "score ≥ threshold is a member" has the highest F1; the highest of equals.

    It lies midway between the last score that is a member and the first that is not.
    """
    order = np.argsort(-scores)
    ranked, hits = scores[order], np.cumsum(member[order])
    ratios = 2 * hits / (np.arange(1, len(ranked) + 1) + member.sum())
    # Only the last of equal scores is a place to cut.
    ratios[:-1][ranked[:-1] == ranked[1:]] = -1.0
    cut = int(np.argmax(ratios))
    return float(ranked[cut : cut + 2].mean())


def fit(
    scores: npt.NDArray[np.float64], member: npt.NDArray[np.bool_], folds: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Return a threshold fitted on all items, and its F1 over all folds, each called by a threshold fitted without it.

    A fold is not called if no other fold has a member.
    """
    called = np.zeros(len(member), dtype=np.bool_)
    for fold in np.unique(folds):
        left_out = folds == fold
        if member[~left_out].any():
            called[left_out] = scores[left_out] >= best_threshold(scores[~left_out], member[~left_out])
    f1 = 2 * (called & member).sum() / (called.sum() + member.sum())
    return best_threshold(scores, member), float(f1)


def fit_thresholds(labelled: pl.DataFrame, defaults: dict[str, float], kinds: Sequence[str]) -> pl.DataFrame:
    """Return one row per (item_kind, vertical): threshold, members, non_members, fitted, f1 (null if not fitted).

    ``labelled`` has (item_kind, vertical, score, is_member, account_id). Folds are by account, so an author's style is
    never on both sides.
    """
    items_of = labelled.partition_by("item_kind", "vertical", as_dict=True)
    rows: list[tuple[str, str, float, int, int, bool, float | None]] = []
    for kind, (vertical, default) in product(kinds, sorted(defaults.items())):
        items = items_of.get((kind, vertical), labelled.clear())
        member = items["is_member"].to_numpy()
        members, others = int(member.sum()), int((~member).sum())
        if min(members, others) >= MIN_PER_CLASS:
            folds = np.array([zlib.crc32(account.encode()) % 5 for account in items["account_id"]])
            threshold, f1 = fit(items["score"].to_numpy(), member, folds)
            rows.append((kind, vertical, threshold, members, others, True, round(f1, 6)))
        else:
            rows.append((kind, vertical, default, members, others, False, None))
    return pl.DataFrame(rows, schema=THRESHOLDS_SCHEMA, orient="row")


THRESHOLDS_SCHEMA = {
    "item_kind": pl.String,
    "vertical": pl.String,
    "threshold": pl.Float64,
    "members": pl.Int64,
    "non_members": pl.Int64,
    "fitted": pl.Boolean,
    "f1": pl.Float64,
}


def tag(scores: pl.DataFrame, thresholds: pl.DataFrame, verticals: Sequence[str]) -> pl.DataFrame:
    """Return the scores that reach their vertical's threshold: the columns of ``by_vertical``, and the threshold."""
    limits = thresholds.lazy().select("item_kind", "vertical", "threshold")
    named = by_vertical(scores.lazy(), verticals).join(limits, on=["item_kind", "vertical"])
    # Streamed, because a bucket has a row per item and vertical here.
    reached = named.filter(pl.col("score") >= pl.col("threshold")).collect(engine="streaming")
    return reached.sort("item_kind", "item_id", "vertical")
