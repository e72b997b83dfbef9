"""Exact search in the readers' copy, over all of its segments."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from resources.vectors.index import SCORE_DECIMALS, SearchIndex, candidate_order
from resources.vectors.published.segment import Hits, Scores, Segment, names_of
from resources.vectors.values import Candidate, IndexPoint, SearchFilter, SparseVector

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
        checked = query.checked()
        return self._best(lambda segment: segment.sparse(checked, where), limit) if len(checked) else []

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """See SearchIndex."""
        names, rows = self._by_name
        wanted = names_of(ids)
        found: dict[str, NDArray[np.float32]] = {}
        for id_, name, place in zip(ids, wanted, np.searchsorted(names, wanted).tolist(), strict=True):
            if place < len(names) and names[place] == name:
                segment = int(np.searchsorted(self._starts, rows[place], side="right")) - 1
                vector = self.segments[segment].vector(int(rows[place] - self._starts[segment]))
                if vector is not None:
                    found[id_] = vector
        return found

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """The number of rows before each segment."""
        return np.cumsum([0, *map(len, self.segments)])[:-1]

    @cached_property
    def _by_name(self) -> tuple[NDArray[np.bytes_], NDArray[np.int64]]:
        """The ids of all segments, ascending, and their rows, counted over the segments. 44 bytes a point."""
        names = np.concatenate([np.empty(0, names_of([]).dtype), *(segment.names for segment in self.segments)])
        order = np.argsort(names, kind="stable")
        return names[order], order

    def points(self) -> Iterator[IndexPoint]:
        """Yield every point with its payload alone."""
        for segment in self.segments:
            rows = np.arange(len(segment))
            for id_, row in zip(segment.ids(rows), rows.tolist(), strict=True):
                yield IndexPoint(id_, np.empty(0, np.float32), SparseVector.of([], []), segment.payload(row))

    def __len__(self) -> int:
        return sum(map(len, self.segments))

    def _best(self, search: Callable[[Segment], Hits], limit: int) -> list[Candidate]:
        """Return the best ``limit`` hits in order (-score, id). Payloads are read of those alone."""
        found = [search(segment) for segment in self.segments]
        least = _least_score([hits.scores for hits in found], limit)
        ordered = sorted(
            (
                (*candidate_order(score, id_), score, segment, row)
                for segment, hits in zip(self.segments, found, strict=True)
                if (kept := np.flatnonzero(hits.scores >= least)).size
                for id_, score, row in zip(
                    segment.ids(hits.rows[kept]), hits.scores[kept].tolist(), hits.rows[kept].tolist(), strict=True
                )
            ),
            key=lambda hit: hit[:2],
        )
        return [Candidate(id_, score, segment.payload(row)) for _, id_, score, segment, row in ordered[:limit]]


def _least_score(of_segments: Sequence[Scores], limit: int) -> float:
    """Return a score that the best ``limit`` reach, and all that may tie with the last of them; not NaN."""
    scores = np.concatenate([*of_segments, np.empty(0, np.float32)])
    scores = scores[np.isfinite(scores)]
    if not limit:
        return float("inf")
    if len(scores) <= limit:
        return float(scores.min()) if len(scores) else float("inf")
    return float(np.partition(scores, len(scores) - limit)[len(scores) - limit]) - _SAME_SCORE
