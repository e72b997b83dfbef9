"""The recall of an approximate search against exact search."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_TIE = 1e-5
"""Cosines that differ by less are tied: both points are right."""


class ExactNeighbours:
    """Compares the points that a search found with the best ``k`` cosines of every query over all vectors.

    ``queries`` is (queries, dimension) of unit length; ``found`` is each query's point ids in the search's order.
    Memory: one block of cosines and (queries, k).
    """

    def __init__(self, queries: NDArray[np.float32], found: Sequence[Sequence[str]], k: int = 10) -> None:
        self._queries, self._k = queries, k
        self._best = np.full((len(queries), k), -np.inf, np.float32)
        self._asked: dict[str, list[int]] = {}
        self._hits: list[list[float]] = [[] for _ in queries]
        self._vectors = 0
        for number, ids in enumerate(found):
            for point in ids[:k]:
                self._asked.setdefault(point, []).append(number)

    def add(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Add a block of points: their ids, and their unit vectors (points, dimension)."""
        cosines = self._queries @ vectors.T
        self._vectors += len(ids)
        self._best = np.sort(np.hstack([self._best, cosines]), axis=1)[:, -self._k :]
        for row, point in enumerate(ids):
            for number in self._asked.get(point, ()):
                self._hits[number].append(float(cosines[number, row]))

    def recall(self) -> float:
        """Return the mean share of the exact best ``k`` that was found; 1.0 without points or queries.

        A found point counts when its exact cosine is not below the k-th best one. A point that was never added does
        not count.
        """
        due = min(self._k, self._vectors)
        if due == 0 or not len(self._queries):
            return 1.0
        bars = self._best[:, -due] - _TIE
        right = [sum(cosine >= bar for cosine in hits) for hits, bar in zip(self._hits, bars, strict=True)]
        return float(np.mean([min(count, due) / due for count in right]))
