"""embedding/*: one vector per (content hash, model), computed once wherever the text turns up."""

import hashlib
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, MaterializeResult

from assets.corpus import CHUNKS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, LakeResource, TableSpec
from resources.models.embedder import EmbedderResource, EmbeddingModel
from resources.vectors.store import SLICE, VectorStore

GROUP = "embedding"
FLUSH_VECTORS, FLUSH_SECONDS = 16_384, 60.0
"""What a commit carries, whichever is first: at most 25 MB, and so much work a crash can lose."""
WINDOW_TEXTS = 65_536
"""Texts that are sorted by length and embedded together: about 30 MB of text."""
PLACE = ["account_id", "post_id", "chunk_no"]
"""The first chunk in this order says for which account a text is embedded."""

VECTORS = TableSpec(
    "embedding/cippus_text",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            (SLICE, pa.int32()),
            ("content_hash", pa.string()),
            ("model", pa.string()),
            ("vector", pa.list_(pa.float32())),
        ]
    ),
    (SLICE, "content_hash", "model"),
    text_columns=("content_hash", "model"),
    row_group_bytes=256 << 10,  # 170 vectors: those of an account are in one to three
)
"""Each bucket holds every vector that its chunks need, so that everything downstream reads one bucket; a text that
another bucket has embedded is copied from there. The slice is of the account that a text was embedded for, so an
account's vectors lie together; another account with the same text in that bucket uses the same vector."""


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
    model, store = embedder.model(), VectorStore(lake, VECTORS)
    places: list[pl.DataFrame] = []  # where texts of this run's buckets have their vectors, looked up once

    def embed(bucket: int, tally: RunMetrics) -> Changes:
        if not places:
            places.append(store.known(_hashes(lake, [int(key) for key in context.partition_keys]), model.name))
        here = places[0].filter(pl.col("account_bucket") == bucket)
        missing = _sliced(lake, bucket, _hashes(lake, [bucket]).join(here, on="content_hash", how="anti"))
        pending, elsewhere = _pending(missing, places[0])
        copied = [pl.Series("content_hash", [], pl.String)]
        for rows in _copies(store, elsewhere, bucket, model.name):
            store.append(rows)
            copied.append(rows["content_hash"])
        tally.counts["copied"] += sum(len(part) for part in copied)
        gone = elsewhere.filter(~pl.col("content_hash").is_in(pl.concat(copied).implode()))  # since it was looked up
        pending = pl.concat([pending, gone.select(pending.columns)])
        for rows in _embedded(context, lake, pending, model, bucket):
            store.append(rows)
            tally.counts["embedded"] += rows.height
        written = pl.concat([pending["content_hash"], *copied])
        added = pl.DataFrame(
            {"account_bucket": pl.repeat(bucket, len(written), dtype=pl.Int32, eager=True), "content_hash": written}
        )
        places[0] = pl.concat([places[0], added])
        return Changes(inserted=len(written))

    stage = Stage(VECTORS.name, (CHUNKS,), version=model.name)
    tally = refresh(context, lake, ledger, stage, lambda buckets: lake.contents(VECTORS, buckets), embed)
    tally.counts.update(embedded=0, copied=0)
    return tally.result()


def _hashes(lake: LakeResource, buckets: Sequence[int]) -> pl.DataFrame:
    """(content_hash, tokens) of the distinct texts of some buckets, in no order."""
    chunks = pl.concat([lake.scan_cached(CHUNKS, bucket).select("content_hash", "tokens") for bucket in buckets])
    return chunks.unique("content_hash").collect()


