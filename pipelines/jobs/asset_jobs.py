"""Asset jobs: the whole lineage, the parts that sensors and schedules run, and all checks."""

from collections.abc import Iterable, Mapping

from dagster import AssetsDefinition, AssetSelection, define_asset_job

from assets.partitions import BUCKETS
from assets.stages import ASSETS
from pipelines.checks.catalogue import keys
from pipelines.checks.evaluation import READ_EVERYTHING
from pipelines.jobs.lake_maintenance import lake_maintenance
from pipelines.jobs.lake_repair import lake_repair
from pipelines.jobs.raw_key_reconciliation import raw_key_reconciliation

WRITES_TAG = "cippus/writes"
"""Run tag. In production, runs with the same value wait for each other (pipelines/deploy/dagster.yaml)."""
_DAILY = AssetSelection.checks(*keys(daily=True))
_EVERY = AssetSelection.all() - _DAILY
"""All assets, each with the checks that run where it is made."""
_SOURCE = AssetSelection.groups("raw", "lake")
_WITHOUT_BUCKETS = AssetSelection.assets(
    *(definition for definition in ASSETS if isinstance(definition, AssetsDefinition) and not definition.partitions_def)
)

LINEAGE = define_asset_job(
    "lineage",
    selection=_EVERY,
    description="Materializes every asset once, in lineage order. Unchanged buckets are skipped.",
    tags={WRITES_TAG: "all buckets"},
)
EXTRACTION = define_asset_job(
    "extraction",
    selection=_SOURCE - _DAILY,
    description="Extracts the source's changes to raw/* and merges them into lake/*.",
    tags={WRITES_TAG: "lake"},
)
BUCKET = define_asset_job(
    "bucket",
    selection=_EVERY - _SOURCE - _WITHOUT_BUCKETS,
    description="Materializes the assets of account buckets, from the corpus to the Qdrant collection and the marts.",
)
ACROSS_BUCKETS = define_asset_job(
    "across_buckets",
    selection=AssetSelection.assets(
        ["label", "votes"],
        ["audience", "reports"],
        ["search", "judgements"],
        ["summary", "brand_testimonials"],
        *(["mart", name] for name in ("posts_by_day", "content", "testimonials_by_brand", "spend")),
    ).downstream()
    - _DAILY,
    description="Materializes the assets that read dropped files or all buckets, and those downstream.",
    tags={WRITES_TAG: "all buckets"},
)
AUDIENCE = define_asset_job(
    "audience",
    selection=AssetSelection.assets(["audience", "reports"]).downstream() - _DAILY,
    description="Loads audience reports from landing/audience/, and updates the tables made of them.",
    tags={WRITES_TAG: "all buckets"},
)
QUARANTINED = define_asset_job(
    "quarantined",
    selection=AssetSelection.assets(["quarantine", "rows"]) - _DAILY,
    description="Collects the rejected rows of all stages in quarantine/rows.",
    tags={WRITES_TAG: "all buckets"},
)
CHECKS = define_asset_job(
    "checks",
    selection=AssetSelection.all_asset_checks(),
    description="Runs every asset check on all data, changed or not. Materializes nothing.",
    tags={READ_EVERYTHING: "everything"},
)
DAILY_CHECKS = define_asset_job(
    "daily_checks",
    selection=_DAILY,
    description="Runs the checks that do not run with their assets. Reads what changed since they passed.",
)
_OF_INDEX = AssetSelection.groups("qdrant", "search")
TABLES_AFTER_LAKE = define_asset_job(
    "tables_after_lake",
    selection=_EVERY - AssetSelection.groups("rds", "raw", "lake") - _OF_INDEX,
    description="Materializes every table downstream of the lake. Extracts and merges nothing.",
)
INDEX = define_asset_job(
    "index",
    selection=_OF_INDEX - _DAILY,
    description="Updates the Qdrant collection, and measures the quality of search.",
)
JOBS = [
    *(LINEAGE, EXTRACTION, BUCKET, ACROSS_BUCKETS, AUDIENCE, QUARANTINED, TABLES_AFTER_LAKE, INDEX),
    *(CHECKS, DAILY_CHECKS),
]
OP_JOBS = [raw_key_reconciliation, lake_maintenance, lake_repair]


def all_buckets() -> Mapping[str, str]:
    """Return the tags of a run that processes every bucket. Dagster records each partition."""
    return bucket_range(int(key) for key in BUCKETS.get_partition_keys())


def bucket_range(buckets: Iterable[int]) -> Mapping[str, str]:
    """Return the tags of a run that processes the range from the first to the last of the buckets.

    Dagster's ranges have no gaps. An unchanged bucket in the range is skipped.
    """
    wanted = sorted(buckets)
    return {"dagster/asset_partition_range_start": str(wanted[0]), "dagster/asset_partition_range_end": str(wanted[-1])}
