"""summary/*: the assets and tables, in lineage order."""

from dagster import AssetsDefinition

from assets.summaries import accounts, brands, model
from assets.summaries.accounts import SUMMARIES
from assets.summaries.brands import BRAND_TESTIMONIALS
from assets.summaries.model_table import MODEL_SUMMARIES

__all__ = ["ASSETS", "BRAND_TESTIMONIALS", "MODEL_SUMMARIES", "SUMMARIES"]

ASSETS: list[AssetsDefinition] = [*model.ASSETS, *accounts.ASSETS, *brands.ASSETS]
