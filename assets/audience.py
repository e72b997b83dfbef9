"""audience/*: who follows the accounts, from reports that people drop as CSV."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext

from assets.dropped_files import report as read_in_process
from assets.dropped_files import report_limits, too_large
from assets.framework.asset import asset
from assets.framework.columns import bucket_of
from assets.framework.incremental import RunMetrics, Stage, record_intake, refresh_table
from assets.lake import LAKE_ACCOUNTS
from assets.transforms.audience import Report, judge, without_accounts
from assets.transforms.erasure import ErasedAccounts
from assets.transforms.source.arrivals import digest, outstanding
from assets.transforms.source.schema import account_bucket
from resources.catalogues import audience as catalogue
from resources.catalogues.audience import load_audience_columns
from resources.delta.state import LedgerResource
from resources.delta.table import BUCKET, Changes, Column, LakeResource, TableSpec, fingerprint
from resources.erasure.tombstones import ErasureResource
from resources.isolation import process as isolation
from resources.isolation.process import UnreadableFileError
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Object, S3Resource
from resources.settings import bucket_count

LANDING = catalogue.LANDING
_READING = "2"
"""Change it to have every file read again. Another column map has the same effect by itself."""
_BATCH_ROWS, _BATCH_FILES = 250_000, 500
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
    """Replace the rows of new and overwritten files, and delete the rows of deleted files.

    A file is recorded after its rows are committed. After a crash in between, the next run reads it again and replaces
    its rows. Memory: one file, the rows of a batch of files, and the list of all files, 200 bytes each.
    """
    tally, rule = RunMetrics(), report_rule()
    listed = list(filter(is_report, s3.list_objects(LANDING)))
    fresh, gone = outstanding(listed, ledger.taken(REPORTS.name), rule)
    before = {ledger.taken_key(REPORTS.name, identity) for identity in gone}
    _delete_rows(lake, before - {item.key for item in listed} - {None, ""})
    reading = _Reading(s3, quarantine, erasures.tombstones(), tally)
    for batch in _batches(reading.files(fresh)):
        _delete_rows(lake, {fresh[identity].key for identity in batch})
        rows = pl.concat(batch.values())
        if rows.height:
            lake.append(REPORTS, rows)
        for identity in batch:
            ledger.take(REPORTS.name, identity, fresh[identity].key)
        tally.changes += Changes(inserted=rows.height)
        context.log.info("%s files read, %s rows", len(batch), f"{rows.height:,}")
    ledger.forget_taken(REPORTS.name, gone)
    taken = digest((item for item in listed if item.key not in reading.missed), rule)
    record_intake(context, ledger, REPORTS.name, taken)
    held = [found for _, found in sorted(lake.contents(REPORTS).items())]
    tally.rows, tally.size_bytes = sum(found.rows for found in held), sum(found.size_bytes for found in held)
    tally.fingerprint = fingerprint(found.fingerprint for found in held)
    tally.counts.update(files=len(listed), files_taken=len(fresh) - len(reading.missed), files_gone=len(gone))
    return tally


def _delete_rows(lake: LakeResource, keys: Iterable[str | None]) -> None:
    """Delete the rows of files: of an earlier version, or of an attempt that did not end."""
    quoted = ", ".join("'" + key.replace("'", "''") + "'" for key in sorted(filter(None, keys)))
    if quoted:
        lake.delete_where(REPORTS, f"source_file IN ({quoted})")


@dataclass
class _Reading:
    """Reads files and lands their rejects. ``missed`` are the keys of files that changed since the listing."""

    s3: S3Resource
    quarantine: QuarantineResource
    erased: ErasedAccounts
    tally: RunMetrics
    missed: set[str] = field(default_factory=set)

    def files(self, fresh: Mapping[str, S3Object]) -> Iterator[tuple[str, pl.DataFrame]]:
        """Yield the identity and the rows of each file."""
        for identity, item in fresh.items():
            try:
                report = self._read(item)
            except UnreadableFileError as error:
                reject = pl.DataFrame({"file": [item.key], "etag": [item.etag], "reason": [str(error)]})
                self._land("files_quarantined", "files", "file", reject)
                yield identity, REPORTS.empty()
            else:
                if report is None:
                    self.missed.add(item.key)
                else:
                    yield identity, self._rows(item, report)

    def _read(self, item: S3Object) -> Report | None:
        """Read a file in a process of its own. Return None if it changed since the listing."""
        if reason := too_large(item.size_bytes):
            raise UnreadableFileError(reason)
        body = self.s3.get(item.key, item.etag)
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
