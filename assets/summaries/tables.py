"""summary/*: the assets and tables, in lineage order."""

from dagster import AssetsDefinition

from assets.summaries import accounts, brands, model, model_testimonials
from assets.summaries.accounts import SUMMARIES
from assets.summaries.brands import BRAND_TESTIMONIALS
from assets.summaries.model_table import MODEL_SUMMARIES
from assets.summaries.model_testimonials_table import MODEL_TESTIMONIALS

__all__ = ["ASSETS", "BRAND_TESTIMONIALS", "MODEL_SUMMARIES", "MODEL_TESTIMONIALS", "SUMMARIES"]

ASSETS: list[AssetsDefinition] = [*model.ASSETS, *accounts.ASSETS, *brands.ASSETS, *model_testimonials.ASSETS]
