"""Checks of corpus/*, embedding/*, qdrant/*: from posts to points, nothing is lost and nothing is foreign."""

import numpy as np
import polars as pl
from dagster import AssetCheckResult, AssetCheckSeverity, AssetKey, asset_check

from assets.corpus import CHUNKS, DECISION_COUNTS, DECISIONS, TERMS
from assets.embeddings import VECTORS
from assets.index_points import recipe_of
from assets.index_promotion import candidate
from assets.lake import LAKE_POSTS
from assets.partitions import BUCKETS
from assets.transforms.corpus import count_decisions
from assets.transforms.points import compare, desired_points, held_points
from assets.verticals import TAGS
from pipelines.checks import verdict
from resources.embedder import EmbedderResource
from resources.lake import LakeResource
from resources.qdrant import QdrantResource

_UNIT_TOLERANCE = 1e-4


@asset_check(asset=AssetKey(["corpus", "decisions"]), name="every_post_decided")
def every_post_decided(lake: LakeResource) -> AssetCheckResult:
    """The decisions are about exactly the posts of the lake."""
    posts = lake.scan(LAKE_POSTS).select("post_id").collect()
    decided = lake.scan(DECISIONS).select("post_id").collect()
    odd = posts.join(decided, on="post_id", how="anti").height + decided.join(posts, on="post_id", how="anti").height
    return verdict("posts undecided, or decided and unknown", found=odd, metadata={"posts": posts.height})


@asset_check(asset=AssetKey(["corpus", "decision_counts"]), name="counts_add_up")
def counts_add_up(lake: LakeResource) -> AssetCheckResult:
    """The counts are those of the decisions, reason by reason, so that no dropped post goes uncounted."""
    decided = lake.scan(DECISIONS).select("account_bucket", "dropped_because").collect()
    counted = lake.scan(DECISION_COUNTS).collect()
    due, columns = count_decisions(decided), DECISION_COUNTS.schema.names
    odd = due.join(counted, on=columns, how="anti").height + counted.join(due, on=columns, how="anti").height
    repeated = counted.height - counted.select("account_bucket", "dropped_because").n_unique()
    return verdict("counts missing, wrong or repeated", found=odd + repeated, metadata={"posts": decided.height})


@asset_check(asset=AssetKey(["corpus", "cippus_text"]), name="chunks_match_decisions")
def chunks_match_decisions(lake: LakeResource) -> AssetCheckResult:
    """Exactly the chosen posts have chunks, numbered from 0, under unique ids."""
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
    """No term stands in fewer than one chunk of its bucket or in more than there are."""
    held = {bucket: contents.rows for bucket, contents in lake.contents(CHUNKS).items()}
    sizes = pl.DataFrame({"account_bucket": list(held), "chunks": list(held.values())}, schema_overrides={
        "account_bucket": pl.Int32, "chunks": pl.Int64})  # fmt: skip
    terms = lake.scan(TERMS).collect().join(sizes, on="account_bucket", how="left")
    odd = terms.filter(~pl.col("documents").is_between(1, pl.col("chunks").fill_null(0)))
    return verdict("terms with an impossible document frequency", found=odd.height, metadata={"terms": terms.height})


@asset_check(asset=AssetKey(["embedding", "cippus_text"]), name="vectors_unit_length")
def vectors_unit_length(lake: LakeResource, embedder: EmbedderResource) -> AssetCheckResult:
    """Vectors are finite, of unit length and of the model's dimension, one a hash and bucket. One bucket at a time."""
    odd = total = 0
    for bucket in sorted(lake.contents(VECTORS)):
        held = lake.scan(VECTORS, bucket).filter(pl.col("model") == embedder.model().name).collect()
        sized = held.filter(pl.col("vector").list.len() == embedder.model().dimension)
        vectors = sized["vector"].explode(empty_as_null=False).to_numpy().reshape(sized.height, -1)
        good = np.isfinite(vectors).all(axis=1) & (np.abs(np.linalg.norm(vectors, axis=1) - 1) < _UNIT_TOLERANCE)
        odd += held.height - int(good.sum()) + held.height - held["content_hash"].n_unique()
        total += held.height
    return verdict("vectors not finite, not of unit length, or repeated", found=odd, metadata={"vectors": total})


@asset_check(asset=AssetKey(["embedding", "cippus_text"]), name="every_chunk_has_vector")
def every_chunk_has_vector(lake: LakeResource, embedder: EmbedderResource) -> AssetCheckResult:
    """Every content hash of the corpus has a vector of this model in its own bucket."""
    place = ["account_bucket", "content_hash"]
    held = lake.scan(VECTORS).filter(pl.col("model") == embedder.model().name).select(place)
    missing = lake.scan(CHUNKS).select(place).unique().join(held, on=place, how="anti").collect()
    return verdict("texts without a vector", found=missing.height)


@asset_check(asset=AssetKey(["qdrant", "cippus_text"]), name="points_match_chunks")
def points_match_chunks(lake: LakeResource, qdrant: QdrantResource) -> AssetCheckResult:
    """The collection holds exactly the corpus' chunks: the same ids, content hashes and payload digests."""
    differing = points = 0
    with qdrant.open() as index:
        for bucket in sorted(int(key) for key in BUCKETS.get_partition_keys()):
            desired = desired_points(lake.scan(CHUNKS, bucket).collect(), lake.scan(TAGS, bucket).collect())
            held = held_points(index.scroll_hashes(bucket), with_content=True)
            found = compare(desired, held)
            differing += len(found.new) + len(found.changed) + len(found.gone)
            points += held.height
        foreign = index.count() - points
    return verdict("points missing, stale or foreign", found=differing + foreign, metadata={"points": points})


@asset_check(asset=AssetKey(["qdrant", "promotion"]), name="encoder_is_served")
def encoder_is_served(embedder: EmbedderResource, qdrant: QdrantResource) -> AssetCheckResult:
    """A generation is served, and it holds the encoder's vectors and terms: otherwise nothing can be found."""
    wanted = recipe_of(embedder.model(), qdrant.quantization)
    with qdrant.generations() as generations:
        serving = generations.serving()
    served = serving.recipe.model if serving else "none"
    is_served = serving is not None and serving.recipe.has_vectors_of(wanted)
    return verdict("encoders without a served generation", found=int(not is_served), metadata={"served": served})


@asset_check(asset=AssetKey(["qdrant", "promotion"]), name="newest_is_served")
def newest_is_served(embedder: EmbedderResource, qdrant: QdrantResource) -> AssetCheckResult:
    """A warning when the generation that the settings ask for was refused by the gate, or rolled back."""
    wanted = recipe_of(embedder.model(), qdrant.quantization)
    with qdrant.generations() as generations:
        serving, waiting = generations.serving(), candidate(generations, wanted)
    passed = serving is not None and serving.recipe == wanted
    why = "was rolled back" if waiting and waiting.held else "has not passed the gate"
    told = f"{serving.name if serving else 'Nothing'} is served"
    return AssetCheckResult(
        passed=passed,
        severity=AssetCheckSeverity.WARN,
        description=f"{told}." if passed else f"{told}; {waiting.name if waiting else 'what is asked for'} {why}.",
    )


CHECKS = [
    every_post_decided,
    counts_add_up,
    chunks_match_decisions,
    frequencies_in_range,
    vectors_unit_length,
    every_chunk_has_vector,
    points_match_chunks,
    encoder_is_served,
    newest_is_served,
]
