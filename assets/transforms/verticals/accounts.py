"""Score accounts by the scores of their posts: newer posts count more, one loud post does not decide."""

import polars as pl

from assets.transforms.verticals.intervals import wilson
from assets.transforms.verticals.scoring import ACCOUNT, DECIMALS

HALF_LIFE_DAYS = 730.0
"""A post this much older than the account's newest one counts half. Nothing depends on the day of the run."""
_TEMPERED_FROM = 5
"""With fewer posts, the highest and the lowest score are too much of what is known."""
_OF_ACCOUNT = ["account_bucket", "account_id", "method"]
_DAY = 86_400.0


def score_accounts(posts: pl.DataFrame, posted: pl.DataFrame) -> pl.DataFrame:
    """Score accounts, in the columns of ``score``: the weighted mean of their posts' rounded scores, with an interval.

    ``posts`` are rows of ``score``; ``posted`` has (item_id, posted_at) of each of them. A post without a time counts
    like one of a half-life. From five posts on, the highest score counts as the second highest and the lowest as the
    second lowest. The interval is Wilson's for a mean of numbers from 0 to 1, on the number of equally weighted posts
    that say as much (Kish). Posts that abstain are left out; an account where all do abstains.

    Rounded scores give the same mean for posts that were scored in different runs.
    """
    dated = posts.join(posted.select("item_id", "posted_at"), on="item_id", how="left").sort("item_id")
    age = (pl.col("posted_at").max().over("account_id") - pl.col("posted_at")).dt.total_seconds() / _DAY
    halvings = (age / HALF_LIFE_DAYS).fill_null(1.0)
    found = (
        # Sorted, because the last bits of a sum depend on the order of its terms.
        dated.select(
            *_OF_ACCOUNT,
            "scores",
            _weight=0.5**halvings,
            _vertical=pl.int_ranges(pl.col("scores").list.len()),
        )
        .explode("scores", "_vertical")
        .group_by(*_OF_ACCOUNT, "_vertical", maintain_order=True)
        .agg(mean=_mean(), trials=_trials())
    )
    low, high = wilson(found["mean"].fill_null(0.0).to_numpy() * found["trials"].to_numpy(), found["trials"].to_numpy())
    bounds = {"scores_low": low, "scores_high": high}
    is_known = pl.col("mean").is_not_null()
    made = found.with_columns(
        pl.col("mean").round(DECIMALS),
        *(pl.when(is_known).then(pl.Series(bound).round(DECIMALS)).alias(name) for name, bound in bounds.items()),
    )
    lists = made.group_by(_OF_ACCOUNT, maintain_order=True).agg(pl.col("mean").alias("scores"), *bounds)
    return lists.select(
        "account_bucket",
        item_kind=pl.lit(ACCOUNT),
        item_id="account_id",
        account_id="account_id",
        method="method",
        scores="scores",
        scores_low="scores_low",
        scores_high="scores_high",
        text_hash=pl.lit(None, pl.String),
    )


def _mean() -> pl.Expr:
    score, weight = pl.col("scores").drop_nulls(), pl.col("_weight").filter(pl.col("scores").is_not_null())
    lowest, highest = score.bottom_k(2).max(), score.top_k(2).min()
    tempered = pl.when(score.len() >= _TEMPERED_FROM).then(score.clip(lowest, highest)).otherwise(score)
    return ((tempered * weight).sum() / weight.sum()).fill_nan(None)


def _trials() -> pl.Expr:
    weight = pl.col("_weight").filter(pl.col("scores").is_not_null())
    return (weight.sum() ** 2 / (weight**2).sum()).fill_nan(0.0)
