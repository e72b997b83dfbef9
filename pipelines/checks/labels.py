"""Checks of label/*."""

import polars as pl

from assets.labels import GOLD
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from pipelines.checks.declaration import check, count
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.table import LakeResource


@check(
    "label/gold",
    "labels of unknown items or verticals, repeated, or with an impossible agreement",
    reads=(GOLD, LAKE_POSTS, LAKE_ACCOUNTS),
    version=lambda: catalogue_hash(load_verticals()),
    guards=True,
)
def items_known(lake: LakeResource) -> int:
    """Every label names a post or account of the lake and a vertical of the catalogue, and occurs once."""
    posts = lake.scan(LAKE_POSTS).select(item_kind=pl.lit("post"), item_id="post_id")
    accounts = lake.scan(LAKE_ACCOUNTS).select(item_kind=pl.lit("account"), item_id="account_id")
    unknown = lake.scan(GOLD).join(pl.concat([posts, accounts]), on=["item_kind", "item_id"], how="anti")
    is_named = pl.col("vertical").is_in([vertical.name for vertical in load_verticals()])
    is_possible = (
        pl.col("agreement").is_between(0.5, 1) & (pl.col("annotators") >= 1) & pl.col("is_member").is_not_null()
    )
    odd = lake.scan(GOLD).filter(~is_named | pl.struct(GOLD.key).is_duplicated() | ~is_possible.fill_null(value=False))
    return count(unknown) + count(odd)
