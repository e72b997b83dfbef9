"""Checks of audience/*."""

import polars as pl
from dagster import AssetCheckResult, AssetKey, asset_check

from assets.audience import DEMOGRAPHICS, REPORTS, is_report, report_rule
from assets.audience import LANDING as AUDIENCE_LANDING
from assets.lake import LAKE_ACCOUNTS
from assets.transforms.source.arrivals import outstanding
from pipelines.checks import verdict
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource


@asset_check(asset=AssetKey(["audience", "reports"]), name="files_taken_once")
def files_taken_once(lake: LakeResource, ledger: LedgerResource, s3: S3Resource) -> AssetCheckResult:
    """The current version of every audience report is loaded exactly once, and no other file has rows.

    Compares every row with the files in landing/audience/.
    """
    listed = [item for item in s3.list_objects(AUDIENCE_LANDING) if is_report(item)]
    fresh, gone = outstanding(listed, ledger.taken(REPORTS.name), report_rule())
    rows = lake.scan(REPORTS).select(*REPORTS.key, "source_etag").collect()
    versions = pl.DataFrame(
        [(item.key, item.etag) for item in listed], {"source_file": pl.String, "source_etag": pl.String}, orient="row"
    )
    foreign = rows.join(versions, on=["source_file", "source_etag"], how="anti").height
    repeated = rows.height - rows.select(REPORTS.key).n_unique()
    return verdict(
        "files not taken in, or rows repeated or of no file", found=len(fresh) + len(gone) + foreign + repeated
    )


@asset_check(asset=AssetKey(["audience", "demographics"]), name="rows_match_reports")
def rows_match_reports(lake: LakeResource) -> AssetCheckResult:
    """The rows are those that reports give for live accounts of the lake, with shares from 0 to 100 percent."""
    names, accounts = DEMOGRAPHICS.schema.names, lake.scan(LAKE_ACCOUNTS).filter(pl.col("deleted_at").is_null())
    due = lake.scan(REPORTS).join(accounts, on="account_id", how="semi").select(names).unique().collect()
    held = lake.scan(DEMOGRAPHICS).collect()
    odd = held.filter(~pl.col("share_percent").is_between(0, 100)).height + held.height - held.n_unique()
    differing = due.join(held, on=names, how="anti").height + held.join(due, on=names, how="anti").height
    return verdict(
        "rows missing, foreign, repeated or impossible", found=differing + odd, metadata={"rows": held.height}
    )
