"""Points computed from the lake, and writing them to a generation of the collection."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.corpus import CHUNKS
from assets.embeddings import in_vector_order, with_vectors
from assets.transforms.search.points import ADD, REWRITE, SET_PAYLOAD, SHOWN, compare, desired_points, payloads
from assets.verticals.tags import TAGS
from resources.delta.table import Changes, LakeResource
from resources.models.embedder import EmbeddingModel
from resources.raw.store import BucketCountError
from resources.settings import bucket_count
from resources.vectors.bm25 import SPARSE_ENCODING, SparseEncoder
from resources.vectors.generations import IndexConfig
from resources.vectors.index import VectorIndex
from resources.vectors.values import IndexPoint

OnProgress = Callable[[int, int], None]
_POINTS_AT_ONCE = 2_048
"""Points whose vectors are in memory together: 3 MB of vectors, and their payloads."""


def index_config_of(model: EmbeddingModel, quantization: str) -> IndexConfig:
    """Return the config of a generation made now."""
    return IndexConfig(model.name, model.dimension, SPARSE_ENCODING, quantization)


@dataclass(frozen=True)
class PointWriter:
    """Writes points made of the lake's corpus, vectors and tags; embeds nothing."""

    lake: LakeResource
    model: EmbeddingModel

    @cached_property
    def _encoder(self) -> SparseEncoder:
        return SparseEncoder()

    def require_bucket_count(self) -> None:
        """Raise BucketCountError when the corpus has a bucket beyond CIPPUS_BUCKETS: its points would be orphaned."""
        last, count = max(self.lake.contents(CHUNKS), default=0), bucket_count()
        if last >= count:
            raise BucketCountError(
                f"{CHUNKS.name} has rows of bucket {last}, but CIPPUS_BUCKETS is {count}: "
                "set it to the number of buckets that the lake was written with."
            )

    def desired(self, bucket: int) -> pl.DataFrame:
        """Return the ``desired_points`` of a bucket in the order of its vectors. Memory: the bucket's texts."""
        # In the order of the vectors, so that each part that is written reads a range of them.
        chunks = in_vector_order(
            self.lake.scan_cached(CHUNKS, bucket).select("point_id", "posted_at", *SHOWN).collect()
        )
        return desired_points(chunks, self.lake.scan_cached(TAGS, bucket).collect())

    def bring_up_to_date(
        self, index: VectorIndex, bucket: int, desired: pl.DataFrame, stored: pl.DataFrame, on_progress: OnProgress
    ) -> tuple[Changes, Counter[str]]:
        """Compare with the ``stored_points`` of a bucket and write the differences.

        A point whose text is unchanged keeps its vectors: only the payload is replaced.
        """
        compared, unwanted = compare(desired, stored)
        # Within the bucket: a point that moved to another bucket may have been written there meanwhile.
        index.delete(unwanted, bucket)
        same_text = compared.filter(pl.col("action") == SET_PAYLOAD)
        index.set_payload(zip(same_text["point_id"], payloads(same_text), strict=True))
        upserted = compared.filter(pl.col("action").is_in([ADD, REWRITE]))
        self.write(index, bucket, upserted, on_progress)
        added, unchanged = upserted.filter(pl.col("action") == ADD).height, compared["action"].null_count()
        counts = Counter(upserted=upserted.height, payloads_set=same_text.height, points_deleted=len(unwanted))
        return Changes(added, compared.height - added - unchanged, len(unwanted), unchanged), counts

    def write(
        self,
        index: VectorIndex,
        bucket: int,
        points: pl.DataFrame,
        on_progress: OnProgress = lambda _done, _total: None,
    ) -> None:
        """Write ``desired_points`` of a bucket with vectors and payload; call ``on_progress(done, total)``.

        Raises MissingVectorError for a text without a vector.
        """
        done = 0
        for part in points.iter_slices(_POINTS_AT_ONCE):
            done += index.upsert(self.points(bucket, part))
            on_progress(done, points.height)

    def points(self, bucket: int, points: pl.DataFrame) -> Iterator[IndexPoint]:
        """Yield ``desired_points`` of a bucket, in their order, with the vectors of the lake."""
        rows, vectors = with_vectors(self.lake, bucket, points, self.model)
        sparse = self._encoder.encode_documents(rows["text"].to_list())
        for point, dense, terms, payload in zip(rows["point_id"], vectors, sparse, payloads(rows), strict=True):
            yield IndexPoint(point, dense, terms, payload)

    def vectors(self, bucket: int, block: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Yield point ids of a bucket and their vectors in the lake, without unreadable texts, ``block`` at a time."""
        columns = ["point_id", "content_hash", "account_id"]
        for part in in_vector_order(self.lake.scan_cached(CHUNKS, bucket).select(columns).collect()).iter_slices(block):
            rows, vectors = with_vectors(self.lake, bucket, part, self.model)
            is_read = pl.Series(vectors.any(axis=1), dtype=pl.Boolean)
            yield rows["point_id"].filter(is_read).to_list(), vectors[is_read]
