"""The jobs: the whole lineage once, its parts as sensors and schedules ask for them, and all checks.

Belongs here: selections and run tags. Not here: when they run (schedules.py, sensors/).
"""

from collections.abc import Iterable, Mapping

from dagster import AssetSelection, define_asset_job

from assets.partitions import BUCKETS

WRITES_TAG = "cippus/writes"
"""What a run writes; in production, runs that write the same wait for each other (deploy/dagster.yaml)."""
_EVERY = AssetSelection.all() - AssetSelection.all_asset_checks()
_SOURCE = AssetSelection.groups("raw", "lake")
_WITHOUT_BUCKETS = AssetSelection.assets(
    ["label", "gold"],
    ["audience", "reports"],
    ["quarantine", "rows"],
    ["vertical", "thresholds"],
    ["qdrant", "promotion"],
    ["search", "retrieval_quality"],
    ["mart", "posts_by_day"],
    ["mart", "vertical_coverage"],
    ["quicksight", "exports"],
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
JOBS = [LINEAGE, EXTRACTION, BUCKET, ACROSS_BUCKETS, AUDIENCE, CHECKS]


def all_buckets() -> Mapping[str, str]:
    """Run tags that hand every bucket to one run; Dagster records each partition."""
    return bucket_range(int(key) for key in BUCKETS.get_partition_keys())


def bucket_range(buckets: Iterable[int]) -> Mapping[str, str]:
    """Run tags that hand the range from the first to the last of some buckets to one run.

    Dagster's ranges have no gaps; an unchanged bucket in one costs a look.
    """
    wanted = sorted(buckets)
    return {"dagster/asset_partition_range_start": str(wanted[0]), "dagster/asset_partition_range_end": str(wanted[-1])}
