"""How well a found post fits a query, as a number that means the same for every query."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from assets.transforms.search.ranking import RankedAccount

# ln(odds) = intercept + meaning · cosine + words · share of the query's IDF weights that the post has. Fitted on 12,108
# judged results (36% relevant) for the descriptions of 22 verticals on YouTube videos, with MiniLM's cosines. With each
# vertical left out of its own fit, the estimates are off by .018 on average (expected calibration error; AUC .72).
# Another encoder has other cosines: fit again.
_INTERCEPT, _MEANING, _WORDS = -3.1, 9.6, 2.2


def coverage(weights: Mapping[int, float], terms: frozenset[int]) -> float:
    """Return the share of a query's IDF weights whose terms a text has, 0 to 1."""
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in terms) / total if total else 0.0


def relevance(cosine: float | None, covered: float) -> float:
    """Return the estimated share of such posts that readers would call relevant, 0 to 1."""
    odds = _INTERCEPT + _MEANING * (cosine or 0.0) + _WORDS * covered
    return round(1 / (1 + math.exp(-odds)), 4)


def with_relevance(
    ranked: Iterable[RankedAccount],
    weights: Mapping[int, float],
    terms_of: Callable[[str], frozenset[int]],
    cosine_of: Mapping[str, float],
) -> list[RankedAccount]:
    """Return accounts with their relevance and that of their posts: an account's is its best post's, or its name's.

    ``cosine_of`` has the cosines, by post, of evidence that only BM25 found.
    """
    scored = []
    for account in ranked:
        posts = []
        for post in account.evidence:
            cosine = cosine_of.get(post.post_id) if post.dense_score is None else post.dense_score
            posts.append(replace(post, relevance=relevance(cosine, coverage(weights, terms_of(post.text)))))
        of_name = account.name.similarity if account.name else 0.0
        best = max([of_name, *(post.relevance or 0.0 for post in posts)])
        scored.append(replace(account, evidence=posts, relevance=best))
    return scored
