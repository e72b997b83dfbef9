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
from resources.lake import LakeResource, TableSpec, fingerprint
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
            ("made_of", pa.string()),
        ]
    ),
    ("account_id",),
    text_columns=("summary",),
)
"""``made_of`` is a fingerprint of the model and the account's texts: a summary of the same need not be made again."""


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
    """Summarise the accounts of a stale bucket whose texts changed; the vectors of those alone are read."""
    model = embedder.model()

    def of_bucket(bucket: int | None, tally: Tally) -> pl.DataFrame:
        columns = ["account_bucket", "account_id", "post_id", "chunk_no", "text", "content_hash"]
        chunks = lake.scan(CHUNKS, bucket).select(columns).collect()
        made_of = _made_of(chunks, model.name)
        standing = lake.scan(SUMMARIES, bucket).collect().join(made_of, on=["account_id", "made_of"], how="semi")
        fresh = chunks.join(standing, on="account_id", how="anti")
        tally.counts["accounts_summarised"] += fresh["account_id"].n_unique()
        made = summarise(*with_vectors(lake, bucket or 0, fresh, model)).join(made_of, on="account_id")
        return pl.concat([standing, made.select(standing.columns)])

    stage = Stage(SUMMARIES.name, (CHUNKS, VECTORS), version=fingerprint(["2", model.name]))
    return refresh_table(context, lake, ledger, stage, SUMMARIES, of_bucket)


def _made_of(chunks: pl.DataFrame, model: str) -> pl.DataFrame:
    """(account_id, made_of) of every account of the chunks."""
    texts = chunks.sort("account_id", "post_id", "chunk_no").group_by("account_id", maintain_order=True)
    listed = texts.agg(pl.format("{}/{} {}", "post_id", "chunk_no", "content_hash").alias("texts"))
    made_of = [fingerprint([model, *texts]) for texts in listed["texts"]]
    return listed.select("account_id", made_of=pl.Series(made_of, dtype=pl.String))


ASSETS = [account_summaries]
