"""audience/*: who follows the accounts, from reports that people drop as CSV."""

from collections.abc import Iterable, Iterator, Mapping

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, MaterializeResult

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, record_intake, refresh_table
from assets.lake import LAKE_ACCOUNTS
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from assets.transforms.audience import Report, UnusableReportError, judge, read_report, without_accounts
from assets.transforms.erasure import ErasedAccounts
from assets.transforms.source.arrivals import digest, outstanding
from assets.transforms.source.schema import account_bucket
from resources.catalogues import audience as catalogue
from resources.catalogues.audience import load_audience_columns
from resources.delta.state import LedgerResource
from resources.delta.table import BUCKET, Changes, LakeResource, TableSpec
from resources.erasure.tombstones import ErasureResource
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Object, S3Resource
from resources.wiring import bucket_count

GROUP = "audience"
LANDING = catalogue.LANDING
_READING = "1"
"""Another one when files are to be read again by other code; another column map has the same effect by itself."""
_BATCH_ROWS, _BATCH_FILES = 250_000, 500
_COLUMNS = [
    ("account_bucket", pa.int32()),
    ("account_id", pa.string()),
    ("dimension", pa.string()),
    ("value", pa.string()),
    ("share_percent", pa.float64()),
    ("as_of", pa.date32()),
    ("source_file", pa.string()),
]
_KEY = ("account_id", "dimension", "value", "as_of", "source_file")
REPORTS = TableSpec("audience/reports", pa.schema([*_COLUMNS, ("source_etag", pa.string())]), _KEY)
DEMOGRAPHICS = TableSpec("audience/demographics", pa.schema(_COLUMNS), _KEY)


def is_report(item: S3Object) -> bool:
    """Whether an object under landing/audience/ is a file, and not what some tools leave for a folder."""
    return not item.key.endswith("/")


def report_rule() -> str:
    """What files are read by; with another rule every file is to be taken in again."""
    return f"{_READING}/{load_audience_columns().version}"


@asset(
    key=["audience", "reports"],
    group_name=GROUP,
    description="What the files in landing/audience/ say, whoever it is about. Each file and version is taken in once.",
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
) -> MaterializeResult[None]:
    """Replace the rows of files that are new or were overwritten, and delete those of files that are gone.

    A file counts as taken in once its rows are committed, so a crash in between takes it in again, in the place of what
    was written. Memory: one file, and the rows of a batch of files; and the list of all files, 200 bytes each.
    """
    tally, rule = RunMetrics(), report_rule()
    listed = [item for item in s3.list_objects(LANDING) if is_report(item)]
    fresh, gone = outstanding(listed, ledger.taken(REPORTS.name), rule)
    there = {item.key for item in listed}
    before = {identity: ledger.taken_key(REPORTS.name, identity) for identity in sorted(gone)}
    _delete_rows(lake, sorted({key for key in before.values() if key and key not in there}))
    missed: set[str] = set()
    erased = erasures.tombstones()
    for batch in _batches(_read(s3, quarantine, fresh, missed, tally, erased)):
        _delete_rows(lake, [fresh[identity].key for identity in batch])
        rows = pl.concat(batch.values())
        if rows.height:
            lake.append(REPORTS, rows)
        for identity in batch:
            ledger.take(REPORTS.name, identity, fresh[identity].key)
        tally.changes += Changes(inserted=rows.height)
        context.log.info("%s files taken in, %s rows", len(batch), f"{rows.height:,}")
    ledger.untake(REPORTS.name, gone)
    taken = digest((item for item in listed if item.key not in missed), rule)
    record_intake(context, ledger, REPORTS.name, taken)
    held = lake.contents(REPORTS).values()
    tally.rows, tally.size_bytes = sum(found.rows for found in held), sum(found.size_bytes for found in held)
    tally.counts.update(files=len(listed), files_taken=len(fresh) - len(missed), files_gone=len(gone))
    return tally.result()


def _ids(accounts: set[str]) -> pl.Series:
    return pl.Series(sorted(accounts), dtype=pl.String).implode()


