"""search/*: what readers say about results, and the quality of search. One module per step."""

from assets.search import judgements, retrieval_quality
from assets.search.judgements import JUDGEMENTS
from assets.search.retrieval_quality import QUALITY

__all__ = ["ASSETS", "JUDGEMENTS", "QUALITY"]
ASSETS = [*judgements.ASSETS, *retrieval_quality.ASSETS]
