"""vertical/*: scores of posts and accounts for verticals, and the tags that follow. One module per step."""

from dagster import AssetsDefinition

from assets.verticals import quality, roster
from assets.verticals.quality import METHODS, MISTAKES, QUALITY
from assets.verticals.roster import HISTORY, ROSTER
from assets.verticals.scores import SCORES, scores
from assets.verticals.taggers import HELD_OUT, TAGGERS, held_out, taggers
from assets.verticals.tags import TAGS, tags
from assets.verticals.thresholds import THRESHOLDS, thresholds

__all__ = [
    "ASSETS",
    "HELD_OUT",
    "HISTORY",
    "METHODS",
    "MISTAKES",
    "QUALITY",
    "ROSTER",
    "SCORES",
    "TAGGERS",
    "TAGS",
    "THRESHOLDS",
]
ASSETS: list[AssetsDefinition] = [taggers, held_out, scores, thresholds, *quality.ASSETS, *roster.ASSETS, tags]
