"""Start here: the stages in lineage order, and what they run on.

Belongs here: the map. Not here: what a stage does (assets/), what a resource is (resources/). Loads without network.
"""

from dagster import Definitions

from assets import (
    audience,
    corpus,
    embeddings,
    labels,
    lake,
    marts,
    qdrant,
    quarantine,
    raw,
    rds,
    retrieval_quality,
    summaries,
    verticals,
)
from pipelines.checks import cluster, ingestion, reporting, retrieval, search, sources
from pipelines.freshness import with_freshness
from pipelines.jobs import JOBS, OP_JOBS
from pipelines.schedules import SCHEDULES
from pipelines.sensors import SENSORS
from resources.environments import executor, resources

STAGES = (
    raw,
    lake,
    corpus,
    embeddings,
    labels,
    audience,
    quarantine,
    verticals,
    summaries,
    qdrant,
    retrieval_quality,
    marts,
)

defs = Definitions(
    assets=with_freshness([*rds.SPECS, *(definition for stage in STAGES for definition in stage.ASSETS)]),
    asset_checks=[
        *ingestion.CHECKS,
        *sources.CHECKS,
        *retrieval.CHECKS,
        *cluster.CHECKS,
        *search.CHECKS,
        *reporting.CHECKS,
    ],
    jobs=[*JOBS, *OP_JOBS],
    schedules=SCHEDULES,
    sensors=SENSORS,
    resources=resources()._asdict(),
    executor=executor(),
)
