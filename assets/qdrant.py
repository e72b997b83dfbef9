"""qdrant/*: the collection that search reads.

Belongs here: bringing the points in line with corpus, vectors and tags. Not here: engines (resources/qdrant.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from dagster import AssetExecutionContext, MaterializeResult
from numpy.typing import NDArray

from assets.asset import asset
from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, with_vectors
from assets.incremental import Stage, Tally, refresh
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from assets.transforms.points import compare, payloads
from assets.verticals import TAGS
from resources.bm25 import SPARSE_ENCODING, SparseEncoder
from resources.embedder import EmbedderResource
from resources.lake import Changes, Contents, LakeResource, fingerprint
from resources.ledger import LedgerResource
from resources.qdrant import IndexPoint, QdrantResource, VectorIndex

GROUP = "qdrant"
_POINTS_AT_ONCE = 2_048
"""Points whose vectors are in memory together: 3 MB of vectors, and their payloads."""


@asset(
    key=["qdrant", "cippus_text"],
    deps=[["corpus", "cippus_text"], ["embedding", "cippus_text"], ["vertical", "tags"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    pool="qdrant",
    group_name=GROUP,
    description="One point a chunk: dense and BM25 vectors, and a payload to filter by and to show.",
    owners=["team:search"],
    kinds={"qdrant"},
)
def points(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    embedder: EmbedderResource,
    qdrant: QdrantResource,
) -> MaterializeResult[None]:
    """Compare (id, hash) pairs with the collection bucket by bucket; write only what differs."""
    model, encoder = embedder.model(), SparseEncoder()
    with qdrant.open() as index:
        index.ensure_collection(model.dimension)

        def contents(buckets: Sequence[int]) -> dict[int, Contents]:
            return {bucket: _contents(index, bucket) for bucket in buckets}

        def bring_up_to_date(bucket: int, tally: Tally) -> Changes:
            chunks = lake.scan(CHUNKS, bucket).collect()
            desired = payloads(chunks, lake.scan(TAGS, bucket).collect())
            held = ((point.id, point.content_hash, point.payload_hash) for point in index.scroll_hashes(bucket))
            todo = compare(desired, held)
            index.delete(todo.gone)
            index.set_payload((point, desired[point]) for point in todo.repayloaded)
            upserts = chunks.filter(pl.col("point_id").is_in(pl.Series([*todo.new, *todo.reembedded]).implode()))
            for start in range(0, upserts.height, _POINTS_AT_ONCE):
                part = upserts[start : start + _POINTS_AT_ONCE]
                index.upsert(_points(*with_vectors(lake, bucket, part, model), encoder, desired))
                context.log.info("bucket %s: %s of %s points upserted", bucket, start + part.height, upserts.height)
            tally.counts.update(
                upserted=upserts.height, payloads_set=len(todo.repayloaded), points_deleted=len(todo.gone)
            )
            updated = len(todo.reembedded) + len(todo.repayloaded)
            return Changes(len(todo.new), updated, len(todo.gone), todo.unchanged)

        stage = Stage("qdrant/cippus_text", (CHUNKS, VECTORS, TAGS), fingerprint([model.name, SPARSE_ENCODING]))
        tally = refresh(context, lake, ledger, stage, contents, bring_up_to_date)
        if tally.changes.written:
            index.optimize()
        tally.counts.update(upserted=0, payloads_set=0, points_deleted=0)
        return tally.result()


def _contents(index: VectorIndex, bucket: int) -> Contents:
    """A bucket of the collection by every point's id and hashes, so that lost, foreign and stale points are seen.

    Reads no vector and no text, but every point's hashes (70,000 a second): the index keeps no fingerprint of its own.
    """
    held = sorted(f"{point.id} {point.content_hash} {point.payload_hash}" for point in index.scroll_hashes(bucket))
    return Contents(fingerprint([index.generation(), *held]), len(held), 0)


def _points(
    chunks: pl.DataFrame, vectors: NDArray[np.float32], encoder: SparseEncoder, desired: Mapping[str, dict[str, Any]]
) -> Iterator[IndexPoint]:
    sparse = encoder.encode_documents(chunks["text"].to_list())
    for point, dense, terms in zip(chunks["point_id"], vectors, sparse, strict=True):
        yield IndexPoint(point, dense, terms, desired[point])


ASSETS = [points]
