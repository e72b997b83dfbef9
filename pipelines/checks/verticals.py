"""Checks of vertical/*."""

import polars as pl
from dagster import AssetCheckResult, AssetKey, asset_check

from assets.corpus import CHUNKS
from assets.transforms.verticals import by_vertical
from assets.verticals import SCORES, TAGS, THRESHOLDS
from pipelines.checks import verdict
from resources.catalogues import load_verticals
from resources.delta.table import LakeResource


@asset_check(asset=AssetKey(["vertical", "scores"]), name="every_item_scored")
def every_item_scored(lake: LakeResource) -> AssetCheckResult:
    """Every post and account of the corpus has one valid score for every vertical."""
    verticals = len(load_verticals())
    furthest = verticals**0.5  # no number lies further from the mean of n numbers than √(n − 1) standard deviations
    is_possible = pl.element().is_between(-furthest, furthest).fill_null(value=False)
    scored = lake.scan(SCORES).select(
        "item_kind",
        "item_id",
        possible=pl.col("scores").list.eval(is_possible).list.sum(),
        n=pl.col("scores").list.len(),
    )
    items = scored.collect()
    is_wrong = (pl.col("n") != verticals) | (pl.col("possible") != verticals)
    wrong = items.filter(is_wrong.fill_null(value=True) | pl.struct("item_kind", "item_id").is_duplicated()).height
    posts = lake.scan(CHUNKS).select(item_id="post_id", item_kind=pl.lit("post")).unique()
    accounts = lake.scan(CHUNKS).select(item_id="account_id", item_kind=pl.lit("account")).unique()
    expected = pl.concat([posts, accounts]).collect()
    unscored = expected.join(items, on=["item_kind", "item_id"], how="anti").height
    foreign = items.join(expected, on=["item_kind", "item_id"], how="anti").height
    return verdict("items unscored, foreign or with impossible scores", found=wrong + unscored + foreign)


@asset_check(asset=AssetKey(["vertical", "thresholds"]), name="every_vertical_has_threshold")
def every_vertical_has_threshold(lake: LakeResource) -> AssetCheckResult:
    """Every vertical has one finite threshold per kind of item."""
    held = lake.scan(THRESHOLDS).filter(pl.col("threshold").is_finite()).collect()
    expected = {(vertical.name, kind) for vertical in load_verticals() for kind in ("post", "account")}
    found = set(held.select("vertical", "item_kind").iter_rows())
    return verdict("thresholds missing, foreign or repeated", found=len(expected ^ found) + held.height - len(found))


@asset_check(asset=AssetKey(["vertical", "tags"]), name="tags_reach_thresholds")
def tags_reach_thresholds(lake: LakeResource) -> AssetCheckResult:
    """An item is tagged if and only if its score reaches the current threshold."""
    thresholds = lake.scan(THRESHOLDS).select("vertical", "item_kind", "threshold")
    every = by_vertical(lake.scan(SCORES), [vertical.name for vertical in load_verticals()])
    joined = every.join(thresholds, on=["vertical", "item_kind"])
    key = ["item_kind", "item_id", "vertical"]
    due = joined.filter(pl.col("score") >= pl.col("threshold")).select(key).collect()
    tags = lake.scan(TAGS).select(key).collect()
    odd = due.join(tags, on=key, how="anti").height + tags.join(due, on=key, how="anti").height
    return verdict("tags missing or unearned", found=odd, metadata={"tags": tags.height})
