"""Checks of corpus/*."""

import polars as pl

from assets.corpus import CHUNKS, DECISION_COUNTS, DECISIONS, TERMS
from assets.lake import LAKE_POSTS
from assets.transforms.text.corpus import count_decisions
from pipelines.checks import check, count, differences
from resources.delta.table import LakeResource


@check("corpus/decisions", "posts without a decision, or decisions about unknown posts")
def every_post_decided(lake: LakeResource) -> int:
    """Every post of the lake has a decision, and no other post has one."""
    return differences(lake.scan(LAKE_POSTS).select("post_id"), lake.scan(DECISIONS))


@check("corpus/decision_counts", "counts missing, wrong or repeated")
def counts_add_up(lake: LakeResource) -> int:
    """The count of every reason equals the number of decisions with that reason."""
    decisions = lake.scan(DECISIONS).select("account_bucket", "dropped_because").collect()
    return differences(count_decisions(decisions).lazy(), lake.scan(DECISION_COUNTS))


@check("corpus/cippus_text", "posts without chunks, foreign or repeated chunks")
def chunks_match_decisions(lake: LakeResource) -> int:
    """Every selected post has chunks, numbered from 0 and with unique ids; no other post has chunks."""
    selected = lake.scan(DECISIONS).filter(pl.col("dropped_because").is_null()).select("post_id")
    chunks = lake.scan(CHUNKS).select("post_id", "chunk_no", "point_id")
    of_posts = chunks.group_by("post_id").agg(pl.len(), last=pl.col("chunk_no").max())
    has_gap = pl.col("last") + 1 != pl.col("len")
    repeated = count(chunks) - count(chunks.unique("point_id"))
    return differences(selected, of_posts) + count(of_posts.filter(has_gap)) + repeated


@check("corpus/terms", "terms with an impossible document frequency")
def frequencies_in_range(lake: LakeResource) -> int:
    """Every term occurs in at least one chunk of its bucket, and in at most all of them."""
    chunks = lake.scan(CHUNKS).group_by("account_bucket").agg(chunks=pl.len())
    terms = lake.scan(TERMS).join(chunks, on="account_bucket", how="left")
    return count(terms.filter(~pl.col("documents").is_between(1, pl.col("chunks").fill_null(0))))
