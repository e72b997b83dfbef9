"""The jobs: the whole lineage once, all checks, and the comparison of all keys.

Belongs here: selections and run tags. Not here: when they run (schedules.py).
"""

from collections.abc import Mapping

from dagster import AssetSelection, define_asset_job

from assets.partitions import BUCKETS
from pipelines.reconciliation import raw_key_reconciliation

LINEAGE = define_asset_job(
    "lineage",
    selection=AssetSelection.all() - AssetSelection.all_asset_checks(),
    description="Every asset once, in lineage order; unchanged buckets are skipped.",
)
CHECKS = define_asset_job(
    "checks",
    selection=AssetSelection.all_asset_checks(),
    description="Every asset check, without materializing anything.",
)
JOBS = [LINEAGE, CHECKS, raw_key_reconciliation]


def all_buckets() -> Mapping[str, str]:
    """Run tags that hand every bucket to one run; Dagster records each partition."""
    keys = BUCKETS.get_partition_keys()
    return {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
