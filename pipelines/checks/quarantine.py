"""Checks of quarantine/rows."""

import polars as pl
from dagster import AssetCheckResult, AssetCheckSeverity, AssetKey, asset_check

from assets.landing import files_not_taken
from assets.quarantine import QUARANTINE
from pipelines.checks import verdict
from resources.delta.table import LakeResource
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Resource
from resources.sources.rds_export import RdsExportResource

_FILES_NAMED = 10


@asset_check(asset=AssetKey(["quarantine", "rows"]), name="rejects_recorded")
def rejects_recorded(lake: LakeResource, quarantine: QuarantineResource) -> AssetCheckResult:
    """Every rejected row that was extracted is in the quarantine table."""
    landed = pl.concat([QUARANTINE.empty().drop("copies"), *quarantine.rows()])
    counted = landed.group_by(QUARANTINE.key).agg(copies=pl.len().cast(pl.Int64))
    held = lake.scan(QUARANTINE).collect()
    missing = counted.join(held, on=[*QUARANTINE.key, "copies"], how="anti", nulls_equal=True).height
    return verdict("landed rejects missing from the table", found=missing, metadata={"rows": held.height})


@asset_check(asset=AssetKey(["quarantine", "rows"]), name="dropped_files_taken")
def dropped_files_taken(s3: S3Resource, rds_exports: RdsExportResource) -> AssetCheckResult:
    """A stage reads every file that was dropped under landing/. A failure names the other files and why."""
    found = files_not_taken(s3, rds_exports)
    named = "; ".join(f"{file.key}: {file.reason}" for file in found[:_FILES_NAMED])
    more = f"; and {len(found) - _FILES_NAMED:,} more" if len(found) > _FILES_NAMED else ""
    return AssetCheckResult(
        passed=not found,
        severity=AssetCheckSeverity.WARN,
        description=f"{len(found):,} dropped files are not read. {named}{more}." if found else "All files are read.",
        metadata={"found": len(found)},
    )
