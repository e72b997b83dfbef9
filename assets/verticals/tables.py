"""vertical/*: scores of posts and accounts for verticals, and the tags that follow. One module per step."""

from dagster import AssetsDefinition

from assets.verticals import quality, roster
from assets.verticals.held_out import HELD_OUT, held_out
from assets.verticals.model_tags import MODEL_TAGS, model_tags
from assets.verticals.quality import METHODS, MISTAKES, QUALITY
from assets.verticals.roster import HISTORY, ROSTER
from assets.verticals.scores import SCORES, scores
from assets.verticals.taggers import TAGGERS, taggers
from assets.verticals.tags import TAGS, tags
from assets.verticals.thresholds import THRESHOLDS, thresholds

__all__ = [
    "ASSETS",
    "HELD_OUT",
    "HISTORY",
    "METHODS",
    "MISTAKES",
    "MODEL_TAGS",
    "QUALITY",
    "ROSTER",
    "SCORES",
    "TAGGERS",
    "TAGS",
    "THRESHOLDS",
]
ASSETS: list[AssetsDefinition] = [
    taggers,
    model_tags,
    held_out,
    scores,
    thresholds,
    *quality.ASSETS,
    *roster.ASSETS,
    tags,
]
