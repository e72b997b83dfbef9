"""Vertical scores, thresholds and tags."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Vectors = npt.NDArray[np.float32]
POST, ACCOUNT = "post", "account"
MIN_PER_CLASS = 5
"""With fewer labelled members or non-members a fitted threshold would be noise: the catalogue's default stands."""


@dataclass(frozen=True)
class DescribedVertical:
    """A vertical's name and the unit vectors of its descriptions, shape (descriptions, dimension)."""

    name: str
    descriptions: Vectors


def similarity(vectors: Vectors, verticals: Sequence[DescribedVertical]) -> npt.NDArray[np.float64]:
    """Shape (rows, verticals): the cosine to each vertical's nearest description. Vectors have unit length.

    In double precision; the last bits of a row's result depend on how many rows are computed with it.
    """
    exact = vectors.astype(np.float64)
    columns = [(exact @ vertical.descriptions.T.astype(np.float64)).max(axis=1) for vertical in verticals]
    return np.stack(columns, axis=1)


def standardise(cosines: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Shape (rows, verticals): by how many standard deviations a row's cosine lies above its mean over all verticals.

    A raw cosine says as much about a text's language and length as about its subject: against the same labels, with
    thresholds fitted in 5 folds, macro-F1 rose from .44 to .47 on video posts, .42 to .48 on their accounts and .38 to
    .48 on English tweets. A row that is equally near to every vertical scores 0 for all.
    """
    above = cosines - cosines.mean(axis=1, keepdims=True)
    spread = np.sqrt((above**2).mean(axis=1, keepdims=True))
    scores: npt.NDArray[np.float64] = np.divide(above, spread, out=np.zeros_like(above), where=spread > _LEAST_SPREAD)
    return scores


_LEAST_SPREAD = 1e-6
"""Below this the cosines of a row differ by rounding alone."""


def score(chunks: pl.DataFrame, vectors: Vectors, verticals: Sequence[DescribedVertical]) -> pl.DataFrame:
    """Scores of posts: (account_bucket, item_kind, item_id, account_id, scores, text_hash), one for each vertical.

    A post's cosine is that of its best chunk, because a long description trails off into links and thanks; its score
    is the standardised cosine, to four decimals. ``chunks`` has (account_bucket, account_id, post_id, text_hash), a
    row a vector; all chunks of a post have one text_hash.
    """
    names, of_post = [vertical.name for vertical in verticals], ["account_bucket", "account_id", "post_id"]
    # The last bits of a matrix product depend on how many rows are multiplied at once. Single precision cuts them off.
    cosines = pl.DataFrame(similarity(vectors, verticals), schema=dict.fromkeys(names, pl.Float32))
    best = (
        chunks.select(*of_post, "text_hash")
        .hstack(cosines)
        .group_by(of_post)
        .agg(pl.col("text_hash").first(), pl.col(names).max())
        .sort(of_post)
    )
    standardised = pl.DataFrame(standardise(best.select(names).to_numpy()), schema=dict.fromkeys(names, pl.Float64))
    wide = best.drop(names).rename({"post_id": "item_id"}).hstack(standardised)
    index = ["account_bucket", "account_id", "item_id", "text_hash"]
    return _scores(wide.select(*index, scores=pl.concat_list(pl.col(names).round(_DECIMALS))), POST)


def score_accounts(posts: pl.DataFrame) -> pl.DataFrame:
    """Scores of accounts, in the columns of ``score``: the mean of their posts' rounded scores.

    Of the rounded ones, so that posts that were scored long ago and today make the same mean.
    """
    verticals = range(posts["scores"].list.len().max() or 0)  # type: ignore[arg-type]
    means = (
        posts.sort("item_id")  # the last bits of a mean depend on the order of its terms
        .group_by("account_bucket", "account_id", maintain_order=True)
        .agg(pl.col("scores").list.get(number).mean().round(_DECIMALS).alias(str(number)) for number in verticals)
    )
    listed = pl.concat_list([str(number) for number in verticals]) if verticals else pl.lit([], pl.List(pl.Float64))
    of_account = {"item_id": pl.col("account_id"), "text_hash": pl.lit(None, pl.String)}
    return _scores(means.select("account_bucket", "account_id", scores=listed, **of_account), ACCOUNT)


def _scores(items: pl.DataFrame, kind: str) -> pl.DataFrame:
    columns = ["item_id", "account_id", "scores", "text_hash"]
    return items.select("account_bucket", pl.lit(kind).alias("item_kind"), *columns)


def by_vertical(scores: pl.LazyFrame, verticals: Sequence[str]) -> pl.LazyFrame:
    """A row a vertical: (item_kind, item_id, account_id, vertical, score); ``scores`` are in the verticals' order."""
    named = pl.lit(pl.Series([list(verticals)], dtype=pl.List(pl.String))).alias("vertical")
    return scores.select(*_ITEM, named, score="scores").explode("vertical", "score")


_DECIMALS = 4
_ITEM = ("item_kind", "item_id", "account_id")


@dataclass(frozen=True)
class Fit:
    """A fitted threshold, and its F1 on folds that did not take part in fitting."""

    threshold: float
    f1: float


def best_threshold(scores: npt.NDArray[np.float64], member: npt.NDArray[np.bool_]) -> float:
    """The threshold whose call "score ≥ threshold is a member" has the highest F1; of equals the highest.

    It lies midway between the last score that is called and the first that is not, so that neither sits on the edge.
    """
    order = np.argsort(-scores)
    ranked, hits = scores[order], np.cumsum(member[order])
    f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + member.sum())
    # Only the last of equal scores is a place to cut.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0
    cut = int(np.argmax(f1))
    below = ranked[cut + 1] if cut + 1 < len(ranked) else ranked[cut]
    return float((ranked[cut] + below) / 2)


