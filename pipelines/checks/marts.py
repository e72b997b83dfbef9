"""Checks of mart/*."""

import polars as pl

from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts import CREATORS, POSTS_BY_DAY, TESTIMONIALS, VERTICAL_COVERAGE
from assets.transforms.marts import live_posts, short
from assets.verticals import TAGS, THRESHOLDS
from pipelines.checks.declaration import check, count, deviation, differences
from resources.delta.table import LakeResource

_MEASURES = ["likes", "comments", "views", "shares"]


@check(
    "mart/creators",
    "creators, posts, followers or engagement more or less than in the lake",
    name="totals_match_lake",
    reads=(LAKE_ACCOUNTS, LAKE_POSTS, CREATORS),
    by_bucket=True,
    guards=True,
)
def creators_match_lake(bucket: int, lake: LakeResource) -> int:
    """The mart has one row per live account of the lake, with its followers, and counts all their live posts."""
    accounts = lake.scan_cached(LAKE_ACCOUNTS, bucket)
    live = accounts.filter(pl.col("deleted_at").is_null()).select(pl.len().alias("accounts"), pl.sum("followers"))
    posts = live_posts(lake.scan_cached(LAKE_POSTS, bucket), accounts).select(pl.len(), pl.sum(*_MEASURES))
    found = lake.scan_cached(CREATORS, bucket).select(pl.len(), pl.sum("followers", "posts", *_MEASURES))
    return deviation(pl.concat([live, posts], how="horizontal"), found)


@check(
    "mart/creators",
    "accounts repeated, missing or with other verticals",
    reads=(LAKE_ACCOUNTS, TAGS, CREATORS),
    by_bucket=True,
)
def verticals_match_tags(bucket: int, lake: LakeResource) -> int:
    """Every live account has one row, with the verticals that it is tagged with."""
    live = lake.scan_cached(LAKE_ACCOUNTS, bucket).filter(pl.col("deleted_at").is_null()).select("account_id")
    tags = lake.scan_cached(TAGS, bucket).filter(pl.col("item_kind") == "account").group_by("account_id")
    tagged = tags.agg(verticals=pl.col("vertical").sort().str.join(", "))
    return differences(live.join(tagged, on="account_id", how="left"), lake.scan_cached(CREATORS, bucket))


@check(
    "mart/posts_by_day",
    "posts or engagement more or less than in the lake",
    name="totals_match_lake",
    reads=(LAKE_ACCOUNTS, LAKE_POSTS, POSTS_BY_DAY),
    guards=True,
)
def days_match_lake(lake: LakeResource) -> int:
    """Posts and engagement, summed over all days, equal the totals of the live posts in the lake."""
    posts = live_posts(lake.scan(LAKE_POSTS), lake.scan(LAKE_ACCOUNTS))
    found = lake.scan(POSTS_BY_DAY).select(pl.sum("posts", *_MEASURES))
    return deviation(posts.select(pl.len(), pl.sum(*_MEASURES)), found)


@check("mart/posts_by_day", "days repeated, impossible or in the future", reads=(POSTS_BY_DAY,))
def days_possible(lake: LakeResource) -> int:
    """Every day and network has one row, with at least one post, and no more accounts than posts."""
    days = lake.scan(POSTS_BY_DAY)
    odd = pl.struct("network", "day").is_duplicated() | ~pl.col("accounts").is_between(1, pl.col("posts"))
    return count(days.filter(odd.fill_null(value=True)))


@check(
    "mart/vertical_coverage",
    "tags more or fewer than the mart counts",
    name="totals_match_tags",
    reads=(TAGS, VERTICAL_COVERAGE),
    guards=True,
)
def coverage_matches_tags(lake: LakeResource) -> int:
    """The number of tagged items of every vertical and kind equals the number of its tags."""
    counted = lake.scan(TAGS).group_by("vertical", "item_kind").agg(tagged=pl.len().cast(pl.Int64))
    return differences(counted, lake.scan(VERTICAL_COVERAGE).filter(pl.col("tagged") != 0))


@check(
    "mart/vertical_coverage", "thresholds missing or other than those of tags", reads=(THRESHOLDS, VERTICAL_COVERAGE)
)
def thresholds_match(lake: LakeResource) -> int:
    """Every vertical and kind has one row, with its current threshold."""
    wanted = lake.scan(THRESHOLDS).select("vertical", "item_kind", "threshold", "members")
    return differences(wanted, lake.scan(VERTICAL_COVERAGE))


@check(
    "mart/testimonials",
    "testimonials missing, foreign or with another rating or text",
    name="totals_match_lake",
    reads=(LAKE_TESTIMONIALS, TESTIMONIALS),
    by_bucket=True,
    guards=True,
)
def testimonials_match_lake(bucket: int, lake: LakeResource) -> int:
    """The rows are exactly the live testimonials of the lake, with their ratings and texts."""
    live = lake.scan_cached(LAKE_TESTIMONIALS, bucket).filter(pl.col("deleted_at").is_null())
    return differences(live.select("testimonial_id", "rating", short("text")), lake.scan_cached(TESTIMONIALS, bucket))
