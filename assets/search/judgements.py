"""search/judgements: what readers say about results and answers, taken in like labels."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.dropped_files import judgement_rows
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics
from assets.framework.intake import Intake, body_of, files_under, take_in, without_items_of_erased
from assets.transforms.search.votes import FILE_SCHEMA, with_reasons
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec
from resources.erasure.tombstones import ErasureResource
from resources.isolation import process as isolation
from resources.isolation.process import UnreadableFileError
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Object, S3Resource

LANDING = "landing/judgements/"
RULE = "1"
"""Change it to have every file read again."""
JUDGEMENTS = TableSpec.of(
    "search/judgements",
    {
        "query": Column(pa.string(), "Query or question that was asked, in lower case."),
        "item_kind": Column(pa.string(), "What was judged: post or account."),
        "item_id": Column(pa.string(), "Id of the post or account.", personal="id"),
        "grade": Column(pa.int64(), "1 if the item answers the query, 0 if it does not."),
        "judge": Column(pa.string(), "Who judged."),
        "judged_at": Column(pa.timestamp("us", tz="UTC"), "When it was judged; null if the file does not say."),
        "source_file": Column(pa.string(), "Key of the file of judgements."),
        "source_etag": Column(pa.string(), "Entity tag of the version of the file that was read."),
        "row": Column(pa.int64(), "Number of the judgement in its file, from 0."),
    },
    ("source_file", "row"),
    partitioned=False,
)


@asset(
    table=JUDGEMENTS,
    code_version=RULE,
    description="Judgements of readers: one row per row of a Parquet file in landing/judgements/, which the web page "
    "writes for each person and day. Each version of a file is read once.",
    owners=["team:search"],
    kinds={"delta", "parquet"},
)
def judgements(  # resources
    context: AssetExecutionContext,
    s3: S3Resource,
    lake: LakeResource,
    ledger: LedgerResource,
    quarantine: QuarantineResource,
    erasures: ErasureResource,
) -> RunMetrics:
    """Read new and overwritten files, each in a process of its own. Judgements of erased accounts are left out."""
    tally = RunMetrics()

    def read(item: S3Object) -> pl.DataFrame | None:
        try:
            return _rows(s3, item)
        except UnreadableFileError as error:
            unusable = pl.DataFrame({"file": [item.key], "reason": [str(error)]})
            tally.counts["files_quarantined"] += quarantine.land("judgement-files", "judgement files", "file", unusable)
            return pl.DataFrame(schema={**JUDGEMENTS.polars_schema, "reason": pl.String()})

    def accept(rows: pl.DataFrame) -> pl.DataFrame:
        kept = without_items_of_erased(rows, erasures)
        tally.counts["erased"] += rows.height - kept.height
        rejects = kept.filter(pl.col("reason").is_not_null()).drop("source_etag")
        tally.counts["quarantined"] += quarantine.land("judgements", "judgements", "item_id", rejects)
        return kept.filter(pl.col("reason").is_null())

    listed = files_under(s3, LANDING, is_judgement_file)
    return take_in(context, lake, ledger, Intake(JUDGEMENTS, listed, RULE, read, accept), tally)


def is_judgement_file(item: S3Object) -> bool:
    """Return whether an object under landing/judgements/ is read as judgements."""
    return item.key.lower().endswith(".parquet")


def judgement_rule() -> str:
    """Return the rule that files are read by. With another rule every file is read again."""
    return RULE


def _rows(s3: S3Resource, item: S3Object) -> pl.DataFrame | None:
    """Return the rows of a file, with the reasons of rejects; None if it changed since the listing."""
    body = body_of(s3, item)
    if body is None:
        return None
    tables = [pl.DataFrame(pl.from_arrow(table)) for table in isolation.read(judgement_rows, body)]
    found = pl.concat(tables).select(FILE_SCHEMA.names).with_row_index("row")
    named = found.with_columns(source_file=pl.lit(item.key), source_etag=pl.lit(item.etag))
    judged = with_reasons(named)
    schema = {**JUDGEMENTS.polars_schema, "reason": pl.String()}
    return judged.select(pl.col(name).cast(dtype) for name, dtype in schema.items())


ASSETS = [judgements]
