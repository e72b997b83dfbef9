"""Points computed from the lake, and writing them to a generation of the collection."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.corpus import CHUNKS
from assets.embeddings import in_vector_order, with_vectors
from assets.transforms.search.points import SHOWN, IndexChanges, compare, desired_points, payloads
from assets.verticals import TAGS
from resources.delta.table import LakeResource
from resources.models.embedder import EmbeddingModel
from resources.raw.store import BucketCountError
from resources.settings import bucket_count
from resources.vectors.bm25 import SPARSE_ENCODING, SparseEncoder
from resources.vectors.generations import IndexConfig
from resources.vectors.index import VectorIndex
from resources.vectors.values import IndexPoint

_POINTS_AT_ONCE = 2_048
"""Points whose vectors are in memory together: 3 MB of vectors, and their payloads."""


def index_config_of(model: EmbeddingModel, quantization: str) -> IndexConfig:
    """Return the config of a generation made now."""
    return IndexConfig(model.name, model.dimension, SPARSE_ENCODING, quantization)


@dataclass(frozen=True)
class Desired:
    """The ``desired_points`` of a bucket in the order of its vectors. Memory: the bucket's texts."""

    bucket: int
    points: pl.DataFrame

    @property
    def ids(self) -> list[str]:
        """The id of every point."""
        return self.points["point_id"].to_list()

    def of(self, ids: Sequence[str]) -> pl.DataFrame:
        """Return the points with these ids, in the bucket's order."""
        return self.points.filter(pl.col("point_id").is_in(pl.Series(ids, dtype=pl.String).implode()))


@dataclass(frozen=True)
class Written:
    """Number of points upserted whole and with a new payload only, and the differences that were found."""

    upserted: int
    payloads_set: int
    todo: IndexChanges


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

    def desired(self, bucket: int) -> Desired:
        """Return the points that a bucket should hold."""
        # In the order of the vectors, so that each part that is written reads a range of them.
        chunks = in_vector_order(
            self.lake.scan_cached(CHUNKS, bucket).select("point_id", "posted_at", *SHOWN).collect()
        )
        return Desired(bucket, desired_points(chunks, self.lake.scan_cached(TAGS, bucket).collect()))

    def bring_up_to_date(
        self, index: VectorIndex, desired: Desired, held: pl.DataFrame, on_progress: Callable[[int, int], None]
    ) -> Written:
        """Compare with the ``held_points`` of a bucket and write the differences; call ``on_progress(done, total)``.

        A point whose text is unchanged keeps its vectors: only the payload is replaced.
        """
        todo = compare(desired.points, held)
        # Within the bucket: a point that moved to another bucket may have been written there meanwhile.
        index.delete(todo.gone, desired.bucket)
        changed = desired.of(todo.changed)
        kept = changed.join(held, on=["point_id", "content_hash"], how="semi", maintain_order="left")
        index.set_payload(zip(kept["point_id"], payloads(kept), strict=True))
        reembedded = changed.join(kept, on="point_id", how="anti")["point_id"]
        self.write(index, desired, [*todo.new, *reembedded], on_progress)
        return Written(len(todo.new) + len(reembedded), kept.height, todo)

    def write(
        self, index: VectorIndex, desired: Desired, ids: Sequence[str], on_progress: Callable[[int, int], None]
    ) -> None:
        """Write points of a bucket with vectors and payload. Raise MissingVectorError for a text without a vector."""
        chosen = desired.of(ids)
        for start in range(0, chosen.height, _POINTS_AT_ONCE):
            part = chosen[start : start + _POINTS_AT_ONCE]
            index.upsert(self.points(desired.bucket, part))
            on_progress(start + part.height, chosen.height)

    def points(self, bucket: int, points: pl.DataFrame) -> Iterator[IndexPoint]:
        """Yield ``desired_points`` of a bucket, in their order, with the vectors of the lake."""
        rows, vectors = with_vectors(self.lake, bucket, points, self.model)
        sparse = self._encoder.encode_documents(rows["text"].to_list())
        for point, dense, terms, payload in zip(rows["point_id"], vectors, sparse, payloads(rows), strict=True):
            yield IndexPoint(point, dense, terms, payload)

    def vectors(self, bucket: int, block: int) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Yield point ids of a bucket and their vectors in the lake, ``block`` at a time."""
        columns = ["point_id", "content_hash", "account_id"]
        for part in in_vector_order(self.lake.scan_cached(CHUNKS, bucket).select(columns).collect()).iter_slices(block):
            rows, vectors = with_vectors(self.lake, bucket, part, self.model)
            yield rows["point_id"].to_list(), vectors
