"""corpus/*: the text worth embedding, chunk by chunk, and a decision for every post."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, MaterializeResult

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from assets.transforms.source.schema import TIMESTAMP
from assets.transforms.text import corpus
from assets.transforms.text.chunking import CHUNKING, chunk_texts
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource, TableSpec
from resources.models.embedder import EmbedderResource, EmbeddingModel
from resources.models.languages import LANGUAGE_MODEL, identify
from resources.vectors.bm25 import SPARSE_ENCODING, SparseEncoder

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
            ("duplicate_of", pa.string()),
            ("imprint", pa.int64()),
        ]
    ),
    ("post_id",),
)
"""``imprint`` is of all that a decision depends on: while those of an account's posts stand, so do its decisions."""
DECISION_COUNTS = TableSpec(
    "corpus/decision_counts",
    pa.schema([("account_bucket", pa.int32()), ("dropped_because", pa.string()), ("posts", pa.int64())]),
    ("dropped_because",),
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
            ("terms", pa.list_(pa.int64())),
            ("handle", pa.string()),
            ("network", pa.string()),
            ("language", pa.string()),
            ("country", pa.string()),
            ("posted_at", TIMESTAMP),
            ("text_language", pa.string()),
            ("text_hash", pa.string()),
            ("text_truncated", pa.bool_()),
            ("recipe", pa.string()),
        ]
    ),
    ("point_id",),
    text_columns=("text",),
)
"""``language`` is ``text_language`` where the text tells, else the account's. ``text_hash`` is of the post's whole
clean text; with ``recipe``, what chunks are made by, it says that they need not be made again. ``terms`` are the ids of
the distinct BM25 terms."""
TERMS = TableSpec(
    "corpus/terms",
    pa.schema([("account_bucket", pa.int32()), ("term", pa.int64()), ("documents", pa.int64())]),
    ("term",),
)


