"""The check of each bucket's freshness. Dagster's policies are per asset, which hides one late bucket of many."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from dagster import AssetKey, AssetRecordsFilter, DagsterInstance

from assets.marts.creators import CREATORS
from assets.marts.testimonials import TESTIMONIALS as TESTIMONIALS_MART
from assets.partitions import BUCKETS
from pipelines.checks.declaration import Check, Metadata
from pipelines.checks.evaluation import is_outdated
from pipelines.checks.qdrant import ledger_name_of_served
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.vectors.resource import QdrantResource

LATE = timedelta(hours=24)
"""How long a bucket may differ from the lake. Its run starts within minutes of the change."""


def _late(asset: str, ledger_name: str, instance: DagsterInstance, lake: LakeResource, ledger: LedgerResource) -> int:
    buckets = [int(key) for key in BUCKETS.get_partition_keys()]
    entries = ledger.entries(ledger_name, buckets)
    behind = [bucket for bucket, entry in entries.items() if is_outdated(lake, entry, bucket)]
    return sum(_age(instance, asset, bucket) > LATE for bucket in behind)


def _age(instance: DagsterInstance, asset: str, bucket: int) -> timedelta:
    """Return how long ago a bucket was last materialized; 0 if the instance does not know."""
    wanted = AssetRecordsFilter(AssetKey(asset.split("/")), asset_partitions=[str(bucket)])
    records = instance.fetch_materializations(wanted, limit=1).records
    if not records:
        return timedelta(0)
    return datetime.now(UTC) - datetime.fromtimestamp(records[0].timestamp, UTC)


def _of(asset: str, promise: Callable[..., int | tuple[int, Metadata] | None]) -> Check:
    promise.__doc__ = "Every bucket whose inputs changed was materialized within a day. Names a bucket that is stuck."
    return Check(asset, "buckets_fresh", promise, "buckets that differ from the lake for a day", daily=True)


def _creators(instance: DagsterInstance, lake: LakeResource, ledger: LedgerResource) -> int:
    return _late(CREATORS.name, CREATORS.name, instance, lake, ledger)


def _testimonials(instance: DagsterInstance, lake: LakeResource, ledger: LedgerResource) -> int:
    return _late(TESTIMONIALS_MART.name, TESTIMONIALS_MART.name, instance, lake, ledger)


def _points(instance: DagsterInstance, lake: LakeResource, ledger: LedgerResource, qdrant: QdrantResource) -> int:
    return _late("qdrant/cippus_text", ledger_name_of_served(qdrant), instance, lake, ledger)


CHECKS = [
    _of("qdrant/cippus_text", _points),
    _of(CREATORS.name, _creators),
    _of(TESTIMONIALS_MART.name, _testimonials),
]
