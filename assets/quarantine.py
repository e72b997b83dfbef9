"""quarantine/*: all rejected rows of all stages, in one table."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, AssetKey, MaterializeResult

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh
from assets.transforms.source.schema import SOURCE_TABLES
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, LakeResource, TableSpec
from resources.raw.quarantine import QuarantineResource

GROUP = "quarantine"
QUARANTINE = TableSpec(
    "quarantine/rows",
    pa.schema(
        [
            *((name, pa.string()) for name in ("source_table", "row_key", "reason", "row_json")),
            ("copies", pa.int64()),
        ]
    ),
    ("source_table", "row_key", "reason", "row_json"),
    partitioned=False,
    text_columns=("row_json",),
)


@asset(
    key=["quarantine", "rows"],
    deps=[
        *(AssetKey(["lake", name]) for name in SOURCE_TABLES),
        *(["label", "gold"], ["audience", "reports"], ["audience", "demographics"]),
    ],
    group_name=GROUP,
    description="Rejected rows of every stage: one row per rejected row and reason, with the number of copies.",
    owners=["team:data-engineering"],
    kinds={"delta", "s3"},
)
def rows(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, quarantine: QuarantineResource
) -> MaterializeResult[None]:
    """Collect the rejected rows of every stage in one table."""
    stage = Stage(QUARANTINE.name, inputs=(), version=quarantine.fingerprint(), partitioned=False)

    def collect(_bucket: int, tally: RunMetrics) -> Changes:
        # Each file is one finding: two paths, such as a merge and a key reconciliation, find the same row.
        found = [rows.group_by(QUARANTINE.key).agg(copies=pl.len().cast(pl.Int64)) for rows in quarantine.rows()]
        rejects = pl.concat([QUARANTINE.empty(), *found]).group_by(QUARANTINE.key).agg(pl.max("copies"))
        for reason, count in rejects.group_by("reason").agg(pl.sum("copies")).iter_rows():
            tally.counts[f"reason: {reason}"] = count
        return lake.sync(QUARANTINE, rejects)

    return refresh(context, lake, ledger, stage, lambda _: lake.contents(QUARANTINE), collect).result()


ASSETS = [rows]
