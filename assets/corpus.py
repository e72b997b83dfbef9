"""corpus/*: a decision for every post, and the chunks of the posts that are in the corpus."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, MaterializeResult

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from assets.transforms.search import attributes
from assets.transforms.source.schema import TIMESTAMP
from assets.transforms.text import corpus
from assets.transforms.text.chunking import CHUNKING, chunk_text
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource, TableSpec
from resources.llm.embedder import EmbedderResource
from resources.models.embedder import EmbeddingModel
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
"""``imprint`` is a hash of a decision's inputs. An account whose posts have unchanged hashes keeps its decisions."""
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
            ("followers_tier", pa.int32()),
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
"""``language`` is the language detected in the text, else the account's. ``followers_tier`` is the number of binary
digits of its followers. ``text_hash`` is a hash of the post's whole
clean text, and ``recipe`` names the rules and models; chunks with unchanged values are kept. ``terms`` are the ids of
the distinct BM25 terms."""
TERMS = TableSpec(
    "corpus/terms",
    pa.schema([("account_bucket", pa.int32()), ("term", pa.int64()), ("documents", pa.int64())]),
    ("term",),
)


DECIDING = Stage(DECISIONS.name, (LAKE_POSTS, LAKE_ACCOUNTS), version=corpus.DECISION_RULES)
"""The first stage of every bucket. Its ledger entries name the state of the lake that a bucket was refreshed from."""


@asset(
    key=["corpus", "decisions"],
    deps=[["lake", "posts"], ["lake", "accounts"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="Which posts are searched. One row per post of the lake: in the corpus, or the reason why not and the "
    "post that it repeats.",
    owners=["team:search"],
    kinds={"delta", "polars"},
)
def decisions(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> MaterializeResult[None]:
    """Decide the posts of a stale bucket's accounts of which a post or the account itself changed.

    Memory grows with a bucket's posts, whose input hashes are compared.
    """

    def decide(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        engagement = ["likes", "comments", "shares"]
        columns = ["account_bucket", "account_id", "post_id", "posted_at", "text", *engagement, "deleted_at"]
        posts = lake.scan_cached(LAKE_POSTS, bucket).select(columns).collect()
        accounts = lake.scan_cached(LAKE_ACCOUNTS, bucket).select("account_id", "deleted_at").collect()
        stored = current.select(DECISIONS.schema.names)
        hashes = corpus.input_hashes(posts, accounts)
        is_stale = pl.col("account_id").is_in(corpus.undecided(hashes, stored).implode())
        made = corpus.decide(posts.filter(is_stale), accounts).join(
            hashes, on=["account_id", "post_id"], nulls_equal=True
        )
        decided = pl.concat([stored.filter(~is_stale), made.select(stored.columns)])
        reasons = decided["dropped_because"].drop_nulls().value_counts().iter_rows()
        tally.counts.update({"posts_decided": made.height, **{f"dropped_{name}": count for name, count in reasons}})
        return decided

    return refresh_table(context, lake, ledger, DECIDING, DECISIONS, decide)


@asset(
    key=["corpus", "decision_counts"],
    deps=[["corpus", "decisions"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="How many posts are in the corpus. One row per account bucket and reason to leave a post out (`kept` "
    "for posts that are in), counted from corpus/decisions.",
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
    description="The text that is embedded. One row per chunk of a post in the corpus: clean text of at most the "
    "encoder's length, its language, its account, a stable point id and a content hash.",
    owners=["team:search"],
    kinds={"delta", "polars"},
)
def chunks(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> MaterializeResult[None]:
    """Chunk the posts of a stale bucket that are in the corpus. Texts that were chunked before are not read again."""
    model = embedder.model()
    recipe = f"{CHUNKING}/{model.tokenizer.name}/{LANGUAGE_MODEL}/{SPARSE_ENCODING}"

    def chunk(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        chosen = lake.scan_cached(DECISIONS, bucket).filter(pl.col("dropped_because").is_null())
        hashes = chosen.select("post_id", "text_hash").collect()
        stored = current.filter(pl.col("recipe") == recipe).select(_OF_TEXT)
        kept = stored.join(hashes, on=["post_id", "text_hash"], how="semi")
        fresh = hashes.join(kept, on="post_id", how="anti").lazy()
        texts = lake.scan_cached(LAKE_POSTS, bucket).select("post_id", "text").join(fresh, on="post_id").collect()
        pieces = pl.concat([kept, _chunked(texts, model, recipe)])
        posts = lake.scan_cached(LAKE_POSTS, bucket).select(
            "account_bucket", "account_id", "post_id", "network", "posted_at"
        )
        described = attributes.attributes(posts.collect(), lake.scan_cached(LAKE_ACCOUNTS, bucket).collect())
        tally.counts["posts"] += hashes.height
        tally.counts["posts_chunked"] += texts.height
        tally.counts["posts_truncated"] += pieces.filter("text_truncated")["post_id"].n_unique()
        return pieces.join(described, on="post_id").with_columns(language=attributes.language_of_text())

    version = f"{recipe}/{attributes.ATTRIBUTE_RULES}"
    stage = Stage(CHUNKS.name, (DECISIONS, LAKE_POSTS, LAKE_ACCOUNTS), version=version)
    return refresh_table(context, lake, ledger, stage, CHUNKS, chunk)


def _chunked(posts: pl.DataFrame, model: EmbeddingModel, recipe: str) -> pl.DataFrame:
    """Return the chunks of (post_id, text, text_hash): the columns that depend on a post's text alone."""
    texts = [corpus.clean(text) for text in posts["text"]]
    cut = (
        chunk_text(*pair, model.max_content_tokens)
        for pair in zip(texts, model.tokenizer.token_offsets(texts), strict=True)
    )
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
            of_post.dropped_tokens > 0 or is_longer,
            recipe,
        )
        for post_id, text_hash, of_post, language, is_longer in zip(
            *(posts["post_id"], posts["text_hash"], cut, identify(texts)),
            posts["text"].str.len_chars() > corpus.MAX_CHARACTERS,
            strict=True,
        )
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
    description="How common each search term is. One row per account bucket and BM25 term: the number of chunks with "
    "it, from corpus/cippus_text. Search computes its corpus-wide IDF weights from it.",
    owners=["team:search"],
    kinds={"delta"},
)
def terms(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> MaterializeResult[None]:
    """Count the document frequencies of a stale bucket."""

    def count(bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        terms = lake.scan_cached(CHUNKS, bucket).select(term=pl.col("terms").explode()).drop_nulls()
        counts = terms.group_by("term").agg(documents=pl.len().cast(pl.Int64))
        return counts.collect().with_columns(account_bucket=pl.lit(bucket, pl.Int32))

    stage = Stage(TERMS.name, (CHUNKS,), version="2")
    return refresh_table(context, lake, ledger, stage, TERMS, count)


ASSETS = [decisions, decision_counts, chunks, terms]
