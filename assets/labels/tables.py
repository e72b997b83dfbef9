"""label/*: what people say about posts and accounts, and what is made of it. One module per step."""

from dagster import AssetsDefinition

from assets.labels import agreement, gold, issues, pairs, queue, votes
from assets.labels.agreement import AGREEMENT, ANNOTATORS
from assets.labels.gold import GOLD
from assets.labels.issues import ISSUES
from assets.labels.pairs import HARD_NEGATIVES, LEARNING_CURVE, TRAINING_PAIRS
from assets.labels.queue import NEXT_TO_LABEL
from assets.labels.votes import VOTES

__all__ = [
    "AGREEMENT",
    "ANNOTATORS",
    "ASSETS",
    "GOLD",
    "HARD_NEGATIVES",
    "ISSUES",
    "LEARNING_CURVE",
    "NEXT_TO_LABEL",
    "TRAINING_PAIRS",
    "VOTES",
]

ASSETS: list[AssetsDefinition] = [
    *votes.ASSETS,
    *gold.ASSETS,
    *agreement.ASSETS,
    *issues.ASSETS,
    *queue.ASSETS,
    *pairs.ASSETS,
]
