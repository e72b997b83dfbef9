"""embedding/*: one vector per (content hash, model), computed once wherever the text turns up.

Belongs here: finding what is not embedded yet, embedding it, writing as it goes. Not here: the model.
"""

import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, MaterializeResult, asset

from assets.corpus import CHUNKS
from assets.incremental import Stage, Tally, refresh
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from resources.embedder import EmbedderResource, MiniLmModel
from resources.lake import Changes, LakeResource, TableSpec
from resources.ledger import LedgerResource

GROUP = "embedding"
_FLUSH_VECTORS = 2_048
"""Vectors a commit carries: what a crash can lose, some 20 s of work on two cores, and 3 MB."""

VECTORS = TableSpec(
    "embedding/cippus_text",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            ("content_hash", pa.string()),
            ("model", pa.string()),
            ("vector", pa.list_(pa.float32())),
        ]
    ),
    ("content_hash", "model"),
)
"""Each bucket holds every vector that its chunks need, so that everything downstream reads one bucket; a text that
another bucket has embedded is copied from there."""


@asset(
    key=["embedding", "cippus_text"],
    deps=[["corpus", "cippus_text"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="Unit vectors by content hash and model; only texts that no bucket has embedded reach the encoder.",
    owners=["team:search"],
    kinds={"delta", "onnx"},
)
def vectors(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> MaterializeResult[None]:
    """Embed the new texts of stale buckets, longest work in commits of bounded size."""
    model = embedder.model()

    def embed(bucket: int, tally: Tally) -> Changes:
        pending = _pending(lake, bucket, model.name)
        copied = _copy(lake, bucket, pending, model.name)
        new = pending.join(copied, on="content_hash", how="anti")
        for rows in _embedded(context, new, model, bucket):
            lake.append(VECTORS, rows)
            tally.counts["embedded"] += rows.height
        tally.counts["copied"] += copied.height
        return Changes(inserted=pending.height)

    tally_counts = {"embedded": 0, "copied": 0}
    stage = Stage(VECTORS.name, (CHUNKS,), version=model.name)
    tally = refresh(context, lake, ledger, stage, lambda _: lake.contents(VECTORS), embed)
    tally.counts.update(tally_counts)
    return tally.result()


def _pending(lake: LakeResource, bucket: int, model: str) -> pl.DataFrame:
    """(content_hash, text, tokens) of the bucket's distinct texts that have no vector in it."""
    known = lake.scan(VECTORS, bucket).filter(pl.col("model") == model).select("content_hash")
    texts = lake.scan(CHUNKS, bucket).select("content_hash", "text", "tokens")
    return texts.unique("content_hash").join(known, on="content_hash", how="anti").sort("content_hash").collect()


def _copy(lake: LakeResource, bucket: int, pending: pl.DataFrame, model: str) -> pl.DataFrame:
    """Copy vectors that other buckets hold; returns their hashes. Reads hashes first, vectors only of matches."""
    if pending.is_empty():
        return pending.select("content_hash")
    elsewhere = lake.scan(VECTORS).filter((pl.col("model") == model) & (pl.col("account_bucket") != bucket))
    wanted = pl.col("content_hash").is_in(pending["content_hash"].implode())
    found = elsewhere.filter(wanted).select("content_hash").unique().collect()
    for start in range(0, found.height, _FLUSH_VECTORS):
        part = found[start : start + _FLUSH_VECTORS]
        rows = elsewhere.filter(pl.col("content_hash").is_in(part["content_hash"].implode())).collect()
        lake.append(VECTORS, rows.unique("content_hash").with_columns(account_bucket=pl.lit(bucket, pl.Int32)))
    return found


def _embedded(
    context: AssetExecutionContext, texts: pl.DataFrame, model: MiniLmModel, bucket: int
) -> Iterator[pl.DataFrame]:
    """Rows of VECTORS for texts, in flushes; neighbours in length share a flush, so that batches pad little."""
    ordered, started = texts.sort("tokens", "content_hash", descending=[True, False]), time.monotonic()
    total, done = int(ordered["tokens"].sum()), 0
    for start in range(0, ordered.height, _FLUSH_VECTORS):
        window = ordered[start : start + _FLUSH_VECTORS]
        made = np.empty((window.height, model.dimension), dtype=np.float32)
        for indices, batch in model.embed(window["text"].to_list()):
            made[indices] = batch
        done += int(window["tokens"].sum())
        rest = (time.monotonic() - started) / max(done, 1) * (total - done)
        context.log.info(
            "bucket %s: %s of %s texts embedded, about %.0f s left", bucket, start + len(made), texts.height, rest
        )
        yield pl.DataFrame(
            {
                "account_bucket": pl.repeat(bucket, len(made), dtype=pl.Int32, eager=True),
                "content_hash": window["content_hash"],
                "model": pl.repeat(model.name, len(made), eager=True),
                "vector": pl.Series(made, dtype=pl.List(pl.Float32)),
            }
        )


def with_vectors(
    lake: LakeResource, bucket: int, rows: pl.DataFrame, model: MiniLmModel
) -> tuple[pl.DataFrame, npt.NDArray[np.float32]]:
    """Rows that have a ``content_hash``, and their vectors, shape (rows, dimension).

    Raises MissingVectorError when a text has none: the stage before has not run for this bucket.
    """
    held = lake.scan(VECTORS, bucket).filter(pl.col("model") == model.name)
    wanted = held.filter(pl.col("content_hash").is_in(rows["content_hash"].unique().implode()))
    found = wanted.select("content_hash", "vector").collect().unique("content_hash")
    joined = rows.join(found, on="content_hash", how="left", maintain_order="left")
    missing = joined["vector"].null_count()
    if missing:
        message = f"{missing} texts of bucket {bucket} have no vector: materialize embedding/cippus_text first."
        raise MissingVectorError(message)
    vectors_of = joined["vector"].explode(empty_as_null=False).to_numpy() if joined.height else np.empty(0, np.float32)
    return rows, vectors_of.reshape(rows.height, model.dimension).astype(np.float32, copy=False)


class MissingVectorError(RuntimeError):
    """A chunk has no vector in its bucket."""


ASSETS = [vectors]
