"""Score posts for verticals by fitted taggers."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from assets.transforms.verticals.taggers.interface import Floats, Posts, Tagger

POST, ACCOUNT = "post", "account"
DECIMALS = 4
"""Of a score that is kept."""
_NO_INTERVAL = pl.lit(None, pl.List(pl.Float64))


def score(posts: pl.DataFrame, features: Posts, taggers: Mapping[str, Tagger]) -> pl.DataFrame:
    """Score posts: (account_bucket, item_kind, item_id, account_id, method, scores, scores_low, scores_high,
    text_hash), a row per post and method. Only accounts have the bounds of an interval.

    ``posts`` has (account_bucket, account_id, post_id, text_hash). ``scores`` are probabilities, one per vertical, to
    four decimals; null where the method abstains.
    """
    parts = [scored(posts, tagger.probabilities(features), method) for method, tagger in taggers.items()]
    return pl.concat(parts)


def scored(posts: pl.DataFrame, probabilities: Floats, method: str) -> pl.DataFrame:
    """Return the probabilities of posts, shape (posts, verticals), as rows of ``score``."""
    return posts.select(
        "account_bucket",
        item_kind=pl.lit(POST),
        item_id="post_id",
        account_id="account_id",
        method=pl.lit(method),
        scores=_as_lists(probabilities),
        scores_low=_NO_INTERVAL,
        scores_high=_NO_INTERVAL,
        text_hash="text_hash",
    )


def _as_lists(probabilities: Floats) -> pl.Series:
    """Return each row as a list, to four decimals, with null for NaN."""
    verticals = probabilities.shape[1]
    # Single precision cuts off the last bits, which depend on how many rows are computed at once.
    exact = probabilities.astype(np.float32).astype(np.float64).round(DECIMALS)
    flat = pl.Series("scores", exact.ravel()).fill_nan(None)
    return flat.reshape((-1, verticals)).arr.to_list() if len(flat) else pl.Series("scores", [], pl.List(pl.Float64))


def by_vertical(scores: pl.LazyFrame, verticals: Sequence[str]) -> pl.LazyFrame:
    """Return a row per item, method and vertical: (account_bucket, item_kind, item_id, account_id, method, vertical,
    score). A null score is an abstention. ``scores`` are in the order of ``verticals``.
    """
    named = pl.lit(pl.Series([list(verticals)], dtype=pl.List(pl.String))).alias("vertical")
    columns = ["account_bucket", "item_kind", "item_id", "account_id", "method"]
    return scores.select(*columns, named, score="scores").explode("vertical", "score")
