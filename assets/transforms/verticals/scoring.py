"""Score posts and accounts for verticals by fitted taggers."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from assets.transforms.verticals.taggers.interface import Floats, Posts, Tagger

POST, ACCOUNT = "post", "account"
_DECIMALS = 4


def score(posts: pl.DataFrame, features: Posts, taggers: Mapping[str, Tagger]) -> pl.DataFrame:
    """Score posts: (account_bucket, item_kind, item_id, account_id, method, scores, text_hash), a row per method.

    ``posts`` has (account_bucket, account_id, post_id, text_hash). ``scores`` are probabilities, one per vertical, to
    four decimals; null where the method abstains.
    """
    return pl.concat(
        [
            posts.select(
                "account_bucket",
                item_kind=pl.lit(POST),
                item_id="post_id",
                account_id="account_id",
                method=pl.lit(method),
                scores=as_lists(tagger.probabilities(features)),
                text_hash="text_hash",
            )
            for method, tagger in taggers.items()
        ]
    )


def as_lists(probabilities: Floats) -> pl.Series:
    """Return each row as a list, to four decimals, with null for NaN."""
    verticals = probabilities.shape[1]
    # Single precision cuts off the last bits, which depend on how many rows are computed at once.
    exact = probabilities.astype(np.float32).astype(np.float64).round(_DECIMALS)
    flat = pl.Series("scores", exact.ravel()).fill_nan(None)
    return flat.reshape((-1, verticals)).arr.to_list() if len(flat) else pl.Series("scores", [], pl.List(pl.Float64))


def score_accounts(posts: pl.DataFrame) -> pl.DataFrame:
    """Score accounts, in the columns of ``score``: the mean of their posts' rounded scores.

    Rounded scores give the same mean for posts that were scored in different runs.
    """
    of_account = ["account_bucket", "account_id", "method"]
    means = (
        posts.sort("item_id")  # the last bits of a mean depend on the order of its terms
        .select(*of_account, "scores", _vertical=pl.int_ranges(pl.col("scores").list.len()))
        .explode("scores", "_vertical")
        .group_by(*of_account, "_vertical", maintain_order=True)
        .agg(pl.col("scores").mean().round(_DECIMALS))
    )
    accounts = means.group_by(of_account, maintain_order=True).agg("scores")
    return accounts.select(
        "account_bucket",
        item_kind=pl.lit(ACCOUNT),
        item_id="account_id",
        account_id="account_id",
        method="method",
        scores="scores",
        text_hash=pl.lit(None, pl.String),
    )


def by_vertical(scores: pl.LazyFrame, verticals: Sequence[str]) -> pl.LazyFrame:
    """Return a row per item, method and vertical: (account_bucket, item_kind, item_id, account_id, method, vertical,
    score). A null score is an abstention. ``scores`` are in the order of ``verticals``.
    """
    named = pl.lit(pl.Series([list(verticals)], dtype=pl.List(pl.String))).alias("vertical")
    columns = ["account_bucket", "item_kind", "item_id", "account_id", "method"]
    return scores.select(*columns, named, score="scores").explode("vertical", "score")