DECIDING = Stage(DECISIONS.name, (LAKE_POSTS, LAKE_ACCOUNTS), version=corpus.DECISION_RULES)
"""The first stage of every bucket: its ledger entries say which state of the lake a bucket was brought to."""


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
    """Decide for the posts of a stale bucket's accounts of which a post or the account itself changed.

    Memory grows with a bucket's posts, whose imprints are compared.
    """

    def decide(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        engagement = ["likes", "comments", "shares"]
        columns = ["account_bucket", "account_id", "post_id", "posted_at", "text", *engagement, "deleted_at"]
        posts = lake.scan_cached(LAKE_POSTS, bucket).select(columns).collect()
        accounts = lake.scan_cached(LAKE_ACCOUNTS, bucket).select("account_id", "deleted_at").collect()
        held = current.select(DECISIONS.schema.names)
        now = corpus.imprints(posts, accounts)
        fresh = pl.col("account_id").is_in(corpus.undecided(now, held).implode())
        made = corpus.decide(posts.filter(fresh), accounts).join(now, on=["account_id", "post_id"], nulls_equal=True)
        tally.counts["posts_decided"] += made.height
        decided = pl.concat([held.filter(~fresh), made.select(held.columns)])
        for reason, count in decided["dropped_because"].drop_nulls().value_counts().iter_rows():
            tally.counts[f"dropped_{reason}"] += count
        return decided

    return refresh_table(context, lake, ledger, DECIDING, DECISIONS, decide)


@asset(
    key=["corpus", "decision_counts"],
    deps=[["corpus", "decisions"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="How many posts are in the corpus, and how many each reason keeps out.",
    owners=["team:search"],
    kinds={"delta", "polars"},
)
def decision_counts(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource
) -> MaterializeResult[None]:
    """Count the decisions of a stale bucket by reason."""

    def count(bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        decided = lake.scan_cached(DECISIONS, bucket).select("account_bucket", "dropped_because").collect()
        return corpus.count_decisions(decided)

    return refresh_table(context, lake, ledger, Stage(DECISION_COUNTS.name, (DECISIONS,)), DECISION_COUNTS, count)


@asset(
    key=["corpus", "cippus_text"],
    deps=[["corpus", "decisions"], ["lake", "posts"], ["lake", "accounts"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="Clean text in chunks of the encoder's length, with its language, stable ids and content hashes.",
    owners=["team:search"],
    kinds={"delta", "polars"},
)
def chunks(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> MaterializeResult[None]:
    """Chunk the chosen posts of a stale bucket; a text that was chunked before is not read again."""
    model = embedder.model()
    recipe = f"{CHUNKING}/{model.tokenizer_name}/{LANGUAGE_MODEL}/{SPARSE_ENCODING}"

    def chunk(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        chosen = lake.scan_cached(DECISIONS, bucket).filter(pl.col("dropped_because").is_null())
        hashes = chosen.select("post_id", "text_hash").collect()
        held = current.filter(pl.col("recipe") == recipe).select(_OF_TEXT)
        kept = held.join(hashes, on=["post_id", "text_hash"], how="semi")
        fresh = hashes.join(kept, on="post_id", how="anti").lazy()
        texts = lake.scan_cached(LAKE_POSTS, bucket).select("post_id", "text").join(fresh, on="post_id").collect()
        pieces = pl.concat([kept, _chunked(texts, model, recipe)])
        posts = lake.scan_cached(LAKE_POSTS, bucket).select(
            "account_bucket", "account_id", "post_id", "network", "posted_at"
        )
        described = corpus.attributes(posts.collect(), lake.scan_cached(LAKE_ACCOUNTS, bucket).collect())
        tally.counts["posts"] += hashes.height
        tally.counts["posts_chunked"] += texts.height
        tally.counts["posts_truncated"] += pieces.filter("text_truncated")["post_id"].n_unique()
        language = pl.coalesce("text_language", "language")
        return pieces.join(described, on="post_id").with_columns(language=language)

    version = f"{recipe}/{corpus.ATTRIBUTE_RULES}"
    stage = Stage(CHUNKS.name, (DECISIONS, LAKE_POSTS, LAKE_ACCOUNTS), version=version)
    return refresh_table(context, lake, ledger, stage, CHUNKS, chunk)


def _chunked(posts: pl.DataFrame, model: EmbeddingModel, recipe: str) -> pl.DataFrame:
    """The chunks of (post_id, text, text_hash), in the columns that depend on a post's text alone."""
    texts = [corpus.clean(text) for text in posts["text"]]
    cut = chunk_texts(texts, model.token_offsets(texts), model.max_content_tokens)
    of_posts = zip(posts["post_id"], posts["text_hash"], cut, identify(texts), strict=True)
    encoder = SparseEncoder()
    rows = [
        (
            post_id,
            chunk.chunk_no,
            corpus.point_id(post_id, chunk.chunk_no),
            corpus.content_hash(chunk.text),
            chunk.text,
            chunk.tokens,
            encoder.count_terms(chunk.text).indices.tolist(),
            language,
            text_hash,
            of_post.truncated,
            recipe,
        )
        for post_id, text_hash, of_post, language in of_posts
        for chunk in of_post.chunks
    ]
    return pl.DataFrame(rows, schema={name: CHUNKS.polars_schema[name] for name in _OF_TEXT}, orient="row")


_OF_TEXT = (
    "post_id",
    "chunk_no",
    "point_id",
    "content_hash",
    "text",
    "tokens",
    "terms",
    "text_language",
    "text_hash",
    "text_truncated",
    "recipe",
)


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
    """Count document frequencies of a stale bucket, of the terms that each chunk was found to hold."""

    def count(bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        held = lake.scan_cached(CHUNKS, bucket).select(pl.col("terms").explode().alias("term")).drop_nulls()
        counted = held.group_by("term").agg(pl.len().cast(pl.Int64).alias("documents"))
        return counted.collect().with_columns(account_bucket=pl.lit(bucket, pl.Int32))

    stage = Stage(TERMS.name, (CHUNKS,), version="2")
    return refresh_table(context, lake, ledger, stage, TERMS, count)


ASSETS = [decisions, decision_counts, chunks, terms]
