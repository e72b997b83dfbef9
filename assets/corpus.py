"""corpus/*: the text worth embedding, chunk by chunk, and a decision for every post.

Belongs here: which posts are in, and their chunks. Not here: vectors.
"""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, MaterializeResult, asset

from assets.incremental import Stage, Tally, refresh_table
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from assets.transforms import corpus
from assets.transforms.bm25 import document_frequencies
from assets.transforms.chunking import chunk_texts
from assets.transforms.source_schema import TIMESTAMP
from resources.bm25 import SPARSE_ENCODING, SparseEncoder
from resources.embedder import EmbedderResource, MiniLmModel
from resources.lake import LakeResource, TableSpec
from resources.ledger import LedgerResource

GROUP = "corpus"
DECISIONS = TableSpec(
    "corpus/decisions",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            ("account_id", pa.string()),
            ("post_id", pa.string()),
            ("text_hash", pa.string()),
            ("dropped_because", pa.string()),
        ]
    ),
    ("post_id",),
)
CHUNKS = TableSpec(
    "corpus/cippus_text",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            ("account_id", pa.string()),
            ("post_id", pa.string()),
            ("chunk_no", pa.int32()),
            ("point_id", pa.string()),
            ("content_hash", pa.string()),
            ("text", pa.string()),
            ("tokens", pa.int32()),
            ("handle", pa.string()),
            ("network", pa.string()),
            ("language", pa.string()),
            ("country", pa.string()),
            ("posted_at", TIMESTAMP),
        ]
    ),
    ("point_id",),
    text_columns=("text",),
)
TERMS = TableSpec(
    "corpus/terms",
    pa.schema([("account_bucket", pa.int32()), ("term", pa.int64()), ("documents", pa.int64())]),
    ("term",),
)


@asset(
    key=["corpus", "decisions"],
    deps=[["lake", "posts"], ["lake", "accounts"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="One row a post of the lake: in the corpus, or the reason why not.",
    owners=["team:search"],
    kinds={"delta", "polars"},
)
def decisions(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> MaterializeResult[None]:
    """Decide for every post of a stale bucket. Memory grows with a bucket's posts: duplicates and caps need all."""

    def decide(bucket: int | None, tally: Tally) -> pl.DataFrame:
        columns = ["account_bucket", "account_id", "post_id", "posted_at", "text", "likes", "comments", "deleted_at"]
        posts = lake.scan(LAKE_POSTS, bucket).select(columns).collect()
        accounts = lake.scan(LAKE_ACCOUNTS, bucket).select("account_id", "deleted_at").collect()
        decided = corpus.decide(posts, accounts)
        for reason, count in decided["dropped_because"].drop_nulls().value_counts().iter_rows():
            tally.counts[f"dropped_{reason}"] += count
        return decided

    stage = Stage(DECISIONS.name, (LAKE_POSTS, LAKE_ACCOUNTS))
    return refresh_table(context, lake, ledger, stage, DECISIONS, decide)


@asset(
    key=["corpus", "cippus_text"],
    deps=[["corpus", "decisions"], ["lake", "posts"], ["lake", "accounts"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="Clean text in chunks of the encoder's length, with stable ids and content hashes.",
    owners=["team:search"],
    kinds={"delta", "polars"},
)
def chunks(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> MaterializeResult[None]:
    """Chunk the chosen posts of a stale bucket."""

    def chunk(bucket: int | None, tally: Tally) -> pl.DataFrame:
        chosen = lake.scan(DECISIONS, bucket).filter(pl.col("dropped_because").is_null()).select("post_id")
        posts = lake.scan(LAKE_POSTS, bucket).join(chosen, on="post_id", how="semi").collect()
        accounts = lake.scan(LAKE_ACCOUNTS, bucket).collect()
        described = corpus.attributes(posts, accounts).sort("post_id")
        made, truncated = _chunked(described, embedder.model())
        tally.counts["posts"] += described.height
        tally.counts["posts_truncated"] += truncated
        return made

    stage = Stage(CHUNKS.name, (DECISIONS, LAKE_POSTS, LAKE_ACCOUNTS), version=embedder.model().name)
    return refresh_table(context, lake, ledger, stage, CHUNKS, chunk)


def _chunked(posts: pl.DataFrame, model: MiniLmModel) -> tuple[pl.DataFrame, int]:
    """The chunks of posts in the columns of CHUNKS, and how many posts were longer than is kept."""
    texts = [corpus.clean(text) for text in posts["text"]]
    cut = chunk_texts(texts, model.token_offsets(texts), model.max_content_tokens)
    rows = [
        (
            post_id,
            chunk.chunk_no,
            corpus.point_id(post_id, chunk.chunk_no),
            corpus.content_hash(chunk.text),
            chunk.text,
            chunk.tokens,
        )
        for post_id, of_post in zip(posts["post_id"], cut, strict=True)
        for chunk in of_post.chunks
    ]
    made = pl.DataFrame(rows, schema={name: CHUNKS.polars_schema[name] for name in _CHUNK_COLUMNS}, orient="row")
    return made.join(posts.drop("text"), on="post_id"), sum(of_post.truncated for of_post in cut)


_CHUNK_COLUMNS = ("post_id", "chunk_no", "point_id", "content_hash", "text", "tokens")


@asset(
    key=["corpus", "terms"],
    deps=[["corpus", "cippus_text"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="How many chunks hold each BM25 term: IDF weights are corpus-wide and ours, not an engine's.",
    owners=["team:search"],
    kinds={"delta"},
)
def terms(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> MaterializeResult[None]:
    """Count document frequencies of a stale bucket."""
    encoder = SparseEncoder()

    def count(bucket: int | None, _tally: Tally) -> pl.DataFrame:
        texts = lake.scan(CHUNKS, bucket).select("text").collect()["text"].to_list()
        frequencies = document_frequencies(encoder.encode_documents(texts))
        return frequencies.with_columns(account_bucket=pl.lit(bucket, pl.Int32))

    stage = Stage(TERMS.name, (CHUNKS,), version=SPARSE_ENCODING)
    return refresh_table(context, lake, ledger, stage, TERMS, count)


ASSETS = [decisions, chunks, terms]
