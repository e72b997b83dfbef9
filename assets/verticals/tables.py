"""vertical/*: scores of posts and accounts for verticals, and the tags that follow. One module per step."""

from dagster import AssetsDefinition

from assets.verticals.scores import SCORES, scores
from assets.verticals.taggers import HELD_OUT, TAGGERS, held_out, taggers
from assets.verticals.tags import TAGS, tags
from assets.verticals.thresholds import THRESHOLDS, thresholds

__all__ = ["ASSETS", "HELD_OUT", "SCORES", "TAGGERS", "TAGS", "THRESHOLDS"]
ASSETS: list[AssetsDefinition] = [taggers, held_out, scores, thresholds, tags]
