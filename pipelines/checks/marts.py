"""Checks of mart/*."""

import polars as pl
from dagster import AssetCheckResult, AssetKey, asset_check

from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts import CREATORS, POSTS_BY_DAY, TESTIMONIALS, VERTICAL_COVERAGE
from assets.transforms.marts import live_posts
from assets.verticals import TAGS
from pipelines.checks import verdict
from resources.delta.table import LakeResource


@asset_check(asset=AssetKey(["mart", "creators"]), name="totals_match_lake")
def creators_match_lake(lake: LakeResource) -> AssetCheckResult:
    """The mart has one row per live account of the lake, and counts all their live posts."""
    live = lake.scan(LAKE_ACCOUNTS).filter(pl.col("deleted_at").is_null()).select(pl.len()).collect().item()
    posts = live_posts(lake.scan(LAKE_POSTS), lake.scan(LAKE_ACCOUNTS)).select(pl.len()).collect().item()
    mart = lake.scan(CREATORS).select(pl.len(), pl.col("posts").sum()).collect()
    difference = abs(mart["len"].item() - live) + abs(mart["posts"].item() - posts)
    return verdict("creators or posts more or fewer than in the lake", found=difference, metadata={"accounts": live})


@asset_check(asset=AssetKey(["mart", "posts_by_day"]), name="totals_match_lake")
def days_match_lake(lake: LakeResource) -> AssetCheckResult:
    """Posts and likes, summed over all days, equal the totals of the live posts in the lake."""
    totals = pl.len().alias("posts"), pl.col("likes").sum()
    lakes = live_posts(lake.scan(LAKE_POSTS), lake.scan(LAKE_ACCOUNTS)).select(totals).collect()
    mart = lake.scan(POSTS_BY_DAY).select(pl.col("posts", "likes").sum()).collect()
    difference = sum(abs(mart[name].item() - lakes[name].item()) for name in ("posts", "likes"))
    return verdict("posts or likes more or fewer than in the lake", found=difference)


@asset_check(asset=AssetKey(["mart", "vertical_coverage"]), name="totals_match_tags")
def coverage_matches_tags(lake: LakeResource) -> AssetCheckResult:
    """The number of tagged items, summed over all verticals, equals the number of tags."""
    tags = lake.scan(TAGS).select(pl.len()).collect().item()
    tagged = lake.scan(VERTICAL_COVERAGE).select(pl.col("tagged").sum()).collect().item()
    return verdict("tags more or fewer than the mart counts", found=abs(tags - tagged))


@asset_check(asset=AssetKey(["mart", "testimonials"]), name="totals_match_lake")
def testimonials_match_lake(lake: LakeResource) -> AssetCheckResult:
    """The rows are exactly the live testimonials of the lake."""
    key = "testimonial_id"
    live = lake.scan(LAKE_TESTIMONIALS).filter(pl.col("deleted_at").is_null()).select(key).collect()
    mart = lake.scan(TESTIMONIALS).select(key).collect()
    odd = live.join(mart, on=key, how="anti").height + mart.join(live, on=key, how="anti").height
    return verdict("testimonials missing or foreign", found=odd)