def _delete_rows(lake: LakeResource, keys: list[str]) -> None:
    """Delete what stands of some files: of a version before, or of an attempt that did not end."""
    if keys:
        quoted = ", ".join("'" + key.replace("'", "''") + "'" for key in keys)
        lake.delete_where(REPORTS, f"source_file IN ({quoted})")


def _read(
    s3: S3Resource,
    quarantine: QuarantineResource,
    fresh: Mapping[str, S3Object],
    missed: set[str],
    tally: RunMetrics,
    erased: ErasedAccounts,
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Identity → rows of each file; what cannot be used is landed. ``missed`` gets the files that changed meanwhile."""
    columns = load_audience_columns()
    for identity, item in fresh.items():
        body = s3.get(item.key, item.etag)
        if body is None:
            missed.add(item.key)
            continue
        try:
            report = read_report(item.key.removeprefix(LANDING), body, columns)
        except UnusableReportError as error:
            unusable = pl.DataFrame({"file": [item.key], "etag": [item.etag], "reason": [str(error)]})
            tally.counts["files_quarantined"] += quarantine.land("audience-files", "audience files", "file", unusable)
            yield identity, REPORTS.empty()
            continue
        said = report.rows.height + report.rejects.height
        report = without_accounts(report, erased)
        tally.counts["erased"] += said - report.rows.height - report.rejects.height
        tally.counts["quarantined"] += _land(quarantine, item, report)
        yield identity, _rows(item, report.rows)


def _land(quarantine: QuarantineResource, item: S3Object, report: Report) -> int:
    file = pl.lit(item.key).alias("file")
    columns, rows = report.unknown_columns.with_columns(file), report.rejects.with_columns(file)
    return quarantine.land("audience-columns", "audience columns", "file", columns) + quarantine.land(
        "audience-rows", "audience rows", "account_id", rows
    )


def _rows(item: S3Object, rows: pl.DataFrame) -> pl.DataFrame:
    accounts = rows["account_id"].unique()
    buckets = [account_bucket(account, bucket_count()) for account in accounts]
    of_account = pl.DataFrame({"account_id": accounts, BUCKET: buckets}, schema_overrides={BUCKET: pl.Int32})
    named = rows.join(of_account, on="account_id").with_columns(
        source_file=pl.lit(item.key), source_etag=pl.lit(item.etag)
    )
    return named.select(REPORTS.schema.names)


def _batches(files: Iterable[tuple[str, pl.DataFrame]]) -> Iterator[dict[str, pl.DataFrame]]:
    batch: dict[str, pl.DataFrame] = {}
    for identity, rows in files:
        batch[identity] = rows
        if len(batch) >= _BATCH_FILES or sum(held.height for held in batch.values()) >= _BATCH_ROWS:
            yield batch
            batch = {}
    if batch:
        yield batch


@asset(
    key=["audience", "demographics"],
    deps=[["audience", "reports"], ["lake", "accounts"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    group_name=GROUP,
    description="Shares of an account's audience by age, gender, country, language and interest, of a date and file.",
    owners=["team:analytics"],
    kinds={"delta", "polars"},
)
def demographics(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    quarantine: QuarantineResource,
    erasures: ErasureResource,
) -> MaterializeResult[None]:
    """Keep what is reported about the live accounts of a stale bucket; an account that comes later gets them then."""

    erased = erasures.tombstones()

    def of_accounts(bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        # Two runs may have taken in the same file at the same time.
        reported = lake.scan_cached(REPORTS, bucket).collect().unique(_KEY)
        accounts = lake.scan_cached(LAKE_ACCOUNTS, bucket).select("account_id", "deleted_at").collect()
        rows, found = judge(reported, accounts)
        unknown = found.filter(~pl.col("account_id").is_in(_ids(erased.accounts_among(found["account_id"]))))
        tally.counts["erased"] += found.height - unknown.height
        tally.counts["accounts_quarantined"] += quarantine.land(
            "audience-accounts", "audience accounts", "account_id", unknown
        )
        return rows.select(DEMOGRAPHICS.schema.names)

    stage = Stage(DEMOGRAPHICS.name, (REPORTS, LAKE_ACCOUNTS))
    return refresh_table(context, lake, ledger, stage, DEMOGRAPHICS, of_accounts)


ASSETS = [reports, demographics]
