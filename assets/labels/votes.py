"""label/votes: the labels of dropped files, a row each. Every version of a file is read once."""

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.dropped_files import label_rows
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics
from assets.framework.intake import Intake, body_of, files_under, take_in, without_items_of_erased
from assets.transforms.labels.files import FORMATS
from assets.transforms.labels.votes import voters, with_reasons
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec
from resources.erasure.tombstones import ErasureResource
from resources.isolation import process as isolation
from resources.isolation.process import UnreadableFileError
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Object, S3Resource

LANDING = "landing/labels/"
RULE = "6"
"""Change it to have every file read again."""
VOTES = TableSpec.of(
    "label/votes",
    {
        "item_kind": Column(pa.string(), "What was labelled: post or account."),
        "item_id": Column(pa.string(), "Id of the post or account, as the file spells it.", personal="id"),
        "vertical": Column(pa.string(), "Name of the vertical."),
        "is_member": Column(pa.bool_(), "Whether the item belongs to the vertical, as the annotator says."),
        "voter": Column(pa.string(), "Annotator, in lower case; for rows without one, the file."),
        "labelled_at": Column(pa.timestamp("us", tz="UTC"), "When the label was given; null if the file does not say."),
        "dropped_at": Column(pa.timestamp("us", tz="UTC"), "When the version of the file that was read was dropped."),
        "is_review": Column(pa.bool_(), "Whether it is a reviewer's vote, which settles the label."),
        "source_file": Column(pa.string(), "Key of the label file."),
        "source_etag": Column(pa.string(), "Entity tag of the version of the file that was read."),
        "row": Column(pa.int64(), "Number of the label in its file, from 0."),
    },
    ("source_file", "row"),
    partitioned=False,
)


@asset(
    table=VOTES,
    code_version=RULE,
    description="Labels as people gave them: one row per row of a label file (Parquet, CSV or JSON lines) in "
    "landing/labels/, with annotator and time. Each version of a file is read once.",
    owners=["team:data-science"],
    kinds={"delta", "parquet"},
)
def votes(
    context: AssetExecutionContext,
    s3: S3Resource,
    lake: LakeResource,
    ledger: LedgerResource,
    quarantine: QuarantineResource,
    erasures: ErasureResource,
) -> RunMetrics:
    """Read new and overwritten label files, each in a process of its own. Labels of erased accounts are left out."""
    tally = RunMetrics()

    def read(item: S3Object) -> pl.DataFrame | None:
        try:
            rows = _rows(s3, item)
        except UnreadableFileError as error:
            unusable = pl.DataFrame({"file": [item.key], "reason": [str(error)]})
            tally.counts["files_quarantined"] += quarantine.land("label-files", "label files", "file", unusable)
            return _READ.to_frame()
        return rows

    def accept(rows: pl.DataFrame) -> pl.DataFrame:
        kept = without_items_of_erased(rows, erasures)
        tally.counts["erased"] += rows.height - kept.height
        is_open = pl.col("is_review") & pl.col("is_member").is_null() & pl.col("row_json").is_null()
        tally.counts["not_reviewed"] += kept.filter(is_open).height  # rows that a reviewer has not filled in
        kept = kept.filter(~is_open)
        rejects = kept.filter(pl.col("reason").is_not_null()).drop("voter", "source_etag")
        is_cast = pl.col("row_json").is_null()
        for odd in (rejects.filter(is_cast).drop("row_json"), rejects.filter(~is_cast)):
            tally.counts["quarantined"] += quarantine.land("labels", "labels", "item_id", odd)
        return kept.filter(pl.col("reason").is_null())

    listed = files_under(s3, LANDING, is_label_file)
    return take_in(context, lake, ledger, Intake(VOTES, listed, RULE, read, accept), tally)


def is_label_file(item: S3Object) -> bool:
    """Return whether an object under landing/labels/ is read as labels."""
    return item.key.lower().endswith(FORMATS)


def label_rule() -> str:
    """Return the rule that label files are read by. With another rule every file is read again."""
    return RULE


_READ = pl.Schema({**VOTES.polars_schema, "reason": pl.String(), "row_json": pl.String()})


def _rows(s3: S3Resource, item: S3Object) -> pl.DataFrame | None:
    """Return the rows of a file, with the reasons of rejects; None if it changed since the listing."""
    body = body_of(s3, item)
    if body is None:
        return None
    name = item.key.rpartition("/")[2].lower()
    tables = [pl.DataFrame(pl.from_arrow(table)) for table in isolation.read(label_rows, name, body)]
    found = pl.concat(tables).rename({"row": "row_json", "reason": "unreadable"}).with_row_index("row")
    file = pl.lit(item.key)
    named = found.with_columns(
        pl.col("is_review").fill_null(value=False),
        voter=voters(pl.col("annotator"), file),
        source_file=file,
        source_etag=pl.lit(item.etag),
        dropped_at=pl.lit(item.written_at),
    )
    judged = with_reasons(named).with_columns(reason=pl.coalesce("unreadable", "reason"))
    return judged.select(pl.col(column).cast(dtype) for column, dtype in _READ.items())


ASSETS = [votes]
