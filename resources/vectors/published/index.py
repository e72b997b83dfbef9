"""Exact search in the readers' copy, over all of its segments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resources.vectors.index import SCORE_DECIMALS, SearchIndex, candidate_order
from resources.vectors.published.segment import Hits, Segment
from resources.vectors.values import Candidate, SearchFilter, SparseVector

_SAME_SCORE = 2 * 10.0**-SCORE_DECIMALS
"""Scores that differ by less may round to the same one."""


@dataclass(frozen=True)
class PublishedIndex(SearchIndex):
    """What was promoted, in files that are mapped into memory: safe for any number of threads and processes.

    Finds what an engine finds, by exact scores. A search of 100,000 points reads 150 MB of vectors.
    """

    segments: Sequence[Segment]

    def search_dense(self, vector: NDArray[np.float32], where: SearchFilter, limit: int) -> list[Candidate]:
        """See SearchIndex."""
        direction = vector / (float(np.linalg.norm(vector)) or 1.0)
        return self._best(lambda segment: segment.dense(direction, where), limit)

    def search_sparse(self, query: SparseVector, where: SearchFilter, limit: int) -> list[Candidate]:
        """See SearchIndex."""
        return self._best(lambda segment: segment.sparse(query.checked(), where), limit) if len(query) else []

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """See SearchIndex."""
        return {id_: vector for segment in self.segments for id_, vector in segment.vectors(ids).items()}

    def __len__(self) -> int:
        return sum(map(len, self.segments))

    def _best(self, search: Callable[[Segment], Hits], limit: int) -> list[Candidate]:
        """Return the best ``limit`` hits in order (-score, id). Payloads are read of those alone."""
        found = [(segment, *_cut(search(segment), limit)) for segment in self.segments]
        ordered = sorted(
            (
                (*candidate_order(score, id_), score, segment, row)
                for segment, rows, scores in found
                for id_, score, row in zip(segment.ids(rows), scores.tolist(), rows.tolist(), strict=True)
            ),
            key=lambda hit: hit[:2],
        )
        return [Candidate(id_, score, segment.payload(row)) for _, id_, score, segment, row in ordered[:limit]]


def _cut(hits: Hits, limit: int) -> Hits:
    """Return the best ``limit`` hits and those that may tie with the last of them."""
    is_number = np.isfinite(hits.scores)
    rows, scores = hits.rows[is_number], hits.scores[is_number]
    if len(rows) <= limit:
        return Hits(rows, scores)
    last = np.partition(scores, len(scores) - limit)[len(scores) - limit] if limit else np.inf
    kept = scores >= last - _SAME_SCORE
    return Hits(rows[kept], scores[kept])