def f1_at(threshold: float, scores: npt.NDArray[np.float64], member: npt.NDArray[np.bool_]) -> tuple[int, int, int]:
    """(true positives, false positives, false negatives) of a threshold."""
    called = scores >= threshold
    return int((called & member).sum()), int((called & ~member).sum()), int((~called & member).sum())


def fit(scores: npt.NDArray[np.float64], member: npt.NDArray[np.bool_], folds: npt.NDArray[np.int64]) -> Fit:
    """A threshold on all items; its F1 pooled over folds, each judged by a threshold fitted without it."""
    counts = np.zeros(3, dtype=np.int64)
    for fold in np.unique(folds):
        held = folds == fold
        if member[~held].any():
            counts += f1_at(best_threshold(scores[~held], member[~held]), scores[held], member[held])
    true, false, missed = (int(count) for count in counts)
    denominator = 2 * true + false + missed
    return Fit(best_threshold(scores, member), 2 * true / denominator if denominator else 0.0)


def fit_thresholds(labelled: pl.DataFrame, defaults: dict[str, float], kinds: Sequence[str]) -> pl.DataFrame:
    """One row per (item_kind, vertical): threshold, members, non_members, fitted, f1 (null where not fitted).

    ``labelled`` has (item_kind, vertical, score, is_member, account_id). Folds are by account, so that an author's
    style is never on both sides.
    """
    rows: list[tuple[str, str, float, int, int, bool, float | None]] = []
    for kind in kinds:
        for vertical, default in sorted(defaults.items()):
            items = labelled.filter((pl.col("item_kind") == kind) & (pl.col("vertical") == vertical))
            member = items["is_member"].to_numpy()
            members, others = int(member.sum()), int((~member).sum())
            if min(members, others) >= MIN_PER_CLASS:
                folds = np.array([zlib.crc32(account.encode()) % 5 for account in items["account_id"]])
                fitted = fit(items["score"].to_numpy(), member, folds.astype(np.int64))
                rows.append((kind, vertical, fitted.threshold, members, others, True, round(fitted.f1, 6)))
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
    """The scores that reach their vertical's threshold, with it: what an item is tagged with."""
    at = {
        (kind, name): limit for kind, name, limit in thresholds.select("item_kind", "vertical", "threshold").iter_rows()
    }
    of_kind = {kind: [at.get((kind, name), math.inf) for name in verticals] for kind in (POST, ACCOUNT)}
    limits = np.array([of_kind[kind] for kind in scores["item_kind"]]).reshape(scores.height, len(verticals))
    held = scores["scores"].list.to_array(len(verticals)).to_numpy().reshape(limits.shape)
    items, of_item = np.nonzero(held >= limits)
    return scores[items].select(
        "account_bucket",
        *_ITEM,
        vertical=pl.Series([verticals[int(number)] for number in of_item], dtype=pl.String),
        score=pl.Series(held[items, of_item], dtype=pl.Float64),
        threshold=pl.Series(limits[items, of_item], dtype=pl.Float64),
    )
