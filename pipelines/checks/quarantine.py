"""Checks of quarantine/rows."""

import polars as pl
from dagster import AssetCheckResult, AssetKey, asset_check

from assets.quarantine import QUARANTINE
from pipelines.checks import verdict
from resources.delta.table import LakeResource
from resources.raw.quarantine import QuarantineResource


@asset_check(asset=AssetKey(["quarantine", "rows"]), name="rejects_recorded")
def rejects_recorded(lake: LakeResource, quarantine: QuarantineResource) -> AssetCheckResult:
    """Every rejected row that was extracted is in the quarantine table."""
    landed = pl.concat([QUARANTINE.empty().drop("copies"), *quarantine.rows()])
    counted = landed.group_by(QUARANTINE.key).agg(copies=pl.len().cast(pl.Int64))
    held = lake.scan(QUARANTINE).collect()
    missing = counted.join(held, on=[*QUARANTINE.key, "copies"], how="anti", nulls_equal=True).height
    return verdict("landed rejects missing from the table", found=missing, metadata={"rows": held.height})
