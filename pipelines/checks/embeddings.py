"""Checks of embedding/*."""

import numpy as np
import polars as pl

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from pipelines.checks import Metadata, check, count
from resources.delta.table import LakeResource
from resources.llm.embedder import EmbedderResource

_UNIT_TOLERANCE = 1e-4


@check("embedding/cippus_text", "vectors not finite, not of unit length, or repeated")
def vectors_unit_length(lake: LakeResource, embedder: EmbedderResource) -> tuple[int, Metadata]:
    """Vectors are finite, of unit length and of the model's dimension, one per content hash and bucket.

    A text that the model cannot read has a vector of zeros. The metadata counts them.
    """
    odd = total = unreadable = 0
    for bucket in sorted(lake.contents(VECTORS)):
        stored = lake.scan(VECTORS, bucket).filter(pl.col("model") == embedder.model().name).collect()
        sized = stored.filter(pl.col("vector").list.len() == embedder.model().dimension)
        vectors = sized["vector"].explode(empty_as_null=False).to_numpy().reshape(sized.height, -1)
        is_zero = ~vectors.any(axis=1)
        is_unit = np.abs(np.linalg.norm(vectors, axis=1) - 1) < _UNIT_TOLERANCE
        good = np.isfinite(vectors).all(axis=1) & (is_unit | is_zero)
        unreadable += int(is_zero.sum())
        odd += stored.height - int(good.sum()) + stored.height - stored["content_hash"].n_unique()
        total += stored.height
    return odd, {"vectors": total, "unreadable": unreadable}


@check("embedding/cippus_text", "texts without a vector")
def every_chunk_has_vector(lake: LakeResource, embedder: EmbedderResource) -> int:
    """Every text of the corpus has a vector of the current model in its bucket."""
    place = ["account_bucket", "content_hash"]
    stored = lake.scan(VECTORS).filter(pl.col("model") == embedder.model().name)
    return count(lake.scan(CHUNKS).select(place).unique().join(stored, on=place, how="anti"))
