"""Checks of quarantine/rows."""

import polars as pl
from dagster import AssetCheckResult, AssetCheckSeverity

from assets.landing import files_not_taken
from assets.quarantine import QUARANTINE
from pipelines.checks.declaration import check, count
from resources.delta.table import LakeResource
from resources.plain_text import as_code
from resources.raw.quarantine import QuarantineResource
from resources.s3.client import S3Resource
from resources.sources.rds_export import RdsExportResource

_FILES_NAMED = 10


@check("quarantine/rows", "landed rejects missing from the table or with another count", daily=True)
def rejects_recorded(lake: LakeResource, quarantine: QuarantineResource) -> int:
    """Every rejected row that was extracted is in the quarantine table."""
    landed = pl.concat([QUARANTINE.empty().drop("copies"), *quarantine.rows()]).lazy()
    expected = landed.group_by(QUARANTINE.key).agg(copies=pl.len().cast(pl.Int64))
    on = [*QUARANTINE.key, "copies"]
    return count(expected.join(lake.scan(QUARANTINE), on=on, how="anti", nulls_equal=True))


@check("quarantine/rows", daily=True)
def dropped_files_taken(s3: S3Resource, rds_exports: RdsExportResource) -> AssetCheckResult:
    """A stage reads every file that was dropped under landing/. A failure names the other files and why."""
    found = files_not_taken(s3, rds_exports)
    named = "; ".join(f"{as_code(file.key)}: {file.reason}" for file in found[:_FILES_NAMED])
    more = f"; and {len(found) - _FILES_NAMED:,} more" if len(found) > _FILES_NAMED else ""
    return AssetCheckResult(
        passed=not found,
        severity=AssetCheckSeverity.WARN,
        description=f"{len(found):,} dropped files are not read. {named}{more}." if found else "All files are read.",
        metadata={"found": len(found)},
    )
