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
from resources.delta.table import LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource

SUMMARIES = TableSpec(
    "summary/account_summaries",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            ("account_id", pa.string()),
            ("summary", pa.string()),
            ("post_ids", pa.list_(pa.string())),
            ("posts", pa.int64()),
            ("made_of_texts", pa.list_(pa.int64())),
            ("recipe", pa.string()),
        ]
    ),
    ("account_id",),
    text_columns=("summary",),
)
"""``made_of_texts`` are 8-byte hashes of the texts that a summary was made of. ``recipe`` is a hash of the rules
and the model. Both decide whether a summary is made again."""
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
