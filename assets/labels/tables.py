"""label/*: what people say about posts and accounts, and what is made of it. One module per step."""

from dagster import AssetsDefinition

from assets.labels import gold, votes
from assets.labels.gold import GOLD
from assets.labels.votes import VOTES

__all__ = ["ASSETS", "GOLD", "VOTES"]
ASSETS: list[AssetsDefinition] = [*votes.ASSETS, *gold.ASSETS]
