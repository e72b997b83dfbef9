"""The learning curve of the labels: how good a probe is with a part of them, and whether more would help."""

import zlib

import numpy as np
import numpy.typing as npt
import polars as pl

from assets.transforms.labels.probe import Floats, held_out_scores

SHARES = (0.125, 0.25, 0.5, 1.0)
_DRAWS = 4
_WORTH = 0.01
"""A gain of mean average precision that is worth doubling the labels."""
CURVE_SCHEMA = {
    "labels": pl.Int64(),
    **dict.fromkeys(("quality", "low", "high"), pl.Float64()),
    "is_measured": pl.Boolean(),
}


def learning_curve(
    vectors: npt.NDArray[np.float32], labels: Floats, folds: npt.NDArray[np.int64], accounts: list[str]
) -> pl.DataFrame:
    """Return CURVE_SCHEMA: the mean average precision of probes on accounts that they did not see, by number of items.

    ``quality`` is the mean over several draws of accounts, ``low`` and ``high`` two standard errors below and above.
    The last row is what twice the labels would give, if the gain of a doubling shrinks as it did before. No figure
    is beyond 0 to 1.
    """
    rows, means = [], []
    for share in SHARES:
        found = []
        for draw in range(_DRAWS if share < 1 else 1):
            order = np.array([zlib.crc32(f"{draw}\0{account}".encode()) for account in accounts])
            kept = order <= share * 2**32
            scores = held_out_scores(vectors, np.where(kept[:, None], labels, np.nan), folds)
            found.append(_mean_average_precision(scores, labels))
        values = np.array([value for value in found if not np.isnan(value)])
        if not len(values):
            continue
        error = 2 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
        means.append(values.mean())
        rows.append((round(share * len(labels)), means[-1], means[-1] - error, means[-1] + error, True))
    if len(means) > 2:
        last, before = means[-1] - means[-2], means[-2] - means[-3]
        gain = last * float(np.clip(last / before, 0, 1)) if before > 0 else max(last, 0.0)
        rows.append((2 * len(labels), means[-1] + gain, means[-1], means[-1] + max(last, gain), False))
    table = pl.DataFrame(rows, schema=CURVE_SCHEMA, orient="row")
    return table.with_columns(pl.col("quality", "low", "high").clip(0, 1).round(4))


def verdict(curve: pl.DataFrame) -> str:
    """Return a sentence that says whether more labels would help."""
    measured, projected = curve.filter("is_measured"), curve.filter(~pl.col("is_measured"))
    if projected.is_empty():
        return "There are too few labels for a learning curve: label at least 5 members and 5 others of a vertical."
    now, then = measured.row(-1, named=True), projected.row(0, named=True)
    gain = then["quality"] - now["quality"]
    helps = "More labels would help" if gain >= _WORTH else "More labels of this kind would hardly help"
    return (
        f"{helps}: from {now['labels']:,} to {then['labels']:,} labelled posts, mean average precision would go from "
        f"{now['quality']:.3f} to about {then['quality']:.3f}."
    )


def _mean_average_precision(scores: Floats, labels: Floats) -> float:
    found = []
    for column in range(labels.shape[1]):
        given = ~np.isnan(labels[:, column])
        members, judged = labels[given, column], scores[given, column]
        if not members.sum():
            continue
        if np.isnan(judged).all():  # a vertical without a probe is ranked by chance
            found.append(float(members.mean()))
        else:
            members = members[np.argsort(-np.nan_to_num(judged, nan=-np.inf), kind="stable")]
            precision = np.cumsum(members) / np.arange(1, len(members) + 1)
            found.append(float((precision * members).sum() / members.sum()))
    return float(np.mean(found)) if found else float("nan")
