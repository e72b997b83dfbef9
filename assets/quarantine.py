"""quarantine/*: all rejected rows of all stages, in one table."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, AssetKey, MetadataValue, TableRecord

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh
from assets.landing import files_not_taken
from assets.transforms.source.schema import SOURCE_TABLES
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, Column, LakeResource, TableSpec
from resources.plain_text import plain
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Resource
from resources.sources.rds_export import RdsExportResource

_FILES_SHOWN = 100
QUARANTINE = TableSpec.of(
    "quarantine/rows",
    {
        "source_table": Column(pa.string(), "Table or kind of file that the row was meant for."),
        "row_key": Column(pa.string(), "Key of the row, null if it has none.", personal="id"),
        "reason": Column(pa.string(), "Why the row was rejected."),
        "row_json": Column(pa.string(), "The whole row, as JSON.", personal="text"),
        "copies": Column(pa.int64(), "How often one file or window has the row."),
    },
    ("source_table", "row_key", "reason", "row_json"),
    partitioned=False,
    text_columns=("row_json",),
)


@asset(
    table=QUARANTINE,
    deps=[
        *(AssetKey(["lake", name]) for name in SOURCE_TABLES),
        *(["label", "gold"], ["audience", "reports"], ["audience", "demographics"]),
    ],
    description="Rejected rows of every stage: one row per rejected row and reason, with the number of copies.",
    owners=["team:data-engineering"],
    kinds={"delta", "s3"},
)
def rows(
    context: AssetExecutionContext,
    s3: S3Resource,
    lake: LakeResource,
    ledger: LedgerResource,
    quarantine: QuarantineResource,
    rds_exports: RdsExportResource,
) -> RunMetrics:
    """Collect the rejected rows of every stage in one table. The metadata lists dropped files that no stage reads."""
    stage = collecting(quarantine)

    def collect(_bucket: int, tally: RunMetrics) -> Changes:
        # Each file is one finding: two paths, such as a merge and a key reconciliation, find the same row.
        found = [rows.group_by(QUARANTINE.key).agg(copies=pl.len().cast(pl.Int64)) for rows in quarantine.rows()]
        rejects = pl.concat([QUARANTINE.empty(), *found]).group_by(QUARANTINE.key).agg(pl.max("copies"))
        for reason, count in rejects.group_by("reason").agg(pl.sum("copies")).iter_rows():
            tally.counts[f"reason: {reason}"] = count
        return lake.sync(QUARANTINE, rejects)

    tally = refresh(context, lake, ledger, stage, lambda _: lake.contents(QUARANTINE), collect)
    unread = files_not_taken(s3, rds_exports)
    tally.counts["files_not_taken"] = len(unread)
    if unread:
        shown = [TableRecord({"file": plain(one.key), "reason": plain(one.reason)}) for one in unread[:_FILES_SHOWN]]
        tally.notes["unread_files"] = MetadataValue.table(shown)
    return tally


def collecting(quarantine: QuarantineResource) -> Stage:
    """Return the stage of quarantine/rows for the files that are landed now."""
    return Stage(QUARANTINE.name, inputs=(), version=quarantine.fingerprint(), partitioned=False)


ASSETS = [rows]
