"""Rank sentences by LexRank (Erkan and Radev 2004), and choose some that differ."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_DAMPING = 0.85
_ROUNDS = 60
MOST_SENTENCES = 5
MOST_ALIKE = 0.5
"""Two sentences with a higher cosine say the same; one of them is enough."""
Floats = NDArray[np.float64]


def similarities(terms: Sequence[Sequence[str]]) -> Floats:
    """Return the (n, n) cosines of the sentences' TF-IDF vectors; a sentence without terms is alike to none, not even
    itself. Memory: n squared, and n times the distinct terms."""
    counts = [Counter(of_sentence) for of_sentence in terms]
    documents = Counter(term for count in counts for term in count)
    columns = {term: number for number, term in enumerate(sorted(documents))}
    weights = np.zeros((len(terms), len(columns)))
    for row, count in enumerate(counts):
        for term, times in count.items():
            weights[row, columns[term]] = times * np.log1p(len(terms) / documents[term])
    lengths = np.linalg.norm(weights, axis=1, keepdims=True)
    weights /= np.where(lengths > 0, lengths, 1)
    return np.asarray(weights @ weights.T)


def lexrank(alike: Floats, prior: Floats) -> Floats:
    """Return each sentence's rank: how alike it is to others that rank high. It sums to 1.

    ``prior`` (n, positive) is where the walk starts anew: the part of a sentence's rank that its post gives it.
    """
    start = prior / prior.sum()
    others = alike * (1 - np.eye(len(alike)))  # a sentence is no evidence for itself
    rows = others.sum(axis=1, keepdims=True)
    step = np.where(rows > 0, others / np.where(rows > 0, rows, 1), start)
    rank = start
    for _ in range(_ROUNDS):
        rank = (1 - _DAMPING) * start + _DAMPING * (rank @ step)
    return np.asarray(rank)


def choose(
    rank: Floats,
    alike: Floats,
    lengths: Sequence[int],
    posts: Sequence[int],
    budget: int,
    most_alike: float = MOST_ALIKE,
) -> list[int]:
    """Return numbers of sentences, best first: high in rank, unlike each other, each of another post if possible.

    At most MOST_SENTENCES. ``budget`` is the most characters in all; the first sentence is chosen whatever its length.
    Ties go to the earlier sentence.
    """
    order = sorted(range(len(rank)), key=lambda number: (-round(float(rank[number]), 9), number))
    chosen: list[int] = []
    for may_repeat_post in (False, True):
        for number in order:
            is_new = all(alike[number, other] < most_alike for other in chosen) and number not in chosen
            is_of_new_post = all(posts[number] != posts[other] for other in chosen)
            fits = sum(lengths[other] for other in chosen) + lengths[number] <= budget
            if is_new and (is_of_new_post or may_repeat_post) and (fits or not chosen):
                chosen.append(number)
    return chosen[:MOST_SENTENCES]
