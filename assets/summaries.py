"""summary/*: accounts in a few posts of their own.

Belongs here: extractive account summaries. Not here: choosing posts (transforms/summaries.py).
"""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, MaterializeResult

from assets.asset import asset
from assets.corpus import CHUNKS
from assets.embeddings import VECTORS, with_vectors
from assets.incremental import Stage, Tally, refresh_table
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from assets.transforms.summaries import summarise
from resources.embedder import EmbedderResource
from resources.lake import LakeResource, TableSpec
from resources.ledger import LedgerResource

GROUP = "summary"
SUMMARIES = TableSpec(
    "summary/account_summaries",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            ("account_id", pa.string()),
            ("summary", pa.string()),
            ("post_ids", pa.list_(pa.string())),
            ("posts", pa.int64()),
        ]
    ),
    ("account_id",),
    text_columns=("summary",),
)


@asset(
    key=["summary", "account_summaries"],
    deps=[["corpus", "cippus_text"], ["embedding", "cippus_text"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="Each account's most representative posts by vector, with their ids; nothing is generated.",
    owners=["team:data-science"],
    kinds={"delta", "polars"},
)
def account_summaries(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, embedder: EmbedderResource
) -> MaterializeResult[None]:
    """Summarise the accounts of a stale bucket; only changed summaries are written."""
    model = embedder.model()

    def of_bucket(bucket: int | None, _tally: Tally) -> pl.DataFrame:
        columns = ["account_bucket", "account_id", "post_id", "chunk_no", "text", "content_hash"]
        chunks = lake.scan(CHUNKS, bucket).select(columns).collect()
        return summarise(*with_vectors(lake, bucket or 0, chunks, model))

    stage = Stage(SUMMARIES.name, (CHUNKS, VECTORS), version=model.name)
    return refresh_table(context, lake, ledger, stage, SUMMARIES, of_bucket)


ASSETS = [account_summaries]
