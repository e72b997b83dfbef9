"""summary/*: accounts in a few sentences of their own."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, MaterializeResult

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, with_vectors
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.lake import LAKE_POSTS
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from assets.transforms.summaries.about import about
from assets.transforms.summaries.accounts import summarise
from assets.transforms.summaries.posts import chosen_posts
from assets.transforms.summaries.standing import current_summaries, text_names
from assets.transforms.verticals import ACCOUNT
from assets.verticals import TAGS
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource
from resources.models.analyzer import ANALYZER, document_terms

GROUP = "summary"
SUMMARIES = TableSpec(
    "summary/account_summaries",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            ("account_id", pa.string()),
            ("about", pa.string()),
            ("summary", pa.string()),
            ("post_ids", pa.list_(pa.string())),
            ("language", pa.string()),
            ("posts", pa.int64()),
            ("made_of_texts", pa.list_(pa.int64())),
            ("recipe", pa.string()),
        ]
    ),
    ("account_id",),
    text_columns=("about", "summary"),
)
"""Line n of ``summary`` is a sentence of post n of ``post_ids``. ``made_of_texts`` are 8-byte hashes of the texts that
a summary was made of. ``recipe`` is a hash of the rules and the model. Both decide whether a summary is made again."""
_RECIPE = "5"


@asset(
    key=["summary", "account_summaries"],
    deps=[["corpus", "cippus_text"], ["embedding", "cippus_text"], ["lake", "posts"], ["vertical", "tags"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="Each account in up to five sentences of its posts; no text is generated. One row per account: a line "
    "on what it is about, the sentences that LexRank puts first, without links, tag lists and calls to subscribe, and "
    "the id of each sentence's post. Made again when a quoted post or 5 % of the account's texts changed.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def account_summaries(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> MaterializeResult[None]:
    """Summarise the accounts of a stale bucket whose texts changed. Only those accounts' vectors and posts are read.

    The line on each account is written for the whole bucket, which reads no texts.
    """
    model = embedder.model()
    recipe = fingerprint([_RECIPE, ANALYZER, model.name])

    def of_bucket(bucket: int | None, current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        columns = ["account_bucket", "account_id", "post_id", "chunk_no", "text", "text_language", "content_hash"]
        chunks = lake.scan_cached(CHUNKS, bucket).select(columns).collect()
        texts = text_names(chunks)
        stored = current.filter(pl.col("recipe") == recipe).select(SUMMARIES.schema.names)
        kept = stored.join(current_summaries(stored, texts), on="account_id", how="semi")
        fresh = chunks.join(kept, on="account_id", how="anti")
        tally.counts["accounts_summarised"] += fresh["account_id"].n_unique()
        made_of = texts.group_by("account_id").agg(pl.col("text_name").sort().alias("made_of_texts"))
        chosen = chosen_posts(*with_vectors(lake, bucket or 0, fresh, model))
        posts = lake.scan_cached(LAKE_POSTS, bucket)
        texts = (
            posts.join(chosen.lazy(), on="post_id", how="semi").select("post_id", "text").collect(engine="streaming")
        )
        made = summarise(chosen, texts, document_terms).join(made_of, on="account_id")
        found = pl.concat([kept, made.with_columns(about=pl.lit(""), recipe=pl.lit(recipe)).select(kept.columns)])
        lines = about(posts.filter(pl.col("deleted_at").is_null()), account_tags(lake, bucket))
        return found.drop("about").join(lines, on="account_id", how="left").select(found.columns)

    stage = Stage(SUMMARIES.name, (CHUNKS, VECTORS, LAKE_POSTS, TAGS), version=recipe)
    return refresh_table(context, lake, ledger, stage, SUMMARIES, of_bucket)


def account_tags(lake: LakeResource, bucket: int | None) -> pl.LazyFrame:
    """Return (account_id, vertical, score) of the accounts that are tagged."""
    return lake.scan_cached(TAGS, bucket).filter(item_kind=ACCOUNT).select("account_id", "vertical", "score")


ASSETS = [account_summaries]
