"""The jobs: the whole lineage once, its parts as sensors and schedules ask for them, and all checks."""

from collections.abc import Iterable, Mapping

from dagster import AssetsDefinition, AssetSelection, define_asset_job

from assets.partitions import BUCKETS
from assets.stages import ASSETS
from pipelines.jobs.lake_maintenance import lake_maintenance
from pipelines.jobs.raw_key_reconciliation import raw_key_reconciliation

WRITES_TAG = "cippus/writes"
"""What a run writes; in production, runs that write the same wait for each other (deploy/dagster.yaml)."""
_EVERY = AssetSelection.all() - AssetSelection.all_asset_checks()
_SOURCE = AssetSelection.groups("raw", "lake")
_WITHOUT_BUCKETS = AssetSelection.assets(
    *(definition for definition in ASSETS if isinstance(definition, AssetsDefinition) and not definition.partitions_def)
)

LINEAGE = define_asset_job(
    "lineage",
    selection=_EVERY,
    description="Every asset once, in lineage order; unchanged buckets are skipped.",
    tags={WRITES_TAG: "all buckets"},
)
EXTRACTION = define_asset_job(
    "extraction",
    selection=_SOURCE,
    description="What changed in the source, into raw/* and lake/*.",
    tags={WRITES_TAG: "lake"},
)
BUCKET = define_asset_job(
    "bucket",
    selection=_EVERY - _SOURCE - _WITHOUT_BUCKETS,
    description="All that is made of a bucket's rows alone, from the lake to the collection and the marts.",
)
ACROSS_BUCKETS = define_asset_job(
    "across_buckets",
    selection=AssetSelection.assets(["label", "gold"], ["mart", "posts_by_day"]).downstream(),
    description="What is made of all buckets at once (labels, thresholds, totals), and what follows from it.",
    tags={WRITES_TAG: "all buckets"},
)
AUDIENCE = define_asset_job(
    "audience",
    selection=AssetSelection.assets(["audience", "reports"]).downstream(),
    description="Dropped audience reports, into the audience's tables.",
    tags={WRITES_TAG: "all buckets"},
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
JOBS = [LINEAGE, EXTRACTION, BUCKET, ACROSS_BUCKETS, AUDIENCE, TABLES_AFTER_LAKE, INDEX, CHECKS]
OP_JOBS = [raw_key_reconciliation, lake_maintenance]


def all_buckets() -> Mapping[str, str]:
    """Run tags that hand every bucket to one run; Dagster records each partition."""
    return bucket_range(int(key) for key in BUCKETS.get_partition_keys())


def bucket_range(buckets: Iterable[int]) -> Mapping[str, str]:
    """Run tags that hand the range from the first to the last of some buckets to one run.

    Dagster's ranges have no gaps; an unchanged bucket in one costs a look.
    """
    wanted = sorted(buckets)
    return {"dagster/asset_partition_range_start": str(wanted[0]), "dagster/asset_partition_range_end": str(wanted[-1])}
