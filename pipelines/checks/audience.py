"""Checks of audience/*."""

import polars as pl

from assets.audience import DEMOGRAPHICS, REPORTS, is_report, report_rule
from assets.audience import LANDING as AUDIENCE_LANDING
from assets.framework.intake import files_under
from assets.lake import LAKE_ACCOUNTS
from pipelines.checks.declaration import check, count, differences
from pipelines.checks.drops import not_taken_once
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource


@check("audience/reports", "files not taken in, or rows repeated or of no file", daily=True)
def files_taken_once(lake: LakeResource, ledger: LedgerResource, s3: S3Resource) -> int:
    """The current version of every audience report is loaded exactly once, and no other file has rows.

    Compares every row with the files in landing/audience/.
    """
    listed = files_under(s3, AUDIENCE_LANDING, is_report)
    return not_taken_once(lake, ledger, REPORTS, listed, report_rule())


@check(
    "audience/demographics",
    "rows missing, foreign, repeated or impossible",
    reads=(LAKE_ACCOUNTS, REPORTS, DEMOGRAPHICS),
    by_bucket=True,
    guards=True,
)
def rows_match_reports(bucket: int, lake: LakeResource) -> int:
    """The rows are those that reports give for live accounts of the lake, with shares from 0 to 100 percent."""
    live = lake.scan_cached(LAKE_ACCOUNTS, bucket).filter(pl.col("deleted_at").is_null())
    reports = lake.scan_cached(REPORTS, bucket).join(live, on="account_id", how="semi")
    reported = reports.select(DEMOGRAPHICS.schema.names).unique()
    found = lake.scan_cached(DEMOGRAPHICS, bucket)
    impossible = found.filter(~pl.col("share_percent").is_between(0, 100))
    return count(impossible) + differences(reported, found)
