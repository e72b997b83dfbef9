"""Measure methods of tagging on labelled items that they were not fitted on."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from assets.transforms.verticals.intervals import Counts, Share, f1, percentiles, resampled, shares
from assets.transforms.verticals.thresholds import EVEN

_TRUE, _CALLED, _MEMBERS = range(3)
BINS = 10
WORST = 20
"""Mistakes that are kept of each method, kind of item, vertical and direction."""
_OF = ["method", "item_kind"]
QUALITY_SCHEMA = {
    "method": pl.String,
    "item_kind": pl.String,
    "vertical": pl.String,
    "members": pl.Int64,
    "non_members": pl.Int64,
    "called": pl.Int64,
    "right": pl.Int64,
    "accounts": pl.Int64,
    **{f"{name}{end}": pl.Float64 for name in ("precision", "recall", "f1") for end in ("", "_low", "_high")},
    "effective_called": pl.Float64,
    "effective_members": pl.Float64,
    "calibration_error": pl.Float64,
    "confused_with": pl.String,
    "confused_items": pl.Int64,
}
METHODS_SCHEMA = {
    "method": pl.String,
    "item_kind": pl.String,
    "verticals": pl.Int64,
    "items": pl.Int64,
    "accounts": pl.Int64,
    **{f"{name}{end}": pl.Float64 for name in ("macro_f1", "micro_f1") for end in ("", "_low", "_high")},
    "calibration_error": pl.Float64,
}
"""``calls`` of the functions below: rows (method, item_kind, item_id, account_id, vertical, is_member, probability,
threshold, is_called), each called by a rule that was fitted without its account."""


def quality(calls: pl.DataFrame, verticals: Sequence[str]) -> pl.DataFrame:
    """Return a row of QUALITY_SCHEMA per method, item kind and vertical that has labels."""
    parts = [pl.DataFrame(schema=QUALITY_SCHEMA)]
    for items in calls.partition_by(_OF, maintain_order=True):
        counts = _counts(items, verticals)
        precision = shares(counts[..., _TRUE], counts[..., _CALLED])
        recall = shares(counts[..., _TRUE], counts[..., _MEMBERS])
        draws = resampled(counts)
        found = pl.DataFrame(
            [_row(name, precision[place], recall[place], draws[:, place]) for place, name in enumerate(verticals)],
            schema={name: dtype for name, dtype in QUALITY_SCHEMA.items() if name in _row_names()},
            orient="row",
        )
        labelled = items.group_by("vertical").agg(
            method=pl.col("method").first(),
            item_kind=pl.col("item_kind").first(),
            non_members=(~pl.col("is_member")).sum(),
            accounts=pl.col("account_id").n_unique(),
        )
        rows = found.join(labelled, on="vertical").join(calibration(items), on="vertical", how="left")
        parts.append(rows.join(confusions(items), on="vertical", how="left").select(_as(QUALITY_SCHEMA)))
    return pl.concat(parts)


def _as(schema: dict[str, type[pl.DataType]]) -> list[pl.Expr]:
    return [pl.col(name).cast(dtype) for name, dtype in schema.items()]


def _row_names() -> list[str]:
    measured = [f"{name}{end}" for name in ("precision", "recall", "f1") for end in ("", "_low", "_high")]
    return ["vertical", "members", "called", "right", *measured, "effective_called", "effective_members"]


def _row(name: str, precision: Share, recall: Share, draws: Counts) -> dict[str, object]:
    values = f1(draws[:, _TRUE], draws[:, _CALLED], draws[:, _MEMBERS])
    whole = f1(np.array([recall.hits]), np.array([precision.trials]), np.array([recall.trials]))[0]
    is_measured = precision.trials + recall.trials > 0
    low, high = percentiles(values) if is_measured else (None, None)
    row: dict[str, object] = {"vertical": name, "members": round(recall.trials), "called": round(precision.trials)}
    row |= {"right": round(recall.hits), "f1": float(whole) if is_measured else None, "f1_low": low, "f1_high": high}
    for key, share in (("precision", precision), ("recall", recall)):
        low, high = share.interval if share.trials else (None, None)
        row |= {key: share.value, f"{key}_low": low, f"{key}_high": high}
    return row | {"effective_called": precision.effective, "effective_members": recall.effective}


def _counts(items: pl.DataFrame, verticals: Sequence[str]) -> Counts:
    """Return right calls, calls and members, shape (accounts, verticals, 3)."""
    named = pl.DataFrame(
        {"vertical": verticals, "_place": range(len(verticals))}, schema={"vertical": pl.String, "_place": pl.Int64}
    )
    placed = items.join(named, on="vertical").with_columns(_account=pl.col("account_id").rank("dense") - 1)
    accounts = items["account_id"].n_unique()
    counts = np.zeros((accounts, len(verticals), 3))
    places = (placed["_account"].to_numpy(), placed["_place"].to_numpy())
    member, called = placed["is_member"].to_numpy(), placed["is_called"].to_numpy()
    for kind, flags in ((_TRUE, member & called), (_CALLED, called), (_MEMBERS, member)):
        np.add.at(counts[..., kind], places, flags.astype(np.float64))
    return counts


def calibration(items: pl.DataFrame) -> pl.DataFrame:
    """Return (vertical, calibration_error): how far probabilities lie from the share of members, weighted over BINS."""
    if items["probability"].min() is None or not items["probability"].is_between(0, 1).all():
        return pl.DataFrame(schema={"vertical": pl.String, "calibration_error": pl.Float64})
    binned = items.group_by("vertical", (pl.col("probability") * BINS).floor().clip(0, BINS - 1)).agg(
        gap=(pl.col("probability").mean() - pl.col("is_member").mean()).abs(), items=pl.len()
    )
    return binned.group_by("vertical").agg(
        calibration_error=(pl.col("gap") * pl.col("items")).sum() / pl.col("items").sum()
    )


def reliability(calls: pl.DataFrame) -> pl.DataFrame:
    """Return (method, item_kind, probability, share, items) per tenth of the probabilities: said, and true."""
    is_probability = calls.filter(pl.col("probability").is_between(0, 1))
    tenth = (pl.col("probability") * BINS).floor().clip(0, BINS - 1).alias("_tenth")
    return (
        is_probability.group_by(*_OF, tenth)
        .agg(pl.col("probability").mean(), share=pl.col("is_member").mean(), items=pl.len())
        .sort(*_OF, "_tenth")
        .drop("_tenth")
    )


def confusions(items: pl.DataFrame) -> pl.DataFrame:
    """Return (vertical, confused_with, confused_items): of what items wrongly called are most often members."""
    wrong = items.filter(pl.col("is_called") & ~pl.col("is_member")).select("vertical", "item_id")
    members = items.filter("is_member").select("item_id", confused_with="vertical")
    counted = wrong.join(members, on="item_id").group_by("vertical", "confused_with").agg(confused_items=pl.len())
    ranked = counted.sort("confused_items", "confused_with", descending=[True, False])
    return ranked.group_by("vertical", maintain_order=True).first()


def methods(calls: pl.DataFrame, verticals: Sequence[str]) -> pl.DataFrame:
    """Return a row of METHODS_SCHEMA per method and item kind: macro and micro F1, with intervals by account.

    Only verticals with a labelled member count.
    """
    rows = []
    for (method, kind), items in calls.partition_by(_OF, as_dict=True, maintain_order=True).items():
        members = set(items.filter("is_member")["vertical"])
        counts = _counts(items, [name for name in verticals if name in members])
        if not counts.shape[1]:
            continue
        draws, whole = resampled(counts), counts.sum(axis=0)[None]
        row = {"method": method, "item_kind": kind, "verticals": counts.shape[1], "accounts": counts.shape[0]}
        row["items"] = items["item_id"].n_unique()
        for name, of in (("macro_f1", _macro), ("micro_f1", _micro)):
            low, high = percentiles(of(draws))
            row |= {name: float(of(whole)[0]), f"{name}_low": low, f"{name}_high": high}
        found = calibration(items.with_columns(vertical=pl.lit("all")))
        rows.append(row | {"calibration_error": found["calibration_error"][0] if found.height else None})
    return pl.DataFrame(rows, schema=METHODS_SCHEMA)


def _macro(sums: Counts) -> Counts:
    """Return the mean F1 of the verticals with a member or a call: a draw without either says nothing of a vertical."""
    called, members = sums[..., _CALLED], sums[..., _MEMBERS]
    known = (called + members > 0).sum(axis=-1)
    return np.asarray(f1(sums[..., _TRUE], called, members).sum(axis=-1) / np.maximum(known, 1))


def _micro(sums: Counts) -> Counts:
    total = sums.sum(axis=1)
    return f1(total[:, _TRUE], total[:, _CALLED], total[:, _MEMBERS])


def mistakes(calls: pl.DataFrame) -> pl.DataFrame:
    """Return the worst mistakes: rows of ``calls`` with their ``rank``, 1 for the farthest from the threshold.

    WORST of each method, item kind, vertical and direction: called wrongly, or missed.
    """
    wrong = calls.filter(pl.col("is_called") != pl.col("is_member"))
    distance = (pl.col("probability") - pl.col("threshold").fill_null(EVEN)).abs()
    rank = distance.rank("ordinal", descending=True).over(*_OF, "vertical", "is_member")
    return wrong.sort("item_id").with_columns(rank=rank.cast(pl.Int64)).filter(pl.col("rank") <= WORST)
