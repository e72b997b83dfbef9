"""Fetch the candidates of a ranking from every shard of the index, as deep as its filters need."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from assets.transforms.search.ranking import CANDIDATES, FETCHED, Candidates, RankedAccount, cosines, near_ties
from assets.transforms.search.trust import fit, sureness
from assets.transforms.text.corpus import point_id
from resources.vectors.index import SearchIndex
from resources.vectors.values import Candidate, SearchFilter, SparseVector

DEEPEST = 10_000
"""Candidates of a list that are looked at, of a shard: beyond, a post that only the last filters allow is not found."""
_DEEPER = 4
Keep = Callable[[Sequence[Candidate]], list[Candidate]]
"""Candidates → those that the filters allow that no engine knows: phrases, exclusions, exact numbers."""


@dataclass(frozen=True)
class Question:
    """A query for the index: its unit vector (dimension,), and its terms with corpus-wide IDF weights.

    The vector is 0 when the model cannot read the query: BM25 alone answers it. ``trust`` is the weight of the list by
    cosine beside words that nobody is sure of. ``forms`` are the terms to ask the index for, where posts also have
    other forms of the query's words; how much of a query a post has is counted by ``sparse`` alone.
    """

    dense: NDArray[np.float32]
    sparse: SparseVector
    trust: float = 1.0
    forms: SparseVector | None = None

    @property
    def asked(self) -> SparseVector:
        """The terms to ask the index for."""
        return self.sparse if self.forms is None else self.forms

    @property
    def is_read(self) -> bool:
        """Whether the model could read the query."""
        return bool(self.dense.any())


def find(
    shards: Sequence[SearchIndex], question: Question, where: SearchFilter, keep: Keep | None = None, windows: int = 1
) -> Candidates:
    """Fetch the candidates for a ranking of ``windows`` from every shard, to a fixed depth.

    With ``keep`` each list is fetched deeper until it has as many that are kept, at most DEEPEST. Near ties are decided
    by their vectors, so that the ranking does not depend on the engine or number of shards.
    """
    wanted = fetched(windows)
    by_shard: list[list[Candidate]] = [[] for _ in shards]
    if question.is_read:
        by_shard = [_fetch(partial(shard.search_dense, question.dense, where), keep, wanted) for shard in shards]
    bm25 = [
        found for shard in shards for found in _fetch(partial(shard.search_sparse, question.asked, where), keep, wanted)
    ]
    dense = [candidate for found in by_shard for candidate in found]
    tied = set(near_ties(dense, wanted))
    vectors = {
        id_: vector
        for shard, found in zip(shards, by_shard, strict=True)
        if (ids := [candidate.id for candidate in found if candidate.id in tied])
        for id_, vector in shard.vectors(ids).items()
    }
    sure = sureness((candidate.score for candidate in bm25), float(question.sparse.values.sum(dtype=np.float64)))
    found = fit((candidate.score for candidate in dense), question.trust, sure)
    return Candidates(dense, bm25, cosines(question.dense, vectors), question.trust * (1 - sure), found)


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a vector of length 1, or the zero vector."""
    return np.asarray(vector / (np.linalg.norm(vector) or 1.0), np.float32)


def fetched(windows: int) -> int:
    """Return how many candidates of each list are fetched for a ranking of ``windows``."""
    return min(FETCHED + (windows - 1) * CANDIDATES, DEEPEST)


def most_windows() -> int:
    """Return the windows of the longest answer."""
    return 1 + (DEEPEST - FETCHED) // CANDIDATES


def unknown_cosines(index: SearchIndex, question: Question, ranked: Sequence[RankedAccount]) -> dict[str, float]:
    """Return post id → cosine of the evidence that only BM25 found."""
    if not question.is_read:
        return {}
    post_of = {
        point_id(post.post_id, post.chunk_no or 0): post.post_id
        for account in ranked
        for post in account.evidence
        if post.dense_score is None
    }
    return {post_of[id_]: cosine for id_, cosine in cosines(question.dense, index.vectors([*post_of])).items()}


def _fetch(search: Callable[[int], list[Candidate]], keep: Keep | None, wanted: int) -> list[Candidate]:
    depth = wanted
    while True:
        found = search(depth)
        kept = list(found) if keep is None else keep(found)
        if len(found) < depth or len(kept) >= wanted or depth >= DEEPEST:
            return kept
        depth = min(depth * _DEEPER, DEEPEST)
