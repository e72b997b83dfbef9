"""Checks of summary/*."""

import polars as pl

from assets.corpus import CHUNKS
from assets.lake import LAKE_POSTS
from assets.partitions import BUCKETS
from assets.summaries import SUMMARIES
from assets.transforms.text.cleaning import clean_lines
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


@check("summary/account_summaries", "sentences that their post does not say")
def sentences_are_quoted(lake: LakeResource) -> int:
    """Every sentence of a summary stands in the post that it cites, word by word."""
    wrong = 0
    for bucket in sorted(int(key) for key in BUCKETS.get_partition_keys()):
        lines = pl.col("summary").str.split("\n")
        is_whole = pl.col("post_ids").list.len() == lines.list.len()
        said = lake.scan(SUMMARIES, bucket).select(post_id="post_ids", sentence=lines, whole=is_whole).collect()
        wrong += said.filter(~pl.col("whole")).height
        cited = said.filter("whole").select("post_id", "sentence").explode("post_id", "sentence")
        posts = lake.scan(LAKE_POSTS, bucket).select("post_id", "text")
        texts = posts.join(cited.lazy(), on="post_id", how="semi").collect(engine="streaming")
        of_post = {post: " ".join(clean_lines(text)) for post, text in texts.iter_rows()}
        wrong += sum(sentence.removesuffix("…") not in of_post.get(post, "") for post, sentence in cited.iter_rows())
    return wrong
