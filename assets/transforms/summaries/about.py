"""One line on what an account is about: verticals, hashtags, how often it posts, and whom it usually reaches."""

import polars as pl

WINDOW_DAYS = 90
"""How often an account posts is counted in the days up to its newest post: never in the days up to now, so a line
changes only with the account."""
_LEAST_DAYS, _LEAST_POSTS = 7, 3
_MOST_VERTICALS, _MOST_HASHTAGS = 3, 3


def about(posts: pl.LazyFrame, verticals: pl.LazyFrame) -> pl.DataFrame:
    """Return (account_id, about), a row per account with posts. A part that nothing is known of is left out.

    ``posts`` has (account_id, post_id, posted_at, hashtags, views) of posts that are not deleted; ``verticals`` has
    (account_id, vertical, score).
    """
    newest = posts.with_columns(_newest=pl.col("posted_at").max().over("account_id"))
    recent = newest.filter(pl.col("posted_at") > pl.col("_newest") - pl.duration(days=WINDOW_DAYS))
    figures = recent.group_by("account_id").agg(
        _posts=pl.len(),
        _days=(pl.col("_newest").first() - pl.col("posted_at").min()).dt.total_hours() / 24,
        _views=pl.col("views").filter(pl.col("views") > 0).median(),
    )
    parts = (
        posts.select(pl.col("account_id").unique())
        .join(figures, on="account_id", how="left")
        .join(_verticals(verticals), on="account_id", how="left")
        .join(_hashtags(posts), on="account_id", how="left")
    )
    line = pl.concat_str(
        pl.col("_verticals"), pl.col("_hashtags"), _cadence(), _reach(), separator=" · ", ignore_nulls=True
    )
    return parts.select("account_id", about=line).sort("account_id").collect()


def _verticals(verticals: pl.LazyFrame) -> pl.LazyFrame:
    ordered = verticals.sort("score", "vertical", descending=[True, False])
    named = ordered.group_by("account_id", maintain_order=True).agg(pl.col("vertical").head(_MOST_VERTICALS))
    return named.select("account_id", _verticals=pl.col("vertical").list.join(", ").str.replace_all("_", " "))


def _hashtags(posts: pl.LazyFrame) -> pl.LazyFrame:
    """Return the hashtags of at least two posts, the most frequent first."""
    tags = (
        posts.select("account_id", "post_id", tag="hashtags")
        .explode("tag")
        .with_columns(tag=pl.col("tag").str.to_lowercase().str.strip_chars("#＃ "))
        .filter(pl.col("tag") != "")
        .unique(["account_id", "post_id", "tag"])
    )
    counts = tags.group_by("account_id", "tag").len().filter(pl.col("len") > 1)
    ordered = counts.sort("len", "tag", descending=[True, False])
    found = ordered.group_by("account_id", maintain_order=True).agg(pl.col("tag").head(_MOST_HASHTAGS))
    return found.select("account_id", _hashtags=pl.col("tag").list.eval("#" + pl.element()).list.join(" "))


def _cadence() -> pl.Expr:
    a_week = (pl.col("_posts") - 1) / pl.col("_days") * 7
    is_known = (pl.col("_posts") >= _LEAST_POSTS) & (pl.col("_days") >= _LEAST_DAYS)
    often = pl.format("{} posts a week", a_week.round(0).cast(pl.Int64))
    seldom = pl.format("{} posts a month", (a_week * 30 / 7).round(0).cast(pl.Int64))
    rare = pl.lit("less than a post a month")
    return pl.when(is_known).then(
        pl.when(a_week >= 1.5).then(often).when(a_week * 30 / 7 >= 1.5).then(seldom).otherwise(rare)
    )


def _reach() -> pl.Expr:
    """Return the usual number of views, rounded to two digits: the third changes with every post."""
    views = pl.col("_views")
    rounded = views.round_sig_figs(2).cast(pl.Int64)
    thousands = pl.format("{},{}", rounded // 1000, (rounded % 1000).cast(pl.String).str.zfill(3))
    shown = (
        pl.when(rounded >= 10**6)
        .then(pl.format("{} million", (rounded / 1e6).round_sig_figs(2)))
        .when(rounded >= 10**3)
        .then(thousands)
        .otherwise(rounded.cast(pl.String))
    )
    return pl.when(views.is_not_null()).then(pl.format("usually {} views", shown))
