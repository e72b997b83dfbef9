"""Checks of mart/*."""

import polars as pl

from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts import CREATORS, POSTS_BY_DAY, TESTIMONIALS, VERTICAL_COVERAGE
from assets.transforms.marts import live_posts
from assets.verticals import TAGS
from pipelines.checks import check, deviation, differences
from resources.delta.table import LakeResource


@check("mart/creators", "creators or posts more or fewer than in the lake", name="totals_match_lake")
def creators_match_lake(lake: LakeResource) -> int:
    """The mart has one row per live account of the lake, and counts all their live posts."""
    live = lake.scan(LAKE_ACCOUNTS).filter(pl.col("deleted_at").is_null()).select(accounts=pl.len())
    posts = live_posts(lake.scan(LAKE_POSTS), lake.scan(LAKE_ACCOUNTS)).select(posts=pl.len())
    return deviation(pl.concat([live, posts], how="horizontal"), lake.scan(CREATORS).select(pl.len(), pl.sum("posts")))


@check("mart/posts_by_day", "posts or likes more or fewer than in the lake", name="totals_match_lake")
def days_match_lake(lake: LakeResource) -> int:
    """Posts and likes, summed over all days, equal the totals of the live posts in the lake."""
    posts = live_posts(lake.scan(LAKE_POSTS), lake.scan(LAKE_ACCOUNTS))
    return deviation(posts.select(pl.len(), pl.sum("likes")), lake.scan(POSTS_BY_DAY).select(pl.sum("posts", "likes")))


@check("mart/vertical_coverage", "tags more or fewer than the mart counts", name="totals_match_tags")
def coverage_matches_tags(lake: LakeResource) -> int:
    """The number of tagged items, summed over all verticals, equals the number of tags."""
    return deviation(lake.scan(TAGS).select(pl.len()), lake.scan(VERTICAL_COVERAGE).select(pl.sum("tagged")))


@check("mart/testimonials", "testimonials missing or foreign", name="totals_match_lake")
def testimonials_match_lake(lake: LakeResource) -> int:
    """The rows are exactly the live testimonials of the lake."""
    live = lake.scan(LAKE_TESTIMONIALS).filter(pl.col("deleted_at").is_null())
    return differences(live.select("testimonial_id"), lake.scan(TESTIMONIALS))
