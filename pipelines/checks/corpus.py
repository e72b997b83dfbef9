"""Checks of corpus/*."""

import polars as pl
from dagster import AssetCheckResult, AssetKey, asset_check

from assets.corpus import CHUNKS, DECISION_COUNTS, DECISIONS, TERMS
from assets.lake import LAKE_POSTS
from assets.transforms.text.corpus import count_decisions
from pipelines.checks import verdict
from resources.delta.table import LakeResource


@asset_check(asset=AssetKey(["corpus", "decisions"]), name="every_post_decided")
def every_post_decided(lake: LakeResource) -> AssetCheckResult:
    """Every post of the lake has a decision, and no other post has one."""
    posts = lake.scan(LAKE_POSTS).select("post_id").collect()
    decided = lake.scan(DECISIONS).select("post_id").collect()
    odd = posts.join(decided, on="post_id", how="anti").height + decided.join(posts, on="post_id", how="anti").height
    return verdict("posts undecided, or decided and unknown", found=odd, metadata={"posts": posts.height})


@asset_check(asset=AssetKey(["corpus", "decision_counts"]), name="counts_add_up")
def counts_add_up(lake: LakeResource) -> AssetCheckResult:
    """The count of every reason equals the number of decisions with that reason."""
    decided = lake.scan(DECISIONS).select("account_bucket", "dropped_because").collect()
    counted = lake.scan(DECISION_COUNTS).collect()
    due, columns = count_decisions(decided), DECISION_COUNTS.schema.names
    odd = due.join(counted, on=columns, how="anti").height + counted.join(due, on=columns, how="anti").height
    repeated = counted.height - counted.select("account_bucket", "dropped_because").n_unique()
    return verdict("counts missing, wrong or repeated", found=odd + repeated, metadata={"posts": decided.height})


@asset_check(asset=AssetKey(["corpus", "cippus_text"]), name="chunks_match_decisions")
def chunks_match_decisions(lake: LakeResource) -> AssetCheckResult:
    """Every selected post has chunks, numbered from 0 and with unique ids; no other post has chunks."""
    chosen = lake.scan(DECISIONS).filter(pl.col("dropped_because").is_null()).select("post_id").collect()
    chunks = lake.scan(CHUNKS).select("post_id", "chunk_no", "point_id").collect()
    of_posts = chunks.group_by("post_id").agg(pl.len(), last=pl.col("chunk_no").max())
    odd = (
        chosen.join(of_posts, on="post_id", how="anti").height + of_posts.join(chosen, on="post_id", how="anti").height
    )
    holes = of_posts.filter(pl.col("last") + 1 != pl.col("len")).height
    repeated = chunks.height - chunks["point_id"].n_unique()
    return verdict("posts without chunks, foreign or repeated chunks", found=odd + holes + repeated)


@asset_check(asset=AssetKey(["corpus", "terms"]), name="frequencies_in_range")
def frequencies_in_range(lake: LakeResource) -> AssetCheckResult:
    """Every term occurs in at least one chunk of its bucket, and in at most all of them."""
    held = {bucket: contents.rows for bucket, contents in lake.contents(CHUNKS).items()}
    sizes = pl.DataFrame({"account_bucket": list(held), "chunks": list(held.values())}, schema_overrides={
        "account_bucket": pl.Int32, "chunks": pl.Int64})  # fmt: skip
    terms = lake.scan(TERMS).collect().join(sizes, on="account_bucket", how="left")
    odd = terms.filter(~pl.col("documents").is_between(1, pl.col("chunks").fill_null(0)))
    return verdict("terms with an impossible document frequency", found=odd.height, metadata={"terms": terms.height})
