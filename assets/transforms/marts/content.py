"""Compute what posts achieved by day, week, network, country and vertical, and how far tags reach."""

import polars as pl

from assets.transforms.marts.values import COUNTS, live, measured_posts, percent, wide_sum

PLACE = ("period", "start", "network", "country", "vertical")
ALL, DAY, WEEK = "all", "day", "week"
MEASURED = (*COUNTS, "engagement")
"""Sums of a group, each with the number of posts that it adds up. A sum without posts is null: never measured."""
_VIEWED = ("viewed_engagement", "viewed_views")
SUMMED = (*MEASURED, *_VIEWED)
LONG = pl.Int64


def by_bucket(posts: pl.LazyFrame, accounts: pl.LazyFrame, tags: pl.LazyFrame) -> pl.DataFrame:
    """Return the sums of one bucket by PLACE. The vertical ``all`` has every post once; the others the tagged posts."""
    countries = live(accounts).select("account_id", "country")
    both = pl.col("engagement").is_not_null() & pl.col("views").is_not_null()
    media = pl.col("media_type").str.to_lowercase()
    counted = (
        measured_posts(posts, accounts)
        .join(countries, on="account_id")
        .select(
            *("post_id", "account_id", "network", "country", "updated_at", *MEASURED),
            day=pl.col("posted_at").dt.date(),
            viewed_engagement=pl.when(both).then("engagement"),
            viewed_views=pl.when(both).then("views"),
            is_media=media.is_not_null(),
            is_video=(media == "video").fill_null(value=False),
        )
        .collect()
    )
    of_posts = tags.filter(pl.col("item_kind") == "post").select(pl.col("item_id").alias("post_id"), "vertical")
    tagged = counted.join(of_posts.collect(), on="post_id")
    every = pl.concat([counted.with_columns(vertical=pl.lit(ALL)), tagged])
    periods = {DAY: pl.col("day"), WEEK: pl.col("day").dt.truncate("1w")}
    return pl.concat(
        every.with_columns(period=pl.lit(period), start=start)
        .group_by(PLACE)
        .agg(
            posts=pl.len().cast(LONG),
            accounts=pl.col("account_id").n_unique().cast(LONG),
            media=pl.col("is_media").sum().cast(LONG),
            videos=pl.col("is_video").sum().cast(LONG),
            **{name: wide_sum(pl.col(name)).cast(LONG, strict=False) for name in SUMMED},
            **{f"posts_with_{name}": pl.col(name).count().cast(LONG) for name in SUMMED},
            as_of=pl.col("updated_at").max(),
        )
        for period, start in periods.items()
    )


def content(parts: pl.LazyFrame) -> pl.DataFrame:
    """Return one row per PLACE, from the sums of all buckets. An account is in one bucket, so accounts add up."""
    return _added_up(parts, PLACE)


def posts_by_day(parts: pl.LazyFrame) -> pl.DataFrame:
    """Return one row per day and network. Posts without a date have a null day."""
    every = parts.filter((pl.col("period") == DAY) & (pl.col("vertical") == ALL))
    return _added_up(every.rename({"start": "day"}), ("day", "network"))


def _added_up(parts: pl.LazyFrame, place: tuple[str, ...]) -> pl.DataFrame:
    plain = ("posts", "accounts", "media", "videos", *(f"posts_with_{name}" for name in SUMMED))
    sums = parts.group_by(place).agg(
        *(pl.col(name).sum() for name in plain),
        *(_whole_sum(name).alias(name) for name in SUMMED),
        pl.col("as_of").max(),
    )
    return sums.with_columns(
        *(pl.col(name).cast(LONG, strict=False) for name in MEASURED),
        engagement_by_views_percent=percent(pl.col(_VIEWED[0]), pl.col(_VIEWED[1])),
        video_percent=percent(pl.col("videos"), pl.col("media")),
        **{f"average_{name}": pl.col(name).cast(pl.Float64) / pl.col(f"posts_with_{name}") for name in MEASURED},
    ).collect()


def _whole_sum(name: str) -> pl.Expr:
    """Return the sum in 128 bits; null if the sum of a part is beyond 64 bits."""
    is_lost = (pl.col(name).is_null() & (pl.col(f"posts_with_{name}") > 0)).any()
    return pl.when(~is_lost).then(wide_sum(pl.col(name)))


def vertical_coverage(
    tags: pl.LazyFrame, thresholds: pl.DataFrame, titles: dict[str, str], parts: pl.LazyFrame
) -> pl.DataFrame:
    """Return one row per vertical and item kind: tagged items, threshold, F1, latest change of a tagged post."""
    counted = tags.group_by("item_kind", "vertical").agg(tagged=pl.len().cast(LONG)).collect()
    named = pl.DataFrame({"vertical": list(titles), "title": list(titles.values())})
    latest = parts.group_by("vertical").agg(pl.col("as_of").max()).collect()
    return (
        thresholds.join(counted, on=["item_kind", "vertical"], how="left")
        .join(named, on="vertical", how="left")
        .join(latest, on="vertical", how="left")
        .with_columns(pl.col("tagged").fill_null(0))
    )
