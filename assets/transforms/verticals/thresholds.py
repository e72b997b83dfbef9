"""Fit the threshold of a vertical's tag on labels, and tag."""

import zlib
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
import polars as pl

from assets.transforms.verticals.roster import SHIP
from assets.transforms.verticals.scoring import ACCOUNT, by_vertical
from assets.transforms.verticals.taggers.calibration import MIN_PER_CLASS

EVEN = 0.5
"""The threshold of a vertical with too few labels: more probable than not."""
_COMMON_MEMBERS = 5
_BOUNDS = {"score_low": "scores_low", "score_high": "scores_high"}


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


def shrunk_threshold(scores: npt.NDArray[np.float64], member: npt.NDArray[np.bool_], common: float) -> float:
    """Return the best threshold, drawn towards a common one as if that had been seen on a few members.

    With 5 to 30 members a vertical, this raised the macro-F1 of the probe from .49 to .51 on English tweets.
    """
    members = int(member.sum())
    own = best_threshold(scores, member) if members else common
    return float((members * own + _COMMON_MEMBERS * common) / (members + _COMMON_MEMBERS))


def fit(
    scores: npt.NDArray[np.float64], member: npt.NDArray[np.bool_], folds: npt.NDArray[np.int64], common: float
) -> tuple[float, npt.NDArray[np.bool_]]:
    """Return a threshold fitted on all items, and each item's call by a threshold fitted without its fold.

    A fold is not called if no other fold has a member.
    """
    called = np.zeros(len(member), dtype=np.bool_)
    for fold in np.unique(folds):
        left_out = folds == fold
        if member[~left_out].any():
            called[left_out] = scores[left_out] >= shrunk_threshold(scores[~left_out], member[~left_out], common)
    return shrunk_threshold(scores, member, common), called


def fit_each(judged: pl.DataFrame) -> pl.DataFrame:
    """Add ``threshold`` and ``is_called`` to rows of vertical/held_out of which no probability is null.

    A threshold belongs to (item_kind, method, vertical), and is null where labels are too few. Folds are by account, so
    an author's style is never on both sides.
    """
    parts = [judged.clear().with_columns(threshold=pl.lit(0.0), is_called=pl.lit(value=False))]
    for items in judged.partition_by("item_kind", "method"):
        common = best_threshold(items["probability"].to_numpy(), items["is_member"].to_numpy())
        for rows in items.partition_by("vertical"):
            member, scores = rows["is_member"].to_numpy(), rows["probability"].to_numpy()
            threshold, called = None, scores >= EVEN
            if min(member.sum(), (~member).sum()) >= MIN_PER_CLASS:
                folds = np.array([zlib.crc32(account.encode()) % 5 for account in rows["account_id"]])
                threshold, called = fit(scores, member, folds, common)
            added = [pl.lit(threshold, pl.Float64).alias("threshold"), pl.Series("is_called", called)]
            parts.append(rows.with_columns(added))
    return pl.concat(parts)


def thresholds_of(
    called: pl.DataFrame, verticals: Sequence[str], chosen: Mapping[str, str], first: str
) -> pl.DataFrame:
    """Return a row per (item_kind, vertical) in THRESHOLDS_SCHEMA. ``f1`` is null for a threshold that is not fitted.

    ``chosen``: item kind → the method that tags; ``first`` tags where that one has no threshold.
    """
    items_of = called.partition_by("item_kind", "vertical", "method", as_dict=True)
    rows: list[tuple[str, str, str, float, int, int, bool, float | None]] = []
    for kind, vertical in product(chosen, sorted(verticals)):
        method = chosen[kind] if (kind, vertical, chosen[kind]) in items_of else first
        items = items_of.get((kind, vertical, method), called.clear())
        members = int(items["is_member"].sum())
        threshold: float | None = items["threshold"][0] if items.height else None
        others, hits = items.height - members, int((items["is_called"] & items["is_member"]).sum())
        if threshold is None:
            rows.append((kind, vertical, method, EVEN, members, others, False, None))
        else:
            f1 = round(2 * hits / (int(items["is_called"].sum()) + members), 6)
            rows.append((kind, vertical, method, threshold, members, others, True, f1))
    return pl.DataFrame(rows, schema=THRESHOLDS_SCHEMA, orient="row")


THRESHOLDS_SCHEMA = {
    "item_kind": pl.String,
    "vertical": pl.String,
    "method": pl.String,
    "threshold": pl.Float64,
    "members": pl.Int64,
    "non_members": pl.Int64,
    "fitted": pl.Boolean,
    "f1": pl.Float64,
}


def tag(scores: pl.DataFrame, thresholds: pl.DataFrame, verticals: Sequence[str], roster: pl.DataFrame) -> pl.DataFrame:
    """Return the scores that reach their vertical's threshold: the columns of ``by_vertical``, ``threshold``, and the
    bounds ``score_low`` and ``score_high`` of an account's score.

    Of a vertical that ``roster`` (item_kind, vertical, status) does not ship, there is none.
    """
    limits = thresholds.lazy().select("item_kind", "vertical", "method", "threshold")
    limits = limits.join(roster.lazy().filter(status=SHIP), on=["item_kind", "vertical"], how="semi")
    named = by_vertical(scores.lazy(), verticals).join(limits, on=["item_kind", "vertical", "method"])
    # Streamed, because a bucket has a row per item and vertical here.
    reached = named.filter(pl.col("score") >= pl.col("threshold")).collect(engine="streaming")
    intervals = scores.filter(item_kind=ACCOUNT).select("item_kind", "item_id", "method", *_BOUNDS.values())
    place = pl.col("vertical").replace_strict(
        {name: place for place, name in enumerate(verticals)}, return_dtype=pl.Int64
    )
    return (
        reached.join(intervals, on=["item_kind", "item_id", "method"], how="left")
        .with_columns(pl.col(lists).list.get(place).alias(name) for name, lists in _BOUNDS.items())
        .drop(_BOUNDS.values())
        .sort("item_kind", "item_id", "vertical")
    )
