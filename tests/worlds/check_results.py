"""Evaluate checks on a world, without a run of Dagster."""

from collections.abc import Mapping
from typing import Any

from dagster import AssetCheckEvaluation, AssetCheckResult, DagsterInstance

from pipelines.checks.catalogue import CHECKS
from pipelines.checks.evaluation import evaluation, judge
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.erasure.tombstones import ErasureResource
from resources.llm.resource import LlmResource
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import RawStoreResource
from resources.settings import bucket_count
from resources.sources.postgres import PostgresResource
from resources.sources.rds_export import RdsExportResource
from resources.spend.resource import SpendResource
from tests.worlds.lineage import ERASURE_KEY, World

BY_NAME = {f"{check.asset}:{check.name}": check for check in CHECKS}


Found = AssetCheckResult | AssetCheckEvaluation | None


def evaluate(
    world: World, name: str, *, reads_everything: bool = True, instance: DagsterInstance | None = None
) -> Found:
    """Return what a check finds; None if there is nothing to check."""
    return _evaluate(resources_of(world, instance), name, reads_everything=reads_everything)


def evaluate_all(world: World, instance: DagsterInstance | None = None) -> dict[str, Found]:
    """Return what every check finds of a world that nobody changes meanwhile. Each table's log is read once."""
    resources = resources_of(world, instance)
    with resources["lake"].steady():
        return {name: _evaluate(resources, name) for name in BY_NAME}


def _evaluate(resources: Mapping[str, Any], name: str, *, reads_everything: bool = True) -> Found:
    verdict = judge(BY_NAME[name], resources, range(bucket_count()), reads_everything)
    return None if verdict is None else evaluation(BY_NAME[name], verdict)


def resources_of(world: World, instance: DagsterInstance | None = None) -> dict[str, Any]:
    """Return what checks ask for, as another process would see it: no cache hides a tampered log."""
    return {
        "s3": world.s3,
        "lake": LakeResource(s3=world.s3),
        "ledger": LedgerResource(s3=world.s3),
        "raw_store": RawStoreResource(s3=world.s3),
        "quarantine": QuarantineResource(s3=world.s3),
        "qdrant": world.qdrant,
        "embedder": world.embedding[0],
        "source": PostgresResource(dsn=world.dsn),
        "rds_exports": RdsExportResource(s3=world.s3),
        "erasures": ErasureResource(s3=world.s3, key=ERASURE_KEY),
        "spend": SpendResource(s3=world.s3),
        "llm": LlmResource(spend=SpendResource(s3=world.s3)),
        "instance": instance,
    }
