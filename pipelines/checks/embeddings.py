"""Checks of embedding/*."""

from datetime import UTC, datetime

import numpy as np
import polars as pl

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, embedded
from pipelines.checks.declaration import Metadata, check, count
from resources.delta.table import LakeResource
from resources.llm.embedder import EmbedderResource

_UNIT_TOLERANCE = 1e-4
_SAMPLED_TEXTS, _LEAST_COSINE = 8, 0.99
"""Texts of a bucket that are embedded again, and the cosine with the stored vector. Batches round differently."""


def _model(embedder: EmbedderResource) -> str:
    return embedder.model().name


@check(
    "embedding/cippus_text",
    "vectors not finite, not of unit length, or repeated",
    reads=(VECTORS,),
    version=_model,
    by_bucket=True,
    guards=True,
)
def vectors_unit_length(bucket: int, lake: LakeResource, embedder: EmbedderResource) -> tuple[int, Metadata]:
    """Vectors are finite, of unit length and of the model's dimension, one per content hash and bucket.

    A text that the model cannot read has a vector of zeros. The metadata counts them.
    """
    stored = lake.scan_cached(VECTORS, bucket).filter(pl.col("model") == embedder.model().name).collect()
    sized = stored.filter(pl.col("vector").list.len() == embedder.model().dimension)
    vectors = sized["vector"].explode(empty_as_null=False).to_numpy().reshape(sized.height, -1)
    is_zero = ~vectors.any(axis=1)
    is_unit = np.abs(np.linalg.norm(vectors, axis=1) - 1) < _UNIT_TOLERANCE
    good = np.isfinite(vectors).all(axis=1) & (is_unit | is_zero)
    odd = stored.height - int(good.sum()) + stored.height - stored["content_hash"].n_unique()
    return odd, {"vectors": stored.height, "unreadable": int(is_zero.sum())}


@check(
    "embedding/cippus_text",
    "texts without a vector",
    reads=(CHUNKS, VECTORS),
    version=_model,
    by_bucket=True,
    guards=True,
)
def every_chunk_has_vector(bucket: int, lake: LakeResource, embedder: EmbedderResource) -> int:
    """Every text of the corpus has a vector of the current model in its bucket."""
    stored = lake.scan_cached(VECTORS, bucket).filter(pl.col("model") == embedder.model().name)
    texts = lake.scan_cached(CHUNKS, bucket).select("content_hash").unique()
    return count(texts.join(stored, on="content_hash", how="anti"))


@check(
    "embedding/cippus_text",
    "vectors of another text",
    reads=(VECTORS,),
    version=_model,
    by_bucket=True,
    daily=True,
)
def vectors_match_texts(bucket: int, lake: LakeResource, embedder: EmbedderResource) -> tuple[int, Metadata]:
    """Some texts of each changed bucket are embedded again; their vectors are the stored ones.

    The sample is another one every day.
    """
    model, today = embedder.model(), datetime.now(UTC).toordinal()
    texts = lake.scan_cached(CHUNKS, bucket).select("content_hash", "text").unique("content_hash")
    stored = lake.scan_cached(VECTORS, bucket).filter(
        (pl.col("model") == model.name) & (pl.col("vector").list.len() == model.dimension)
    )
    joined = texts.join(stored.select("content_hash", "vector"), on="content_hash")
    sample = joined.collect().sort(pl.col("content_hash").hash(today)).head(_SAMPLED_TEXTS)
    if sample.is_empty():
        return 0, {"texts": 0}
    found = sample["vector"].explode(empty_as_null=False).to_numpy().reshape(sample.height, -1)
    again = embedded(model, sample["text"].to_list())
    is_alike = (found * again).sum(axis=1) > _LEAST_COSINE
    is_unreadable = ~(found.any(axis=1) | again.any(axis=1))
    return int((~(is_alike | is_unreadable)).sum()), {"texts": sample.height}
