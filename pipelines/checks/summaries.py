"""Checks of summary/*."""

from dagster import AssetCheckResult, AssetKey, asset_check

from assets.corpus import CHUNKS
from assets.summaries import SUMMARIES
from pipelines.checks import verdict
from resources.delta.table import LakeResource


@asset_check(asset=AssetKey(["summary", "account_summaries"]), name="evidence_exists")
def evidence_exists(lake: LakeResource) -> AssetCheckResult:
    """Every account of the corpus has a summary, which cites only the account's own posts in the corpus."""
    chunks = lake.scan(CHUNKS).select("account_id", "post_id").unique().collect()
    summaries = lake.scan(SUMMARIES).select("account_id", "post_ids").collect()
    cited = summaries.explode("post_ids").rename({"post_ids": "post_id"})
    foreign = cited.join(chunks, on=["account_id", "post_id"], how="anti").height
    missing = chunks.select("account_id").unique().join(summaries, on="account_id", how="anti").height
    return verdict("accounts without a summary, or citations of unknown posts", found=foreign + missing)
