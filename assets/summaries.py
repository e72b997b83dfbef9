"""summary/*: accounts in a few posts of their own."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, with_vectors
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.transforms.summaries import current_summaries, summarise, text_names
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource

SUMMARIES = TableSpec.of(
    "summary/account_summaries",
    {
        "account_bucket": CHUNKS.copied("account_bucket"),
        "account_id": CHUNKS.copied("account_id"),
        "summary": Column(
            pa.string(),
            "The most representative posts, quoted.",
            CHUNKS.sources("text") + VECTORS.sources("vector"),
            "text",
        ),
        "post_ids": Column(pa.list_(pa.string()), "Ids of the quoted posts.", CHUNKS.sources("post_id"), "id"),
        "posts": Column(pa.int64(), "Number of the account's posts in the corpus.", CHUNKS.sources("post_id")),
        "made_of_texts": Column(
            pa.list_(pa.int64()),
            "Hashes of the texts that it was made of. It is made again when they change.",
            CHUNKS.sources("content_hash"),
        ),
        "recipe": Column(pa.string(), "Hash of the rules and the model. It is made again when they change."),
    },
    ("account_id",),
    text_columns=("summary",),
)
_RECIPE = "4"


@asset(
    table=SUMMARIES,
    code_version=_RECIPE,
    deps=[["corpus", "cippus_text"], ["embedding", "cippus_text"]],
    description="Each account in its most representative posts, quoted; no text is generated. One row per account: "
    "the summary and the ids of the quoted posts. Made again when a quoted post or 5 % of the account's texts changed.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def account_summaries(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> RunMetrics:
    """Summarise the accounts of a stale bucket whose texts changed. Only the vectors of those accounts are read."""
    model = embedder.model()
    recipe = fingerprint([_RECIPE, model.name])

    def of_bucket(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        columns = ["account_bucket", "account_id", "post_id", "chunk_no", "text", "content_hash"]
        chunks = lake.scan_cached(CHUNKS, bucket).select(columns).collect()
        texts = text_names(chunks)
        stored = current.filter(pl.col("recipe") == recipe).select(SUMMARIES.schema.names)
        kept = stored.join(current_summaries(stored, texts), on="account_id", how="semi")
        fresh = chunks.join(kept, on="account_id", how="anti")
        tally.counts["accounts_summarised"] += fresh["account_id"].n_unique()
        made_of = texts.group_by("account_id").agg(pl.col("text_name").sort().alias("made_of_texts"))
        made = summarise(*with_vectors(lake, bucket or 0, fresh, model)).join(made_of, on="account_id")
        return pl.concat([kept, made.with_columns(recipe=pl.lit(recipe)).select(kept.columns)])

    stage = Stage(SUMMARIES.name, (CHUNKS, VECTORS), version=recipe)
    return refresh_table(context, lake, ledger, stage, SUMMARIES, of_bucket)


ASSETS = [account_summaries]
