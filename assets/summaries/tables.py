"""summary/*: the assets and tables, in lineage order."""

from dagster import AssetsDefinition

from assets.summaries import accounts, model
from assets.summaries.accounts import SUMMARIES
from assets.summaries.model_table import MODEL_SUMMARIES

__all__ = ["ASSETS", "MODEL_SUMMARIES", "SUMMARIES"]

ASSETS: list[AssetsDefinition] = [*model.ASSETS, *accounts.ASSETS]
