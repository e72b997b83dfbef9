"""audience/*: who follows the accounts, from reports that people drop as CSV."""

from dataclasses import dataclass

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.dropped_files import report as read_in_process
from assets.dropped_files import report_limits
from assets.framework.asset import asset
from assets.framework.columns import bucket_of
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.framework.intake import Intake, body_of, files_under, take_in
from assets.lake import LAKE_ACCOUNTS
from assets.transforms.audience import Report, judge, without_accounts
from assets.transforms.erasure import ErasedAccounts
from assets.transforms.source.schema import account_bucket
from resources.catalogues import audience as catalogue
from resources.catalogues.audience import load_audience_columns
from resources.delta.state import LedgerResource
from resources.delta.table import BUCKET, Column, LakeResource, TableSpec
from resources.erasure.tombstones import ErasureResource
from resources.isolation import process as isolation
from resources.isolation.process import UnreadableFileError
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Object, S3Resource
from resources.settings import bucket_count

LANDING = catalogue.LANDING
_READING = "3"
"""Change it to have every file read again. Another column map has the same effect by itself."""
_KEY = ("account_id", "dimension", "value", "as_of", "source_file")
REPORTS = TableSpec.of(
    "audience/reports",
    {
        "account_bucket": bucket_of(),
        "account_id": Column(pa.string(), "Id of the account, as the report spells it.", personal="id"),
        "dimension": Column(pa.string(), "What is measured: age, gender, country, language or interest."),
        "value": Column(pa.string(), "Value of the dimension, such as DE."),
        "share_percent": Column(pa.float64(), "Share of the audience with this value.", personal="attribute"),
        "as_of": Column(pa.date32(), "Date of the report."),
        "source_file": Column(pa.string(), "Key of the CSV file."),
        "source_etag": Column(pa.string(), "Entity tag of the version of the file that was read."),
    },
    _KEY,
)
DEMOGRAPHICS = TableSpec.of(
    "audience/demographics",
    {name: REPORTS.copied(name) for name in REPORTS.columns if name != "source_etag"},
    _KEY,
)


def is_report(item: S3Object) -> bool:
    """Return whether an object under landing/audience/ is a file, and not a tool's marker of a folder."""
    return not item.key.endswith("/")


def report_rule() -> str:
    """Return the version of the rules that files are read by. With another version every file is read again."""
    return f"{_READING}/{load_audience_columns().version}"


@asset(
    table=REPORTS,
    code_version=_READING,
    partitions_def=None,  # a file has rows of all buckets
    backfill_policy=None,
    description="Shares of audiences as reported, known account or not. One row per account, dimension, value, date "
    "and file. From the CSV files in landing/audience/; each version of a file is read once.",
    owners=["team:analytics"],
    kinds={"csv", "delta"},
)
def reports(
    context: AssetExecutionContext,
    s3: S3Resource,
    lake: LakeResource,
    ledger: LedgerResource,
    quarantine: QuarantineResource,
    erasures: ErasureResource,
) -> RunMetrics:
    """Read new and overwritten reports, and delete the rows of deleted ones."""
    tally = RunMetrics()
    reading = _Reading(s3, quarantine, erasures.tombstones(), tally)
    intake = Intake(REPORTS, files_under(s3, LANDING, is_report), report_rule(), reading.rows)
    return take_in(context, lake, ledger, intake, tally)


@dataclass
class _Reading:
    """Reads files and lands their rejects."""

    s3: S3Resource
    quarantine: QuarantineResource
    erased: ErasedAccounts
    tally: RunMetrics

    def rows(self, item: S3Object) -> pl.DataFrame | None:
        """Return the rows of a file; None if it changed since the listing."""
        try:
            report = self._read(item)
        except UnreadableFileError as error:
            reject = pl.DataFrame({"file": [item.key], "etag": [item.etag], "reason": [str(error)]})
            self._land("files_quarantined", "files", "file", reject)
            return REPORTS.empty()
        return None if report is None else self._rows(item, report)

    def _read(self, item: S3Object) -> Report | None:
        """Read a file in a process of its own. Return None if it changed since the listing."""
        body = body_of(self.s3, item)
        if body is None:
            return None
        name, limits = item.key.removeprefix(LANDING), report_limits(item.size_bytes)
        tables = isolation.read(read_in_process, name, body, load_audience_columns(), limits=limits)
        return Report(*(pl.DataFrame(pl.from_arrow(table)) for table in tables))

    def _rows(self, item: S3Object, report: Report) -> pl.DataFrame:
        """Land the rejects of a report that are not about erased accounts; return its rows as in REPORTS."""
        left = without_accounts(report, self.erased)
        gone = report.rows.height + report.rejects.height - left.rows.height - left.rejects.height
        self.tally.counts["erased"] += gone
        file = pl.lit(item.key).alias("file")
        self._land("quarantined", "columns", "file", left.unknown_columns.with_columns(file))
        self._land("quarantined", "rows", "account_id", left.rejects.with_columns(file))
        buckets = [account_bucket(account, bucket_count()) for account in left.rows["account_id"]]
        named = left.rows.with_columns(
            pl.Series(BUCKET, buckets, pl.Int32), source_file=pl.lit(item.key), source_etag=pl.lit(item.etag)
        )
        return named.select(REPORTS.schema.names)

    def _land(self, count: str, kind: str, key: str, rejects: pl.DataFrame) -> None:
        self.tally.counts[count] += self.quarantine.land(f"audience-{kind}", f"audience {kind}", key, rejects)


@asset(
    table=DEMOGRAPHICS,
    deps=[["audience", "reports"], ["lake", "accounts"]],
    description="Who follows the live accounts. One row per account, dimension (age, gender, country, language, "
    "interest), value, date and file: the share of the audience in percent. From audience/reports.",
    owners=["team:analytics"],
    kinds={"delta", "polars"},
)
def demographics(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    quarantine: QuarantineResource,
    erasures: ErasureResource,
) -> RunMetrics:
    """Keep the reported rows of a stale bucket's live accounts. An account that comes later gets its rows then."""
    erased = erasures.tombstones()

    def of_accounts(bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        reported = (
            lake.scan_cached(REPORTS, bucket).collect().unique(_KEY)
        )  # two runs at once may have read the same file
        accounts = lake.scan_cached(LAKE_ACCOUNTS, bucket).select("account_id", "deleted_at").collect()
        rows, found = judge(reported, accounts)
        gone = pl.Series(sorted(erased.accounts_among(found["account_id"])), dtype=pl.String)
        unknown = found.filter(~pl.col("account_id").is_in(gone.implode()))
        tally.counts["erased"] += found.height - unknown.height
        landed = quarantine.land("audience-accounts", "audience accounts", "account_id", unknown)
        tally.counts["accounts_quarantined"] += landed
        return rows.select(DEMOGRAPHICS.schema.names)

    stage = Stage(DEMOGRAPHICS.name, (REPORTS, LAKE_ACCOUNTS))
    return refresh_table(context, lake, ledger, stage, DEMOGRAPHICS, of_accounts)


ASSETS = [reports, demographics]
