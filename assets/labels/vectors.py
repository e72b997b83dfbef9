"""The vectors of labelled posts and accounts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from assets.corpus import CHUNKS
from assets.embeddings import with_vectors
from assets.transforms.verticals.scoring import ACCOUNT, POST
from resources.delta.table import LakeResource
from resources.models.embedder import EmbeddingModel

_MOST_OF_ACCOUNT = 30
"""Chunks that an account's vector is the mean of: its first, by post."""


def item_vectors(
    lake: LakeResource, model: EmbeddingModel, kind: str, ids: pl.Series, buckets: Sequence[int]
) -> tuple[pl.DataFrame, npt.NDArray[np.float32]]:
    """Return (item_id, account_id) of the items that have a vector, by id, and their vectors of unit length.

    A post's vector is the mean of those of its chunks, an account's the mean of those of its posts. Memory: the vectors
    of one bucket's chunks of these items, and the result.
    """
    wanted, named = ids.unique().implode(), "post_id" if kind == POST else "account_id"
    items, parts = [], []
    for bucket in buckets:
        columns = ["account_id", "post_id", "chunk_no", "content_hash"]
        chunks = lake.scan_cached(CHUNKS, bucket).filter(pl.col(named).is_in(wanted)).select(columns).collect()
        if chunks.is_empty():
            continue
        chunks = chunks.with_columns(item_id=pl.col(named)).sort("item_id", "post_id", "chunk_no")
        if kind == ACCOUNT:
            chunks = chunks.group_by("item_id", maintain_order=True).head(_MOST_OF_ACCOUNT)
        _, vectors = with_vectors(lake, bucket, chunks, model)
        starts = chunks["item_id"].rle_id().to_numpy()
        sums = np.zeros((int(starts.max()) + 1, vectors.shape[1]), np.float64)
        np.add.at(sums, starts, vectors)
        lengths = np.linalg.norm(sums, axis=1)
        held = lengths > 0
        items.append(chunks.unique("item_id", keep="first", maintain_order=True).filter(pl.Series(held)))
        parts.append((sums[held] / lengths[held, None]).astype(np.float32))
    if not items:
        return pl.DataFrame(schema={"item_id": pl.String, "account_id": pl.String}), np.zeros((0, 1), np.float32)
    rows = pl.concat(items).select("item_id", "account_id").with_row_index("_row").sort("item_id")
    return rows.drop("_row"), np.concatenate(parts)[rows["_row"].to_numpy()]
