"""How far a ranking trusts an encoder's list beside that of the words, and from where a result fits well.

One table, by encoder: another one reads other languages, and has other cosines.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import nlargest

from assets.transforms.search.bm25 import DOCUMENT_WEIGHT_BELOW

_SURE_OF = 10
"""The best results that say how sure the list of words is."""


@dataclass(frozen=True)
class Trust:
    """``by_script`` is the weight of the encoder's list, by the script of a query; ``otherwise`` that of other scripts.

    The weight of the list of words is 1. An answer whose ``fit`` is below ``least_fit`` says that nothing fits well.
    """

    by_script: Mapping[str, float] = field(default_factory=dict)
    otherwise: float = 1.0
    least_fit: float = 0.0

    def of(self, query: str) -> float:
        """Return the weight of the encoder's list for a query."""
        return self.by_script.get(script_of(query), self.otherwise)


# Fitted on 198 queries (11 verticals, six languages) over 1,010 labelled channels of the YouTube sample; docs/design.md
# has the figures. MiniLM reads English: its Cyrillic queries lie close together, one title is the nearest of 11 of 33.
# e5 reads every script; docs/encoders.md has its figures. With its mean, behind an endpoint, its weight is not fitted,
# and its least fit lets as many unrelated titles and descriptions of videos pass as MiniLM's does.
TRUST = {
    "all-MiniLM-L6-v2": Trust({"LATIN": 1.0}, otherwise=0.1, least_fit=0.43),
    "multilingual-e5-small@1571fc98/centred-1": Trust(otherwise=3.0, least_fit=0.33),
    "multilingual-e5-small": Trust(least_fit=0.843),
}
"""A part of a model's name → what was fitted on its lists."""


def trust_of(model: str) -> Trust:
    """Return what was fitted for a model by its name; equal trust in both lists if nothing was."""
    return next((trust for part, trust in TRUST.items() if part in model), Trust())


def script_of(text: str) -> str:
    """Return the script of most letters, as their Unicode names begin: "LATIN", "CYRILLIC", "CJK"; "" without any."""
    scripts = Counter(unicodedata.name(letter, "").partition(" ")[0] for letter in text if letter.isalpha())
    return min(scripts, key=lambda script: (-scripts[script], script), default="")


def sureness(scores: Iterable[float], weights: float) -> float:
    """Return how sure the list of words is, 0 to 1: its best BM25 scores, as a share of the highest possible score.

    ``weights`` is the sum of the query's weights. Every engine has the same scores, so the same sureness.
    """
    best = nlargest(_SURE_OF, scores)
    return min(1.0, sum(best) / (_SURE_OF * DOCUMENT_WEIGHT_BELOW * weights)) if weights else 0.0


def fit(cosines: Iterable[float], trust: float, sure: float) -> float:
    """Return how well a query is answered: the best cosine, as far as it is trusted, plus twice the sureness."""
    return max(cosines, default=0.0) * min(1.0, trust) + 2 * sure