def _pending(missing: pl.DataFrame, places: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Of what a bucket lacks, what has to be embedded, and what can be copied, with its account_bucket."""
    firsts = places.sort("account_bucket").unique("content_hash", keep="first")
    elsewhere = missing.join(firsts, on="content_hash").sort("account_bucket", SLICE, "content_hash")
    return missing.join(elsewhere, on="content_hash", how="anti"), elsewhere


def _sliced(lake: LakeResource, bucket: int, texts: pl.DataFrame) -> pl.DataFrame:
    """Texts, by content_hash, of a bucket's chunks, with the slice of the first account that has them."""
    if texts.is_empty():
        return texts.with_columns(pl.lit(None, pl.Int32).alias(SLICE))
    places = lake.scan_cached(CHUNKS, bucket).select(*PLACE, "content_hash")
    found = places.join(texts.lazy(), on="content_hash", how="semi").collect()
    firsts = found.sort(PLACE).unique("content_hash", keep="first")
    return texts.join(firsts.select("content_hash", slices(firsts["account_id"])), on="content_hash")


def _copies(store: VectorStore, elsewhere: pl.DataFrame, bucket: int, model: str) -> Iterator[pl.DataFrame]:
    """Rows of VECTORS for texts, by slice and content_hash, that an account_bucket has; a commit's worth at a time."""
    for of_bucket in elsewhere.partition_by("account_bucket", maintain_order=True):
        for part in of_bucket.iter_slices(FLUSH_VECTORS):
            found = store.read(part["account_bucket"][0], part, model)
            yield _rows(bucket, part.join(found, on="content_hash"), model)


def _embedded(
    context: AssetExecutionContext, lake: LakeResource, pending: pl.DataFrame, model: EmbeddingModel, bucket: int
) -> Iterator[pl.DataFrame]:
    """Rows of VECTORS for (content_hash, tokens, account_slice), a commit's worth at a time.

    Windows are large, since a batch of texts of one length needs no padding, and bounded, since texts are in memory;
    and they are of accounts that lie together, as their vectors will.
    """
    progress = _Progress(context, bucket, pending)
    for window in pending.sort(SLICE, "content_hash").iter_slices(WINDOW_TEXTS):
        chunks = lake.scan_cached(CHUNKS, bucket).select("content_hash", "text")
        texts = chunks.join(window.lazy(), on="content_hash").collect().unique("content_hash")
        texts = texts.sort("tokens", "content_hash", descending=[True, False])
        for indices, made in _flushes(model.embed(texts["text"].to_list())):
            rows = texts[indices].with_columns(vector=pl.Series(made, dtype=pl.List(pl.Float32)))
            yield _rows(bucket, rows, model.name)
            progress.report(rows)


def _flushes(
    batches: Iterator[tuple[list[int], npt.NDArray[np.float32]]],
) -> Iterator[tuple[list[int], npt.NDArray[np.float32]]]:
    """Batches put together to what a commit carries: FLUSH_VECTORS, or what FLUSH_SECONDS made."""
    indices: list[int] = []
    parts: list[npt.NDArray[np.float32]] = []
    started = time.monotonic()
    for batch, made in batches:
        indices += batch
        parts.append(made)
        if len(indices) >= FLUSH_VECTORS or time.monotonic() - started >= FLUSH_SECONDS:
            yield indices, np.concatenate(parts)
            indices, parts, started = [], [], time.monotonic()
    if indices:
        yield indices, np.concatenate(parts)


class _Progress:
    """Says after each commit how far a bucket is and how long the rest will take, by tokens."""

    def __init__(self, context: AssetExecutionContext, bucket: int, pending: pl.DataFrame) -> None:
        self._context, self._bucket = context, bucket
        self._texts, self._tokens = pending.height, int(pending["tokens"].sum())
        self._texts_done = self._tokens_done = 0
        self._started = time.monotonic()

    def report(self, rows: pl.DataFrame) -> None:
        """Count what was embedded and written, and log it."""
        self._texts_done += rows.height
        self._tokens_done += int(rows["tokens"].sum())
        seconds = max(time.monotonic() - self._started, 1e-9)
        left = (self._tokens - self._tokens_done) * seconds / max(self._tokens_done, 1)
        done, rate = self._texts_done, self._texts_done / seconds
        message = "bucket %s: %s of %s texts embedded, %.0f a second, about %.0f s left"
        self._context.log.info(message, self._bucket, done, self._texts, rate, left)


def _rows(bucket: int, texts: pl.DataFrame, model: str) -> pl.DataFrame:
    return texts.select(
        pl.lit(bucket, pl.Int32).alias("account_bucket"), SLICE, "content_hash", pl.lit(model).alias("model"), "vector"
    )


def slices(accounts: pl.Series) -> pl.Series:
    """The slice of each account id: 16 bits of its md5, others than those that its bucket is made of.

    A coarse one, so that it tells nothing of an account that was erased.
    """
    known = accounts.unique().to_list()
    of_account = [hashlib.md5((name or "").encode(), usedforsecurity=False).digest()[4:6] for name in known]
    numbers = [int.from_bytes(digest, "big") for digest in of_account]
    # The cast is for no accounts at all: polars then leaves the type as it is.
    return accounts.replace_strict(known, numbers, return_dtype=pl.Int32).cast(pl.Int32).alias(SLICE)


def as_vectors_lie(chunks: pl.DataFrame) -> pl.DataFrame:
    """Rows with an ``account_id`` and a ``content_hash`` in the order of VECTORS: a part of them reads a stretch."""
    return chunks.with_columns(slices(chunks["account_id"])).sort(SLICE, "content_hash", "point_id").drop(SLICE)


def with_vectors(
    lake: LakeResource, bucket: int, rows: pl.DataFrame, model: EmbeddingModel
) -> tuple[pl.DataFrame, npt.NDArray[np.float32]]:
    """Rows that have an ``account_id`` and a ``content_hash``, and their vectors, shape (rows, dimension).

    Raises MissingVectorError when a text has none, as the stage before has not run for this bucket, or one of another
    model of the same name.
    """
    wanted = rows.select(slices(rows["account_id"]), "content_hash")
    found = VectorStore(lake, VECTORS).read(bucket, wanted, model.name)
    joined = rows.join(found, on="content_hash", how="left", maintain_order="left")
    missing = joined["vector"].null_count()
    if missing:
        message = f"{missing} texts of bucket {bucket} have no vector: materialize embedding/cippus_text first."
        raise MissingVectorError(message)
    odd = joined.filter(pl.col("vector").list.len() != model.dimension).height
    if odd:
        message = (
            f"{odd} texts of bucket {bucket} have vectors of another length than {model.name}'s {model.dimension}: "
            "two models had this name, so give the one that is served another name."
        )
        raise MissingVectorError(message)
    vectors_of = joined["vector"].explode(empty_as_null=False).to_numpy() if joined.height else np.empty(0, np.float32)
    return rows, vectors_of.reshape(rows.height, model.dimension).astype(np.float32, copy=False)


class MissingVectorError(RuntimeError):
    """A chunk has no vector in its bucket."""


ASSETS = [vectors]
