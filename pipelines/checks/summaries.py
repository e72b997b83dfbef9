"""Checks of summary/*."""

import polars as pl

from assets.corpus import CHUNKS
from assets.lake import LAKE_POSTS
from assets.summaries import SUMMARIES
from assets.transforms.text.cleaning import clean_lines
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


@check(
    "summary/account_summaries",
    "sentences that their post does not say",
    reads=(SUMMARIES, LAKE_POSTS),
    by_bucket=True,
    daily=True,
)
def sentences_are_quoted(bucket: int, lake: LakeResource) -> int:
    """Every sentence of a summary stands in the post that it cites, word by word."""
    lines = pl.col("summary").str.split("\n")
    is_whole = pl.col("post_ids").list.len() == lines.list.len()
    summaries = lake.scan_cached(SUMMARIES, bucket)
    said = summaries.select(post_id="post_ids", sentence=lines, whole=is_whole).collect()
    cited = said.filter("whole").select("post_id", "sentence").explode("post_id", "sentence")
    posts = lake.scan_cached(LAKE_POSTS, bucket).select("post_id", "text")
    texts = posts.join(cited.lazy(), on="post_id", how="semi").collect(engine="streaming")
    of_post = {post: " ".join(clean_lines(text)) for post, text in texts.iter_rows()}
    wrong = sum(sentence.removesuffix("…") not in of_post.get(post, "") for post, sentence in cited.iter_rows())
    return wrong + said.filter(~pl.col("whole")).height
