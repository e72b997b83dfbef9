"""embedding/*: one vector per (content hash, model), computed once for all buckets."""

import hashlib
import time
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, Column, LakeResource, TableSpec
from resources.errors import InputError
from resources.llm.embedder import EmbedderResource
from resources.models.embedder import EmbeddingModel
from resources.vectors.store import SLICE, VectorStore

FLUSH_VECTORS, FLUSH_SECONDS = 16_384, 60.0
"""A commit carries so many vectors (25 MB), or the work of so many seconds, whichever comes first."""
WINDOW_TEXTS = 65_536
"""Texts that are sorted by length and embedded together: about 30 MB of text."""
_UNREAD_AT_ONCE = 1_024
PLACE = ["account_id", "post_id", "chunk_no"]
"""The first chunk in this order decides the account that a text is embedded for."""

VECTORS = TableSpec.of(
    "embedding/cippus_text",
    {
        "account_bucket": CHUNKS.copied("account_bucket"),
        SLICE: Column(
            pa.int32(),
            "16 bits of the md5 of the account that the text was embedded for; vectors are stored in this order.",
            CHUNKS.sources("account_id"),
        ),
        "content_hash": CHUNKS.copied("content_hash", "Hash of the embedded text."),
        "model": Column(pa.string(), "Name of the embedding model."),
        "vector": Column(pa.list_(pa.float32()), "Unit vector of the text.", CHUNKS.sources("text"), "text"),
    },
    (SLICE, "content_hash", "model"),
    text_columns=("content_hash", "model"),
    row_group_bytes=256 << 10,  # 170 vectors: an account's vectors are in one to three row groups
)
"""Each bucket holds every vector that its chunks need, so that later stages read one bucket. A text that another
bucket has embedded is copied from there. The slice belongs to the account that a text was embedded for, so an
account's vectors are stored together; another account with the same text in that bucket uses the same vector. A vector
of zeros is a text that the model cannot read: it has no dense vector in the index, and no tag."""


