"""Start here: the stages in lineage order, and what they run on.

Belongs here: the map. Not here: what a stage does (assets/), what a resource is (resources/). Loads without network.
"""

from dagster import Definitions

from assets import (
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
from pipelines.jobs import JOBS
from pipelines.schedules import SCHEDULES
from resources.environments import executor, resources

STAGES = (raw, lake, corpus, embeddings, labels, quarantine, verticals, summaries, qdrant, retrieval_quality, marts)

defs = Definitions(
    assets=[*rds.SPECS, *(definition for stage in STAGES for definition in stage.ASSETS)],
    asset_checks=[
        *ingestion.CHECKS,
        *sources.CHECKS,
        *retrieval.CHECKS,
        *cluster.CHECKS,
        *search.CHECKS,
        *reporting.CHECKS,
    ],
    jobs=JOBS,
    schedules=SCHEDULES,
    resources=resources()._asdict(),
    executor=executor(),
)
