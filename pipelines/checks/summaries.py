"""Checks of summary/*."""

from assets.corpus import CHUNKS
from assets.summaries import SUMMARIES
from pipelines.checks import check, count
from resources.delta.table import LakeResource


@check("summary/account_summaries", "accounts without a summary, or citations of unknown posts")
def evidence_exists(lake: LakeResource) -> int:
    """Every account of the corpus has a summary, which cites only the account's own posts in the corpus."""
    chunks, summaries = lake.scan(CHUNKS), lake.scan(SUMMARIES)
    cited = summaries.select("account_id", post_id="post_ids").explode("post_id")
    unknown = cited.join(chunks, on=["account_id", "post_id"], how="anti")
    without = chunks.select("account_id").unique().join(summaries, on="account_id", how="anti")
    return count(unknown) + count(without)
