"""How much of the exact answer an approximate search finds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_TIE = 1e-5
"""Cosines that differ by less are a tie: either point is a right answer."""


class ExactNeighbours:
    """The best ``k`` cosines of every query over all vectors, and those of the points that a search found.

    ``queries`` is (queries, dimension) of unit length; ``found`` is each query's point ids, as the search gave them.
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
        """Take a block of points: their ids, and their unit vectors (points, dimension)."""
        cosines = self._queries @ vectors.T
        self._vectors += len(ids)
        self._best = np.sort(np.hstack([self._best, cosines]), axis=1)[:, -self._k :]
        for row, point in enumerate(ids):
            for number in self._asked.get(point, ()):
                self._hits[number].append(float(cosines[number, row]))

    def recall(self) -> float:
        """The mean part of the true best ``k`` that was found; 1.0 when there is nothing to find.

        A found point counts when its true cosine, by the vectors added, is not below the k-th best one. A point that
        was not among those added never counts.
        """
        due = min(self._k, self._vectors)
        if due == 0 or not len(self._queries):
            return 1.0
        bars = self._best[:, -due] - _TIE
        right = [sum(cosine >= bar for cosine in hits) for hits, bar in zip(self._hits, bars, strict=True)]
        return float(np.mean([min(count, due) / due for count in right]))
