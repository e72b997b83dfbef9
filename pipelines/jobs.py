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
_OF_INDEX = AssetSelection.groups("qdrant", "search")
TABLES_AFTER_LAKE = define_asset_job(
    "tables_after_lake",
    selection=AssetSelection.all()
    - AssetSelection.all_asset_checks()
    - AssetSelection.groups("rds", "raw", "lake")
    - _OF_INDEX,
    description="Every table that is made of the lake, without extracting or merging anything.",
)
INDEX = define_asset_job("index", selection=_OF_INDEX, description="The collection, and what is measured on it.")
JOBS = [LINEAGE, CHECKS, TABLES_AFTER_LAKE, INDEX, raw_key_reconciliation]


def all_buckets() -> Mapping[str, str]:
    """Run tags that hand every bucket to one run; Dagster records each partition."""
    keys = BUCKETS.get_partition_keys()
    return {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
