"""corpus/*: a decision for every post, and the chunks of the posts that are in the corpus."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.transforms.search import attributes
from assets.transforms.text import corpus
from assets.transforms.text.chunking import CHUNKING, chunk_text
from assets.transforms.text.cleaning import MAX_CHARACTERS
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec
from resources.llm.embedder import EmbedderResource
from resources.models.embedder import EmbeddingModel
from resources.models.languages import LANGUAGE_MODEL, identify
from resources.vectors.bm25 import SPARSE_ENCODING, SparseEncoder

DECISIONS = TableSpec.of(
    "corpus/decisions",
    {
        "account_bucket": LAKE_POSTS.copied("account_bucket"),
        "account_id": LAKE_POSTS.copied("account_id"),
        "post_id": LAKE_POSTS.copied("post_id"),
        "text_hash": Column(pa.string(), "Hash of the clean text.", LAKE_POSTS.sources("text")),
        "dropped_because": Column(
            pa.string(),
            "Why the post is not in the corpus; null for a post that is.",
            LAKE_POSTS.sources("text", "posted_at", "deleted_at", "likes", "comments", "shares")
            + LAKE_ACCOUNTS.sources("deleted_at"),
        ),
        "duplicate_of": Column(
            pa.string(), "Post of the account that it repeats.", LAKE_POSTS.sources("post_id", "text"), personal="id"
        ),
        "imprint": Column(
            pa.int64(),
            "Hash of a decision's inputs. An account whose posts have unchanged hashes keeps its decisions.",
            LAKE_POSTS.sources("text", "posted_at", "deleted_at", "likes", "comments", "shares")
            + LAKE_ACCOUNTS.sources("deleted_at"),
        ),
    },
    ("post_id",),
)
DECISION_COUNTS = TableSpec.of(
    "corpus/decision_counts",
    {
        "account_bucket": DECISIONS.copied("account_bucket"),
        "dropped_because": DECISIONS.copied("dropped_because", "Why posts are not in the corpus; kept if they are."),
        "posts": Column(pa.int64(), "Number of posts.", DECISIONS.sources("post_id")),
    },
    ("dropped_because",),
)
_TEXT = LAKE_POSTS.sources("text")
CHUNKS = TableSpec.of(
    "corpus/cippus_text",
    {
        "account_bucket": LAKE_POSTS.copied("account_bucket"),
        "account_id": LAKE_POSTS.copied("account_id"),
        "post_id": DECISIONS.copied("post_id"),
        "chunk_no": Column(pa.int32(), "Number of the chunk in its post, from 0.", _TEXT),
        "point_id": Column(
            pa.string(),
            "Id of its point: a UUID of post and chunk number.",
            LAKE_POSTS.sources("post_id"),
            "id",
        ),
        "content_hash": Column(pa.string(), "Hash of the chunk's text.", _TEXT),
        "text": Column(pa.string(), "Clean text of at most the encoder's length.", _TEXT, "text"),
        "tokens": Column(pa.int32(), "Number of the encoder's tokens.", _TEXT),
        "terms": Column(pa.list_(pa.int64()), "Ids of the distinct BM25 terms.", _TEXT, "text"),
        "handle": LAKE_ACCOUNTS.copied("handle"),
        "network": LAKE_POSTS.copied("network", "Social network, in lower case."),
        "language": Column(
            pa.string(),
            "Language detected in the text, else the account's.",
            _TEXT + LAKE_ACCOUNTS.sources("language"),
            "attribute",
        ),
        "country": LAKE_ACCOUNTS.copied("country", "Country of the creator, as stated, in upper case."),
        "followers_tier": Column(
            pa.int32(),
            "Number of binary digits of the account's followers.",
            LAKE_ACCOUNTS.sources("followers"),
            "attribute",
        ),
        "posted_at": LAKE_POSTS.copied("posted_at"),
        "text_language": Column(pa.string(), "Language detected in the post's text; null if uncertain.", _TEXT),
        "text_hash": DECISIONS.copied("text_hash", "Hash of the post's whole clean text."),
        "text_truncated": Column(pa.bool_(), "Whether the end of the post's text is in no chunk.", _TEXT),
        "recipe": Column(pa.string(), "Rules and models. Chunks with an unchanged recipe and text are kept."),
    },
    ("point_id",),
    filtered=("network", "language", "country", "text_language"),
    text_columns=("text",),
)
TERMS = TableSpec.of(
    "corpus/terms",
    {
        "account_bucket": CHUNKS.copied("account_bucket"),
        "term": Column(pa.int64(), "Id of the BM25 term: a hash of the word.", CHUNKS.sources("terms")),
        "documents": Column(pa.int64(), "Number of chunks with the term.", CHUNKS.sources("terms")),
    },
    ("term",),
)


DECIDING = Stage(DECISIONS.name, (LAKE_POSTS, LAKE_ACCOUNTS), version=corpus.DECISION_RULES)
"""The first stage of every bucket. Its ledger entries name the state of the lake that a bucket was refreshed from."""


@asset(
    table=DECISIONS,
    code_version=corpus.DECISION_RULES,
    deps=[["lake", "posts"], ["lake", "accounts"]],
    description="Which posts are searched. One row per post of the lake: in the corpus, or the reason why not and the "
    "post that it repeats.",
    owners=["team:search"],
    kinds={"delta", "polars"},
)
def decisions(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Decide the posts of a stale bucket's accounts of which a post or the account itself changed.

    Memory grows with a bucket's posts, whose input hashes are compared.
    """

    def decide(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        engagement = ["likes", "comments", "shares"]
        columns = [
            "account_bucket",
            "account_id",
            "post_id",
            "posted_at",
            "text",
            "hashtags",
            *engagement,
            "deleted_at",
        ]
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
    table=DECISION_COUNTS,
    deps=[["corpus", "decisions"]],
    description="How many posts are in the corpus. One row per account bucket and reason to leave a post out (`kept` "
    "for posts that are in), counted from corpus/decisions.",
    owners=["team:search"],
    kinds={"delta", "polars"},
)
def decision_counts(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Count the decisions of a stale bucket by reason."""

    def count(bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        decided = lake.scan_cached(DECISIONS, bucket).select("account_bucket", "dropped_because").collect()
        return corpus.count_decisions(decided)

    return refresh_table(context, lake, ledger, Stage(DECISION_COUNTS.name, (DECISIONS,)), DECISION_COUNTS, count)


@asset(
    table=CHUNKS,
    code_version=f"{CHUNKING}/{LANGUAGE_MODEL}/{SPARSE_ENCODING}/{attributes.ATTRIBUTE_RULES}",
    deps=[["corpus", "decisions"], ["lake", "posts"], ["lake", "accounts"]],
    description="The text that is embedded. One row per chunk of a post in the corpus: clean text of at most the "
    "encoder's length, its language, its account, a stable point id and a content hash.",
    owners=["team:search"],
    kinds={"delta", "polars"},
)
def chunks(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> RunMetrics:
    """Chunk the posts of a stale bucket that are in the corpus. Texts that were chunked before are not read again."""
    model = embedder.model()
    recipe = f"{CHUNKING}/{model.tokenizer_name}/{LANGUAGE_MODEL}/{SPARSE_ENCODING}"

    def chunk(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        chosen = lake.scan_cached(DECISIONS, bucket).filter(pl.col("dropped_because").is_null())
        hashes = chosen.select("post_id", "text_hash").collect()
        stored = current.filter(pl.col("recipe") == recipe).select(_OF_TEXT)
        kept = stored.join(hashes, on=["post_id", "text_hash"], how="semi")
        fresh = hashes.join(kept, on="post_id", how="anti").lazy()
        texts = (
            lake.scan_cached(LAKE_POSTS, bucket)
            .select("post_id", "text", "hashtags")
            .join(fresh, on="post_id")
            .collect()
        )
        pieces = pl.concat([kept, _chunked(texts, model, recipe)]) if texts.height else kept
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
    """Return the chunks of (post_id, text, hashtags, text_hash): the columns that depend on a post's text alone."""
    texts = corpus.post_texts(posts)
    cut = (
        chunk_text(*pair, model.max_content_tokens)
        for pair in zip(texts, model.tokenizer.token_offsets(model.legible(texts)), strict=True)
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
            posts["text"].str.len_chars().fill_null(0) > MAX_CHARACTERS,
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
    table=TERMS,
    code_version="2",
    deps=[["corpus", "cippus_text"]],
    description="How common each search term is. One row per account bucket and BM25 term: the number of chunks with "
    "it, from corpus/cippus_text. Search computes its corpus-wide IDF weights from it.",
    owners=["team:search"],
    kinds={"delta"},
)
def terms(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Count the document frequencies of a stale bucket."""

    def count(bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        terms = lake.scan_cached(CHUNKS, bucket).select(term=pl.col("terms").explode()).drop_nulls()
        counts = terms.group_by("term").agg(documents=pl.len().cast(pl.Int64))
        return counts.collect().with_columns(account_bucket=pl.lit(bucket, pl.Int32))

    stage = Stage(TERMS.name, (CHUNKS,), version="2")
    return refresh_table(context, lake, ledger, stage, TERMS, count)


ASSETS = [decisions, decision_counts, chunks, terms]
