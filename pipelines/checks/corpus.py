"""Checks of corpus/*."""

import polars as pl

from assets.corpus import CHUNKS, DECISION_COUNTS, DECISIONS, TERMS
from assets.lake import LAKE_POSTS
from assets.transforms.text.corpus import count_decisions
from pipelines.checks.declaration import check, count, differences
from resources.delta.table import LakeResource


@check(
    "corpus/decisions",
    "posts without a decision, or decisions about unknown posts",
    reads=(LAKE_POSTS, DECISIONS),
    by_bucket=True,
    guards=True,
)
def every_post_decided(bucket: int, lake: LakeResource) -> int:
    """Every post of the lake has a decision, and no other post has one."""
    return differences(lake.scan_cached(LAKE_POSTS, bucket).select("post_id"), lake.scan_cached(DECISIONS, bucket))


@check(
    "corpus/decision_counts",
    "counts missing, wrong or repeated",
    reads=(DECISIONS, DECISION_COUNTS),
    by_bucket=True,
    daily=True,
)
def counts_add_up(bucket: int, lake: LakeResource) -> int:
    """The count of every reason equals the number of decisions with that reason."""
    decisions = lake.scan_cached(DECISIONS, bucket).select("account_bucket", "dropped_because").collect()
    return differences(count_decisions(decisions).lazy(), lake.scan_cached(DECISION_COUNTS, bucket))


@check(
    "corpus/cippus_text",
    "posts without chunks, foreign or repeated chunks",
    reads=(DECISIONS, CHUNKS),
    by_bucket=True,
    guards=True,
)
def chunks_match_decisions(bucket: int, lake: LakeResource) -> int:
    """Every selected post has chunks, numbered from 0 and with unique ids; no other post has chunks."""
    selected = lake.scan_cached(DECISIONS, bucket).filter(pl.col("dropped_because").is_null()).select("post_id")
    chunks = lake.scan_cached(CHUNKS, bucket).select("post_id", "chunk_no", "point_id")
    of_posts = chunks.group_by("post_id").agg(pl.len(), last=pl.col("chunk_no").max())
    has_gap = pl.col("last") + 1 != pl.col("len")
    repeated = count(chunks) - count(chunks.unique("point_id"))
    return differences(selected, of_posts) + count(of_posts.filter(has_gap)) + repeated


@check(
    "corpus/terms",
    "terms missing, foreign or with another document frequency",
    reads=(CHUNKS, TERMS),
    by_bucket=True,
    daily=True,
)
def frequencies_match_chunks(bucket: int, lake: LakeResource) -> int:
    """The document frequency of every term is the number of chunks in its bucket that have the term."""
    terms = lake.scan_cached(CHUNKS, bucket).select(term=pl.col("terms").explode()).drop_nulls()
    counted = terms.group_by("term").agg(documents=pl.len().cast(pl.Int64))
    return differences(counted, lake.scan_cached(TERMS, bucket))
