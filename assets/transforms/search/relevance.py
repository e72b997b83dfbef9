"""How well a found post fits a query, as a number that means the same for every query."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from assets.transforms.search.ranking import RankedAccount

# ln(odds) = intercept + meaning · cosine + words · share of the query's IDF weights that the post has.
_INTERCEPT, _MEANING, _WORDS = -4.0, 8.0, 2.0


def coverage(weights: Mapping[int, float], terms: frozenset[int]) -> float:
    """Return the share of a query's IDF weights whose terms a text has, 0 to 1."""
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in terms) / total if total else 0.0


def relevance(cosine: float | None, covered: float) -> float:
    """Return the estimated share of such posts that readers would call relevant, 0 to 1."""
    odds = _INTERCEPT + _MEANING * (cosine or 0.0) + _WORDS * covered
    return round(1 / (1 + math.exp(-odds)), 4)


def with_relevance(
    ranked: Iterable[RankedAccount], weights: Mapping[int, float], terms_of: Callable[[str], frozenset[int]]
) -> list[RankedAccount]:
    """Return accounts with their relevance and that of their posts: an account's is its best post's, or its name's."""
    scored = []
    for account in ranked:
        posts = [
            replace(post, relevance=relevance(post.dense_score, coverage(weights, terms_of(post.text))))
            for post in account.evidence
        ]
        of_name = account.name.similarity if account.name else 0.0
        best = max([of_name, *(post.relevance or 0.0 for post in posts)])
        scored.append(replace(account, evidence=posts, relevance=best))
    return scored
