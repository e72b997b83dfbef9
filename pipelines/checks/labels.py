"""Checks of label/*."""

import polars as pl

from assets.framework.intake import files_under
from assets.labels.gold import GOLD, owners
from assets.labels.votes import LANDING, RULE, VOTES, is_label_file
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.transforms.labels.votes import agree, judge
from pipelines.checks.declaration import check, count, differences
from pipelines.checks.drops import not_taken_once
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource


@check("label/votes", "files not taken in, or rows repeated or of no file", daily=True)
def files_taken_once(lake: LakeResource, ledger: LedgerResource, s3: S3Resource) -> int:
    """The current version of every label file is read exactly once, and no other file has rows.

    Compares every row with the files in landing/labels/.
    """
    return not_taken_once(lake, ledger, VOTES, files_under(s3, LANDING, is_label_file), RULE)


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
        pl.col("agreement").is_between(0.5, 1, "right") & (pl.col("votes") >= 1) & pl.col("is_member").is_not_null()
    )
    odd = lake.scan(GOLD).filter(~is_named | pl.struct(GOLD.key).is_duplicated() | ~is_possible.fill_null(value=False))
    return count(unknown) + count(odd)


@check(
    "label/gold",
    "judgements that the votes do not give",
    reads=(GOLD, VOTES, LAKE_POSTS, LAKE_ACCOUNTS),
    version=lambda: catalogue_hash(load_verticals()),
    guards=True,
)
def judgements_match_votes(lake: LakeResource) -> int:
    """A label stands where more than half of the newest votes agree, and nowhere else."""
    votes = lake.scan(VOTES).collect()
    judged = judge(votes, {vertical.name for vertical in load_verticals()}, owners(lake, votes["item_id"]))
    return differences(agree(judged.filter(pl.col("reason").is_null())).lazy(), lake.scan(GOLD))
