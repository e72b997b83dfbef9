"""Fit the threshold of a vertical's tag on labels, and tag."""

import zlib
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import polars as pl

from assets.transforms.verticals.roster import SHIP
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
) -> tuple[float, npt.NDArray[np.bool_]]:
    """Return a threshold fitted on all items, and each item's call by a threshold fitted without its fold.

    A fold is not called if no other fold has a member.
    """
    called = np.zeros(len(member), dtype=np.bool_)
    for fold in np.unique(folds):
        left_out = folds == fold
        if member[~left_out].any():
            called[left_out] = scores[left_out] >= best_threshold(scores[~left_out], member[~left_out])
    return best_threshold(scores, member), called


ONLY_METHOD = "zero_shot"


def calls(labelled: pl.DataFrame, defaults: Mapping[str, float]) -> pl.DataFrame:
    """Return rows (method, item_kind, item_id, account_id, vertical, is_member, probability, threshold, is_called).

    ``labelled`` has (item_kind, item_id, account_id, vertical, score, is_member). Folds are by account, so an author's
    style is never on both sides.
    """
    parts = [labelled.clear().with_columns(threshold=pl.lit(0.0), is_called=pl.lit(value=False))]
    for items in labelled.partition_by("item_kind", "vertical"):
        member, scores = items["is_member"].to_numpy(), items["score"].to_numpy()
        threshold = defaults[items["vertical"][0]]
        called = scores >= threshold
        if min(member.sum(), (~member).sum()) >= MIN_PER_CLASS:
            folds = np.array([zlib.crc32(account.encode()) % 5 for account in items["account_id"]])
            threshold, called = fit(scores, member, folds)
        parts.append(items.with_columns(threshold=pl.lit(threshold), is_called=pl.Series(called, dtype=pl.Boolean)))
    kept = ["item_kind", "item_id", "account_id", "vertical", "is_member"]
    return pl.concat(parts).select(
        pl.lit(ONLY_METHOD).alias("method"), *kept, pl.col("score").alias("probability"), "threshold", "is_called"
    )


def fit_thresholds(labelled: pl.DataFrame, defaults: Mapping[str, float], kinds: Sequence[str]) -> pl.DataFrame:
    """Return one row per (item_kind, vertical): threshold, members, non_members, fitted, f1 (null if not fitted)."""
    member, called = pl.col("is_member"), pl.col("is_called")
    f1 = (2 * (member & called).sum() / (member.sum() + called.sum())).round(6)
    counted = (
        calls(labelled, defaults)
        .group_by("item_kind", "vertical")
        .agg(pl.col("threshold").first(), members=member.sum(), non_members=(~member).sum(), f1=f1)
        .with_columns(fitted=pl.min_horizontal("members", "non_members") >= MIN_PER_CLASS)
    )
    every = pl.DataFrame(list(product(kinds, sorted(defaults))), schema=["item_kind", "vertical"], orient="row")
    default = pl.col("vertical").replace_strict(dict(defaults), return_dtype=pl.Float64)
    return (
        every.join(counted, on=["item_kind", "vertical"], how="left", maintain_order="left")
        .with_columns(
            pl.col("threshold").fill_null(default),
            pl.col("members", "non_members").fill_null(0),
            pl.col("fitted").fill_null(value=False),
        )
        .with_columns(f1=pl.when("fitted").then("f1"))
        .select(pl.col(name).cast(dtype) for name, dtype in THRESHOLDS_SCHEMA.items())
    )


THRESHOLDS_SCHEMA = {
    "item_kind": pl.String,
    "vertical": pl.String,
    "threshold": pl.Float64,
    "members": pl.Int64,
    "non_members": pl.Int64,
    "fitted": pl.Boolean,
    "f1": pl.Float64,
}


def tag(scores: pl.DataFrame, thresholds: pl.DataFrame, verticals: Sequence[str], roster: pl.DataFrame) -> pl.DataFrame:
    """Return the scores that reach their vertical's threshold: the columns of ``by_vertical``, and the threshold.

    Of a vertical that ``roster`` (item_kind, vertical, status) does not ship, there is none.
    """
    shipped = roster.lazy().filter(status=SHIP)
    limits = thresholds.lazy().select("item_kind", "vertical", "threshold")
    limits = limits.join(shipped, on=["item_kind", "vertical"], how="semi")
    named = by_vertical(scores.lazy(), verticals).join(limits, on=["item_kind", "vertical"])
    # Streamed, because a bucket has a row per item and vertical here.
    reached = named.filter(pl.col("score") >= pl.col("threshold")).collect(engine="streaming")
    return reached.sort("item_kind", "item_id", "vertical")
