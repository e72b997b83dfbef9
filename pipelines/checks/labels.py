"""Checks of label/*."""

import polars as pl
from dagster import AssetCheckResult, AssetKey, asset_check

from assets.labels import GOLD
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from pipelines.checks import verdict
from resources.catalogues import load_verticals
from resources.delta.table import LakeResource


@asset_check(asset=AssetKey(["label", "gold"]), name="items_known")
def items_known(lake: LakeResource) -> AssetCheckResult:
    """Every label names a post or account of the lake and a vertical of the catalogue, and occurs once."""
    gold = lake.scan(GOLD).collect()
    known = pl.concat(
        [
            lake.scan(LAKE_POSTS).select(item_kind=pl.lit("post"), item_id="post_id"),
            lake.scan(LAKE_ACCOUNTS).select(item_kind=pl.lit("account"), item_id="account_id"),
        ]
    ).collect()
    foreign = gold.join(known, on=["item_kind", "item_id"], how="anti").height
    unnamed = gold.filter(~pl.col("vertical").is_in([vertical.name for vertical in load_verticals()])).height
    repeated = gold.height - gold.select(GOLD.key).n_unique()
    return verdict("labels of unknown items or verticals, or repeated", found=foreign + unnamed + repeated)
