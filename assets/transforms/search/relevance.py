"""How well a found post fits a query, as a number that means the same for every query."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from assets.transforms.search.cosines import CosineScale
from assets.transforms.search.names import NameMatch
from assets.transforms.search.ranking import RankedAccount


def coverage(weights: Mapping[int, float], terms: frozenset[int]) -> float:
    """Return the share of a query's IDF weights whose terms a text has, 0 to 1."""
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in terms) / total if total else 0.0


def with_relevance(
    ranked: Iterable[RankedAccount],
    weights: Mapping[int, float],
    terms_of: Callable[[str], frozenset[int]],
    cosine_of: Mapping[str, float],
    scale: CosineScale,
    *,
    trust: float = 1.0,
) -> list[RankedAccount]:
    """Return accounts with their relevance and that of their posts: an account's is its best post's, or its name's.

    ``cosine_of`` has the cosines, by post, of evidence that only BM25 found. Cosines count as far as they are trusted.
    """
    scored = []
    for account in ranked:
        posts = []
        for post in account.evidence:
            cosine = min(1.0, trust) * ((post.dense_score or cosine_of.get(post.post_id)) or 0.0)
            posts.append(replace(post, relevance=scale.relevance(cosine, coverage(weights, terms_of(post.text)))))
        best = max([_of_name(account.name, scale), *(post.relevance or 0.0 for post in posts)])
        scored.append(replace(account, evidence=posts, relevance=best))
    return scored


def _of_name(name: NameMatch | None, scale: CosineScale) -> float:
    """Return the similarity of a name. Words of a bio count like those of a post of which nothing else is known."""
    if name is None:
        return 0.0
    return scale.relevance(None, name.similarity) if name.field == "words" else name.similarity
