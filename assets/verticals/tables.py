"""vertical/*: scores of posts and accounts for verticals, and the tags that follow. One module per step."""

from dagster import AssetsDefinition

from assets.verticals.scores import SCORES, scores
from assets.verticals.tags import TAGS, tags
from assets.verticals.thresholds import THRESHOLDS, thresholds

__all__ = ["ASSETS", "SCORES", "TAGS", "THRESHOLDS"]
ASSETS: list[AssetsDefinition] = [scores, thresholds, tags]
