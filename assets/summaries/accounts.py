"""summary/account_summaries: each account in a few sentences, its own or those of a language model."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, with_vectors
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.lake import LAKE_POSTS
from assets.summaries.model_table import MODEL_SUMMARIES
from assets.transforms.summaries.about import about
from assets.transforms.summaries.accounts import summarise
from assets.transforms.summaries.posts import chosen_posts
from assets.transforms.summaries.standing import current_summaries, text_names
from assets.transforms.verticals.scoring import ACCOUNT
from assets.verticals.tags import TAGS
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource
from resources.models.analyzer import ANALYZER, document_terms

SUMMARIES = TableSpec.of(
    "summary/account_summaries",
    {
        "account_bucket": CHUNKS.copied("account_bucket"),
        "account_id": CHUNKS.copied("account_id"),
        "about": Column(
            pa.string(),
            "One line: verticals, hashtags, how often the account posts, and its usual views.",
            TAGS.sources("vertical") + LAKE_POSTS.sources("hashtags", "posted_at", "views"),
            "text",
        ),
        "summary": Column(
            pa.string(),
            "Up to five sentences, one a line: of the account's posts, or a language model's claims that they support.",
            LAKE_POSTS.sources("text") + VECTORS.sources("vector") + MODEL_SUMMARIES.sources("claims"),
            "text",
        ),
        "post_ids": Column(
            pa.list_(pa.string()), "The post that says best what each line says.", CHUNKS.sources("post_id"), "id"
        ),
        "language": Column(
            pa.string(), "Language of most posts, and so of the summary.", CHUNKS.sources("text_language")
        ),
        "method": Column(
            pa.string(), "Method: `extractive`, or the model that wrote it.", MODEL_SUMMARIES.sources("model")
        ),
        "posts": Column(pa.int64(), "Number of the account's posts in the corpus.", CHUNKS.sources("post_id")),
        "made_of_texts": Column(
            pa.list_(pa.int64()),
            "Hashes of the texts that it was made of. It is made again when they change.",
            CHUNKS.sources("content_hash"),
        ),
        "recipe": Column(pa.string(), "Hash of the rules and the model. It is made again when they change."),
    },
    ("account_id",),
    text_columns=("about", "summary"),
)
_RECIPE = "8"
EXTRACTIVE = "extractive"


@asset(
    table=SUMMARIES,
    code_version=_RECIPE,
    deps=[
        ["corpus", "cippus_text"],
        ["embedding", "cippus_text"],
        ["lake", "posts"],
        ["vertical", "tags"],
        ["summary", "model_summaries"],
    ],
    description="Each account in up to five sentences. One row per account: a line on what it is about, claims of a "
    "language model that posts support, and without any the sentences of posts that LexRank puts first, without links, "
    "tag lists and calls to subscribe; and the id of each sentence's post. Made again when a quoted post or 5 % of the "
    "account's texts changed.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def account_summaries(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> RunMetrics:
    """Summarise the accounts of a stale bucket whose texts changed. Only those accounts' vectors and posts are read.

    The line on each account is written for the whole bucket, which reads no texts.
    """
    model = embedder.model()
    recipe = fingerprint([_RECIPE, ANALYZER, model.name])

    def of_bucket(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        columns = ["account_bucket", "account_id", "post_id", "chunk_no", "text", "text_language", "content_hash"]
        chunks = lake.scan_cached(CHUNKS, bucket).select(columns).collect()
        texts = text_names(chunks)
        written = by_model(lake.scan_cached(MODEL_SUMMARIES, bucket).collect(), chunks, recipe)
        stored = current.filter(recipe=recipe, method=EXTRACTIVE).select(SUMMARIES.schema.names)
        stored = stored.join(written, on="account_id", how="anti")
        kept = stored.join(current_summaries(stored, texts), on="account_id", how="semi")
        kept = pl.concat([kept, written.select(kept.columns)])
        fresh = chunks.join(kept, on="account_id", how="anti")
        tally.counts["accounts_summarised"] += fresh["account_id"].n_unique()
        made_of = texts.group_by("account_id").agg(pl.col("text_name").sort().alias("made_of_texts"))
        chosen = chosen_posts(*with_vectors(lake, bucket or 0, fresh, model))
        posts = lake.scan_cached(LAKE_POSTS, bucket)
        texts = (
            posts.join(chosen.lazy(), on="post_id", how="semi").select("post_id", "text").collect(engine="streaming")
        )
        made = summarise(chosen, texts, document_terms).join(made_of, on="account_id")
        found = pl.concat(
            [
                kept,
                made.with_columns(about=pl.lit(""), method=pl.lit(EXTRACTIVE), recipe=pl.lit(recipe)).select(
                    kept.columns
                ),
            ]
        )
        lines = about(posts.filter(pl.col("deleted_at").is_null()), account_tags(lake, bucket))
        return found.drop("about").join(lines, on="account_id", how="left").select(found.columns)

    stage = Stage(SUMMARIES.name, (CHUNKS, VECTORS, LAKE_POSTS, TAGS, MODEL_SUMMARIES), version=recipe)
    return refresh_table(context, lake, ledger, stage, SUMMARIES, of_bucket)


def by_model(rows: pl.DataFrame, chunks: pl.DataFrame, recipe: str) -> pl.DataFrame:
    """Return a summary of each account with claims, as rows of SUMMARIES. A line is a claim, with its nearest post."""
    posts = chunks.group_by("account_id").agg(posts=pl.col("post_id").n_unique().cast(pl.Int64))
    written = rows.filter(pl.col("claims").list.len() > 0).join(posts, on="account_id")
    return written.select(
        "account_bucket",
        "account_id",
        pl.lit("").alias("about"),
        pl.col("claims").list.join("\n").alias("summary"),
        pl.col("post_ids").list.eval(pl.element().list.first()),
        "language",
        pl.col("model").alias("method"),
        "posts",
        "made_of_texts",
        pl.lit(recipe).alias("recipe"),
    )


def account_tags(lake: LakeResource, bucket: int | None) -> pl.LazyFrame:
    """Return (account_id, vertical, score) of the accounts that are tagged."""
    return lake.scan_cached(TAGS, bucket).filter(item_kind=ACCOUNT).select("account_id", "vertical", "score")


ASSETS = [account_summaries]
