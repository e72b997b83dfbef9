"""Fuse two candidate lists and rank accounts with their evidence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

RANKING = "rrf-5-400-posts-2"  # names the rule below in fingerprints of tables that depend on it
# 1 / (k + rank), ranks from 1: Cormack, Clarke, Büttcher 2009, who took 60. nDCG@10 with 60, 20, 10, 5, 2 was .444,
# .450, .455, .462, .457 on tweets by vertical, .763, .780, .787, .794, .797 on videos by their title, and .627, .611,
# .609, .621, .614 on videos by vertical (39 queries only): a small k trusts the best of either list more.
RRF_K = 5
# The depth of both searches. Fixed, and independent of the number of accounts to return, so that the best k accounts
# are the first k of the best k + 1.
CANDIDATES = 400
# Fetched from every shard, so that the cut is made here: an engine cuts by scores with its own rounding.
FETCHED = CANDIDATES + 50
SCORE_DECIMALS = 5  # equal texts embedded in other batches differ by 1e-6; scores that round to the same are tied
# Engines add in different orders and differ by 1e-6. Closer scores could change places, or round apart.
NEAR_TIE = 2e-5
# Weights of an account's best, second and third post. On 650 YouTube titles precision@10 of the accounts' vertical was
# .260 with a factor of 0.1 from post to post (0: .258; 0.25: .258; 0.5: .243; 1: .209).
POST_WEIGHTS = (1.0, 0.1, 0.01)


class Candidate(Protocol):
    """A chunk that a search found. The payload has ``account_id, post_id``, and ``chunk_no, text`` for display."""

    @property
    def id(self) -> str:
        """Point id."""

    @property
    def score(self) -> float:
        """Higher is better."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """JSON values."""


class Retriever(StrEnum):
    """The candidate lists that a ranking uses."""

    DENSE = "dense"
    BM25 = "bm25"
    HYBRID = "hybrid"


@dataclass(frozen=True)
class Candidates:
    """Candidates of all shards, in any order: by cosine, by BM25, and our own cosines of near ties."""

    dense: Sequence[Candidate]
    bm25: Sequence[Candidate]
    cosines: Mapping[str, float] = field(default_factory=dict)

    def of(self, retriever: Retriever) -> "Candidates":
        """Return the candidates that a retriever uses."""
        dense = [] if retriever is Retriever.BM25 else self.dense
        return Candidates(dense, [] if retriever is Retriever.DENSE else self.bm25, self.cosines)


@dataclass(frozen=True, kw_only=True)
class _Fused:
    """A fused score, ``dense_part + bm25_part``, and the score and rank (from 1) in each list.

    If a list lacks the chunk, its score and rank there are None, and its part is 0.
    """

    score: float
    dense_part: float
    dense_score: float | None
    dense_rank: int | None
    bm25_part: float
    bm25_score: float | None
    bm25_rank: int | None


@dataclass(frozen=True, kw_only=True)
class FusedChunk(_Fused):
    """A chunk with its fused score."""

    candidate: Candidate


@dataclass(frozen=True, kw_only=True)
class Evidence(_Fused):
    """One post of an account, represented by its best chunk, and the reason that it was found.

    ``weight`` is its weight in the account's score.
    """

    post_id: str
    chunk_no: int | None
    weight: float
    text: str


@dataclass(frozen=True)
class RankedAccount:
    """An account and its best posts, best first; ``score`` is ``dense_part + bm25_part``."""

    account_id: str
    handle: str | None
    score: float
    dense_part: float
    bm25_part: float
    evidence: list[Evidence]


def near_ties(dense: Iterable[Candidate]) -> list[str]:
    """Return sorted ids of the best FETCHED candidates whose order depends on an engine's rounding.

    ``cosines`` of their vectors decides it, equally for every engine.
    """
    ordered = sorted(dense, key=lambda candidate: (-round(candidate.score, SCORE_DECIMALS), candidate.id))[:FETCHED]
    ordered.sort(key=lambda candidate: candidate.score)
    tied = {
        candidate.id
        for lower, upper in pairwise(ordered)
        if upper.score - lower.score <= NEAR_TIE
        for candidate in (lower, upper)
    }
    return sorted(tied)


def cosines(query: NDArray[np.float32], vectors: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
    """Return id → cosine in double precision, each computed alone, so that equal vectors have equal cosines."""
    exact = query.astype(np.float64)
    exact /= np.linalg.norm(exact)
    found = {}
    for id_, vector in vectors.items():
        widened = vector.astype(np.float64)
        found[id_] = float((widened * exact).sum() / np.sqrt((widened * widened).sum()))
    return found


def fuse(found: Candidates, k: int = RRF_K) -> list[FusedChunk]:
    """Fuse by reciprocal rank, Σ 1 / (k + rank) over the lists that have the chunk; return in order (-score, id).

    Ranks follow (-score, id), whatever order the lists have. Leaves out BM25 scores of 0 or less, which share no term
    with the query, and foreign points without account and post.
    """
    in_dense = _ranked(filter(_is_of_a_post, found.dense), found.cosines)
    in_bm25 = _ranked((chunk for chunk in found.bm25 if chunk.score > 0 and _is_of_a_post(chunk)), {})
    fused = []
    for id_ in in_dense.keys() | in_bm25.keys():
        dense_rank, dense_score, _ = in_dense.get(id_, (None, None, None))
        bm25_rank, bm25_score, _ = in_bm25.get(id_, (None, None, None))
        dense_part = 1 / (k + dense_rank) if dense_rank else 0.0
        bm25_part = 1 / (k + bm25_rank) if bm25_rank else 0.0
        fused.append(
            FusedChunk(
                candidate=(in_dense.get(id_) or in_bm25[id_])[2],
                score=dense_part + bm25_part,
                dense_part=dense_part,
                dense_score=dense_score,
                dense_rank=dense_rank,
                bm25_part=bm25_part,
                bm25_score=bm25_score,
                bm25_rank=bm25_rank,
            )
        )
    return sorted(fused, key=lambda chunk: (-chunk.score, chunk.candidate.id))


def rank_posts(found: Candidates) -> list[str]:
    """Return post ids, best first; a post scores as its best chunk."""
    return list(dict.fromkeys(str(chunk.candidate.payload["post_id"]) for chunk in fuse(found)))


def rank_accounts(found: Candidates, limit: int, evidence: int = 3) -> list[RankedAccount]:
    """Return the best ``limit`` accounts in order (-score, account_id), each with up to ``evidence`` posts.

    A post scores as its best chunk. An account scores as its best post, plus a tenth of its second, plus a hundredth
    of its third: another relevant post never hurts and never outweighs a clearly better one. Raises ValueError for a
    limit below 0.
    """
    if limit < 0:
        raise ValueError(f"limit is {limit}, expected 0 or more.")
    posts: dict[str, dict[str, FusedChunk]] = {}
    for chunk in fuse(found):  # best first, so the first chunk of a post is its best
        payload = chunk.candidate.payload
        posts.setdefault(payload["account_id"], {}).setdefault(payload["post_id"], chunk)
    accounts = []
    for account_id, best_chunks in posts.items():
        best_first = list(best_chunks.values())
        weighed = list(zip(best_first, POST_WEIGHTS, strict=False))
        dense_part = sum(chunk.dense_part * weight for chunk, weight in weighed)
        bm25_part = sum(chunk.bm25_part * weight for chunk, weight in weighed)
        shown = [_evidence(chunk, number) for number, chunk in enumerate(best_first[:evidence])]
        handle = best_first[0].candidate.payload.get("handle")
        shown_handle = handle if isinstance(handle, str) else None  # other writers may put any type there
        accounts.append(RankedAccount(account_id, shown_handle, dense_part + bm25_part, dense_part, bm25_part, shown))
    return sorted(accounts, key=lambda account: (-account.score, account.account_id))[:limit]


def _is_of_a_post(candidate: Candidate) -> bool:
    return all(isinstance(candidate.payload.get(name), str) for name in ("account_id", "post_id"))


def _ranked(
    candidates: Iterable[Candidate], exact_scores: Mapping[str, float]
) -> dict[str, tuple[int, float, Candidate]]:
    """Return point id → (rank from 1, score, candidate) of the best CANDIDATES by (-score, id)."""
    scored = [(exact_scores.get(candidate.id, candidate.score), candidate) for candidate in candidates]
    ordered = sorted(scored, key=lambda pair: (-round(pair[0], SCORE_DECIMALS), pair[1].id))[:CANDIDATES]
    return {candidate.id: (rank, score, candidate) for rank, (score, candidate) in enumerate(ordered, start=1)}


def _evidence(chunk: FusedChunk, number: int) -> Evidence:
    payload = chunk.candidate.payload
    text = payload.get("text")
    return Evidence(
        post_id=payload["post_id"],
        chunk_no=payload.get("chunk_no"),
        weight=POST_WEIGHTS[number] if number < len(POST_WEIGHTS) else 0.0,
        text=text if isinstance(text, str) else "",
        **{field.name: getattr(chunk, field.name) for field in fields(_Fused)},
    )
