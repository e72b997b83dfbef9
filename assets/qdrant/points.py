"""Points as the lake would have them, and bringing a generation of the collection in line with it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.corpus import CHUNKS
from assets.embeddings import as_vectors_lie, with_vectors
from assets.transforms.search.points import SHOWN, IndexChanges, compare, desired_points, payloads
from assets.verticals import TAGS
from resources.delta.table import LakeResource
from resources.models.embedder import EmbeddingModel
from resources.raw.store import BucketCountError
from resources.vectors.bm25 import SPARSE_ENCODING, SparseEncoder
from resources.vectors.generations import Recipe
from resources.vectors.protocol import VectorIndex
from resources.vectors.values import IndexPoint
from resources.wiring import bucket_count

_POINTS_AT_ONCE = 2_048
"""Points whose vectors are in memory together: 3 MB of vectors, and their payloads."""


def recipe_of(model: EmbeddingModel, quantization: str) -> Recipe:
    """What a generation of today is made by."""
    return Recipe(model.name, model.dimension, SPARSE_ENCODING, quantization)


@dataclass(frozen=True)
class Desired:
    """What a bucket should hold: ``desired_points`` in the order in which vectors lie. Memory: the bucket's texts."""

    bucket: int
    points: pl.DataFrame

    @property
    def ids(self) -> list[str]:
        """Every point's."""
        return self.points["point_id"].to_list()

    def of(self, ids: Sequence[str]) -> pl.DataFrame:
        """Some of the points, in their order."""
        return self.points.filter(pl.col("point_id").is_in(pl.Series(ids, dtype=pl.String).implode()))


@dataclass(frozen=True)
class Written:
    """How many points were written whole, how many kept their vectors, and what they had to be brought in line with."""

    upserted: int
    payloads_set: int
    todo: IndexChanges


@dataclass(frozen=True)
class PointWriter:
    """Writes points of the lake's corpus, vectors and tags; embeds nothing."""

    lake: LakeResource
    model: EmbeddingModel

    @cached_property
    def _encoder(self) -> SparseEncoder:
        return SparseEncoder()

    def lake_has_chunks(self) -> bool:
        """Whether the corpus was ever made."""
        return self.lake.open(CHUNKS) is not None

    def require_bucket_count(self) -> None:
        """Raise BucketCountError when the corpus has buckets that today's setting has not.

        Nobody would look at them, and their points would be taken for points of no bucket.
        """
        last, count = max(self.lake.contents(CHUNKS), default=0), bucket_count()
        if last >= count:
            message = (
                f"{CHUNKS.name} has rows of bucket {last}, but CIPPUS_BUCKETS is {count}: "
                "set it to the number of buckets that the lake was written with."
            )
            raise BucketCountError(message)

    def desired(self, bucket: int) -> Desired:
        """What a bucket should hold by today's tables."""
        # In the order in which vectors lie, so that each part of what is written reads a stretch of them.
        chunks = as_vectors_lie(self.lake.scan_cached(CHUNKS, bucket).select("point_id", "posted_at", *SHOWN).collect())
        return Desired(bucket, desired_points(chunks, self.lake.scan_cached(TAGS, bucket).collect()))

    def bring_up_to_date(
        self, index: VectorIndex, desired: Desired, held: pl.DataFrame, on_progress: Callable[[int, int], None]
    ) -> Written:
        """Compare with the ``held_points`` of a bucket and write what differs; ``on_progress(done, of)`` meanwhile.

        A point whose text is what the index has keeps its vectors: only the payload is replaced.
        """
        todo = compare(desired.points, held)
        # By bucket, too: what moved to another one, which is made at the same time, may be written there by now.
        index.delete(todo.gone, desired.bucket)
        contents = {point.id: point.content_hash for point in index.hashes(todo.changed)}
        changed = desired.of(todo.changed)
        known = pl.Series([contents.get(point) for point in changed["point_id"]], dtype=pl.String)
        kept = changed.filter(changed["content_hash"].eq_missing(known))
        index.set_payload(zip(kept["point_id"], payloads(kept), strict=True))
        reembedded = changed.join(kept, on="point_id", how="anti")["point_id"]
        self.write(index, desired, [*todo.new, *reembedded], on_progress)
        return Written(len(todo.new) + len(reembedded), kept.height, todo)

    def write(
        self, index: VectorIndex, desired: Desired, ids: Sequence[str], on_progress: Callable[[int, int], None]
    ) -> None:
        """Write some points of a bucket whole. Raises MissingVectorError when a text was never embedded."""
        chosen = desired.of(ids)
        for start in range(0, chosen.height, _POINTS_AT_ONCE):
            part = chosen[start : start + _POINTS_AT_ONCE]
            index.upsert(self.points(desired.bucket, part))
            on_progress(start + part.height, chosen.height)

    def points(self, bucket: int, points: pl.DataFrame) -> Iterator[IndexPoint]:
        """Some of a bucket's ``desired_points``, in their order, with the vectors that the lake holds."""
        rows, vectors = with_vectors(self.lake, bucket, points, self.model)
        sparse = self._encoder.encode_documents(rows["text"].to_list())
        for point, dense, terms, payload in zip(rows["point_id"], vectors, sparse, payloads(rows), strict=True):
            yield IndexPoint(point, dense, terms, payload)

    def embedded(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of a few texts that are not of the corpus, shape (texts, dimension)."""
        vectors = np.empty((len(texts), self.model.dimension), np.float32)
        for indices, batch in self.model.embed(texts):
            vectors[indices] = batch
        return vectors

    def vectors(self, bucket: int, block: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Point ids of a bucket and their vectors in the lake, a block at a time."""
        chunks = as_vectors_lie(
            self.lake.scan_cached(CHUNKS, bucket).select("point_id", "content_hash", "account_id").collect()
        )
        for part in chunks.iter_slices(block):
            rows, vectors = with_vectors(self.lake, bucket, part, self.model)
            yield rows["point_id"].to_list(), vectors
