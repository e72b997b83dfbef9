"""List the stages in lineage order. This is the only place where a stage is registered.

Assets, Delta tables, maintenance and erasure are derived from this list. Most jobs select by it too; the roots of two
jobs are named in `pipelines/jobs/asset_jobs.py`. A stage's module has `ASSETS`; its table specs are module constants.
Checks are found in the package `pipelines/checks/`, one module per module or package of a stage: raw, qdrant, …
"""

from dagster import AssetsDefinition, AssetSpec

from assets import (
    audience,
    audit,
    corpus,
    embeddings,
    quarantine,
    quicksight,
    rds,
    shortlists,
)
from assets.labels import tables as labels
from assets.labels.issues import REVIEW
from assets.lake import merging
from assets.marts import tables as marts
from assets.qdrant import collection
from assets.raw import windows
from assets.search import tables as search
from assets.summaries import evaluations
from assets.summaries import tables as summaries
from assets.verticals import tables as verticals
from resources.delta.table import TableSpec
from resources.erasure import tombstones
from resources.sources.redshift import STAGING

STAGES = (
    rds,
    windows,
    merging,
    corpus,
    embeddings,
    labels,
    audience,
    quarantine,
    verticals,
    summaries,
    collection,
    search,
    marts,
    quicksight,
)
ASSETS: list[AssetsDefinition | AssetSpec] = [definition for stage in STAGES for definition in stage.ASSETS]
_SPECS = {spec.name: spec for stage in STAGES for spec in vars(stage).values() if isinstance(spec, TableSpec)}
TABLES = [_SPECS[name] for name in sorted(_SPECS)]
"""Every Delta table, by name."""
WRITTEN = (
    "raw/",
    "landing/",
    "ledger/",
    "spend/",
    "llm/",
    "quicksight/",
    shortlists.FOLDER,
    audit.FOLDER,
    evaluations.FOLDER,
    REVIEW,
    STAGING,
    *(f"{spec.name}/" for spec in TABLES),
)
"""Prefixes that the lineage, the page and commands write to, without tombstones."""


def is_own(key: str) -> bool:
    """Return whether Cippus wrote this object. An RDS export or another team's table is not its own."""
    return key.startswith((*WRITTEN, tombstones.PREFIX))
