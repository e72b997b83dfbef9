"""Checks of embedding/*."""

import numpy as np
import polars as pl
from dagster import AssetCheckResult, AssetKey, asset_check

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from pipelines.checks import verdict
from resources.delta.table import LakeResource
from resources.llm.embedder import EmbedderResource

_UNIT_TOLERANCE = 1e-4


@asset_check(asset=AssetKey(["embedding", "cippus_text"]), name="vectors_unit_length")
def vectors_unit_length(lake: LakeResource, embedder: EmbedderResource) -> AssetCheckResult:
    """Vectors are finite, of unit length and of the model's dimension, one per content hash and bucket."""
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
    """Every text of the corpus has a vector of the current model in its bucket."""
    place = ["account_bucket", "content_hash"]
    held = lake.scan(VECTORS).filter(pl.col("model") == embedder.model().name).select(place)
    missing = lake.scan(CHUNKS).select(place).unique().join(held, on=place, how="anti").collect()
    return verdict("texts without a vector", found=missing.height)
