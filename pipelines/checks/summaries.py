"""Checks of summary/*."""

from assets.corpus import CHUNKS
from assets.summaries import SUMMARIES
from pipelines.checks.declaration import check, count, differences
from resources.delta.table import LakeResource


@check(
    "summary/account_summaries",
    "accounts without a summary, or citations of unknown posts",
    reads=(CHUNKS, SUMMARIES),
    by_bucket=True,
    guards=True,
)
def evidence_exists(bucket: int, lake: LakeResource) -> int:
    """Every account of the corpus has one summary, which cites only the account's own posts in the corpus."""
    chunks, summaries = lake.scan_cached(CHUNKS, bucket), lake.scan_cached(SUMMARIES, bucket)
    cited = summaries.select("account_id", post_id="post_ids").explode("post_id")
    unknown = cited.join(chunks, on=["account_id", "post_id"], how="anti")
    return count(unknown) + differences(chunks.select("account_id").unique(), summaries)