@asset(
    table=VECTORS,
    deps=[["corpus", "cippus_text"]],
    description="Unit vectors of the corpus: one row per bucket, content hash and model. Only texts that no bucket "
    "has embedded are sent to the encoder.",
    owners=["team:search"],
    kinds={"delta", "onnx"},
)
def vectors(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> RunMetrics:
    """Embed or copy the vectors that stale buckets lack, in commits of bounded size."""
    model, store = embedder.model(), VectorStore(lake, VECTORS)
    places: list[pl.DataFrame] = []  # (account_bucket, content_hash) of this run's texts, looked up once

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
        gone = elsewhere.filter(~pl.col("content_hash").is_in(pl.concat(copied).implode()))  # since the lookup
        pending = pl.concat([pending, gone.select(pending.columns)])
        for rows in _embedded(context, lake, pending, model, bucket):
            store.append(rows)
            without = ~rows.select(has_vector()).to_series()
            tally.counts["embedded"] += int((~without).sum())
            tally.counts["unreadable"] += int(without.sum())
        added = pl.DataFrame({"content_hash": pl.concat([pending["content_hash"], *copied])})
        added = added.select(pl.lit(bucket, pl.Int32).alias("account_bucket"), "content_hash")
        places[0] = pl.concat([places[0], added])
        return Changes(inserted=added.height)

    stage = Stage(VECTORS.name, (CHUNKS,), version=model.name)
    tally = refresh(context, lake, ledger, stage, lambda buckets: lake.contents(VECTORS, buckets), embed)
    tally.counts.update(embedded=0, copied=0, unreadable=0)
    return tally


def _hashes(lake: LakeResource, buckets: Sequence[int]) -> pl.DataFrame:
    """Return (content_hash, tokens) of the distinct texts of some buckets, in any order."""
    chunks = pl.concat([lake.scan_cached(CHUNKS, bucket).select("content_hash", "tokens") for bucket in buckets])
    return chunks.unique("content_hash").collect()


def _pending(missing: pl.DataFrame, places: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split missing texts into those to embed, and those to copy with the account_bucket to copy from."""
    firsts = places.sort("account_bucket").unique("content_hash", keep="first")
    elsewhere = missing.join(firsts, on="content_hash").sort("account_bucket", SLICE, "content_hash")
    return missing.join(elsewhere, on="content_hash", how="anti"), elsewhere


def _sliced(lake: LakeResource, bucket: int, texts: pl.DataFrame) -> pl.DataFrame:
    """Return texts with the slice of the first account in the bucket that has them."""
    if texts.is_empty():
        return texts.with_columns(pl.lit(None, pl.Int32).alias(SLICE))
    places = lake.scan_cached(CHUNKS, bucket).select(*PLACE, "content_hash")
    found = places.join(texts.lazy(), on="content_hash", how="semi").collect()
    firsts = found.sort(PLACE).unique("content_hash", keep="first")
    return texts.join(firsts.select("content_hash", slices(firsts["account_id"])), on="content_hash")


def _copies(store: VectorStore, elsewhere: pl.DataFrame, bucket: int, model: str) -> Iterator[pl.DataFrame]:
    """Yield rows of VECTORS for texts that other buckets have, one commit at a time."""
    for of_bucket in elsewhere.partition_by("account_bucket", maintain_order=True):
        for part in of_bucket.iter_slices(FLUSH_VECTORS):
            found = store.read(part["account_bucket"][0], part, model)
            yield _rows(bucket, part.join(found, on="content_hash"), model)


def _embedded(
    context: AssetExecutionContext, lake: LakeResource, pending: pl.DataFrame, model: EmbeddingModel, bucket: int
) -> Iterator[pl.DataFrame]:
    """Embed (content_hash, tokens, account_slice) and yield rows of VECTORS, one commit at a time.

    Windows are large, because a batch of texts of one length needs no padding, and bounded, because their texts are
    in memory. A window covers accounts whose vectors are stored together.
    """
    total, total_tokens, done, tokens_done = pending.height, int(pending["tokens"].sum()), 0, 0
    started = time.monotonic()
    for window in pending.sort(SLICE, "content_hash").iter_slices(WINDOW_TEXTS):
        chunks = lake.scan_cached(CHUNKS, bucket).select("content_hash", "text")
        texts = chunks.join(window.lazy(), on="content_hash").collect().unique("content_hash")
        texts = texts.sort("tokens", "content_hash", descending=[True, False])
        for indices, made in _flushes(read(model, texts["text"].to_list())):
            rows = texts[indices].with_columns(vector=pl.Series(made, dtype=pl.List(pl.Float32)))
            yield _rows(bucket, rows, model.name)
            done, tokens_done = done + rows.height, tokens_done + int(rows["tokens"].sum())
            seconds = max(time.monotonic() - started, 1e-9)
            left = (total_tokens - tokens_done) * seconds / max(tokens_done, 1)
            message = "bucket %s: %s of %s texts embedded, %.0f a second, about %.0f s left"
            context.log.info(message, bucket, done, total, done / seconds, left)


def read(model: EmbeddingModel, texts: Sequence[str]) -> Iterator[tuple[list[int], npt.NDArray[np.float32]]]:
    """Yield (indices into ``texts``, vectors): of unit length, or 0 for a text that the model cannot read."""
    can_read = model.can_read(texts)
    unread = [number for number, is_read in enumerate(can_read) if not is_read]
    for first in range(0, len(unread), _UNREAD_AT_ONCE):
        part = unread[first : first + _UNREAD_AT_ONCE]
        yield part, np.zeros((len(part), model.dimension), np.float32)
    numbers = [number for number, is_read in enumerate(can_read) if is_read]
    if numbers:
        for indices, made in model.embed(model.legible([texts[number] for number in numbers])):
            yield [numbers[index] for index in indices], made


def embedded(model: EmbeddingModel, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the vectors of a few texts, shape (texts, dimension), of unit length or 0 as in ``read``."""
    found = np.zeros((len(texts), model.dimension), np.float32)
    for indices, made in read(model, texts):
        found[indices] = made
    return found


def _flushes(
    batches: Iterator[tuple[list[int], npt.NDArray[np.float32]]],
) -> Iterator[tuple[list[int], npt.NDArray[np.float32]]]:
    """Join batches into commits of FLUSH_VECTORS, or of the work of FLUSH_SECONDS."""
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


def _rows(bucket: int, texts: pl.DataFrame, model: str) -> pl.DataFrame:
    return texts.select(
        pl.lit(bucket, pl.Int32).alias("account_bucket"), SLICE, "content_hash", pl.lit(model).alias("model"), "vector"
    )


def slices(accounts: pl.Series) -> pl.Series:
    """Return the slice of each account id: 16 bits of its md5 that its bucket does not use.

    Coarse, so that a slice does not identify an erased account.
    """
    known = accounts.unique().to_list()
    digests = [hashlib.md5((name or "").encode(), usedforsecurity=False).digest()[4:6] for name in known]
    numbers = [int.from_bytes(digest, "big") for digest in digests]
    # The cast serves an empty series, whose type polars does not change.
    return accounts.replace_strict(known, numbers, return_dtype=pl.Int32).cast(pl.Int32).alias(SLICE)


def has_vector() -> pl.Expr:
    """Return whether the model could read a text, by its ``vector``."""
    return (pl.col("vector").list.max() != 0) | (pl.col("vector").list.min() != 0)


def in_vector_order(chunks: pl.DataFrame) -> pl.DataFrame:
    """Sort rows with ``account_id, content_hash, point_id`` as VECTORS is sorted: a part of them reads a range."""
    return chunks.with_columns(slices(chunks["account_id"])).sort(SLICE, "content_hash", "point_id").drop(SLICE)


def with_vectors(
    lake: LakeResource, bucket: int, rows: pl.DataFrame, model: EmbeddingModel
) -> tuple[pl.DataFrame, npt.NDArray[np.float32]]:
    """Return rows that have ``account_id, content_hash``, and their vectors, shape (rows, dimension).

    Raises MissingVectorError when a text has no vector, or one of another length.
    """
    wanted = rows.select(slices(rows["account_id"]), "content_hash")
    found = VectorStore(lake, VECTORS).read(bucket, wanted, model.name)
    joined = rows.join(found, on="content_hash", how="left", maintain_order="left")
    missing = joined["vector"].null_count()
    if missing:
        raise MissingVectorError(
            f"{missing} texts of bucket {bucket} have no vector: materialize embedding/cippus_text first."
        )
    odd = joined.filter(pl.col("vector").list.len() != model.dimension).height
    if odd:
        raise MissingVectorError(
            f"{odd} texts of bucket {bucket} have vectors of another length than {model.name}'s {model.dimension}: "
            "two models had this name, so give the one that is served another name."
        )
    found_vectors = joined["vector"].explode(empty_as_null=False).to_numpy() if joined.height else np.empty(0)
    return rows, found_vectors.reshape(rows.height, model.dimension).astype(np.float32, copy=False)


class MissingVectorError(InputError):
    """A chunk has no usable vector in its bucket."""


ASSETS = [vectors]
