"""From two candidate lists to ranked accounts with their evidence.

Belongs here: fusion, grouping by account, and every tie-break, so that all engines give the same accounts.
Not here: searching (resources/qdrant*.py) and query encoding.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

RRF_K = 60  # Cormack, Clarke, Büttcher 2009: 1 / (k + rank), ranks from 1
# How deep both searches go. Fixed, never derived from the accounts asked for: the ranking is a function of the
# candidates, so that the best k accounts stay the first k of the best k + 1.
CANDIDATES = 400
SCORE_DECIMALS = 5  # engines agree to 1e-6 only; what differs less than this is a tie
# The n-th best post of an account counts 0.1ⁿ⁻¹ of its score, for three posts. On 650 YouTube titles precision@10 of
# the accounts' vertical was .260 (0: .258; 0.25: .258; 0.5: .243; 1: .209).
FURTHER_POST_WEIGHT = 0.1
COUNTED_POSTS = 3


class Candidate(Protocol):
    """A chunk that a search found. The payload has ``account_id, post_id``, and ``chunk_no, text`` to be shown."""

    @property
    def id(self) -> str:
        """Point id."""

    @property
    def score(self) -> float:
        """Higher is better."""

    @property
    def payload(self) -> Mapping[str, Any]:
        """JSON values."""


@dataclass(frozen=True)
class FusedChunk:
    """A chunk with its fused score and where each list had it; None where a list did not have it. Ranks from 1."""

    candidate: Candidate
    score: float
    dense_score: float | None
    dense_rank: int | None
    bm25_score: float | None
    bm25_rank: int | None


@dataclass(frozen=True)
class Evidence:
    """One post of an account, by its best chunk, and why it was found."""

    post_id: str
    chunk_no: int | None
    score: float
    dense_score: float | None
    bm25_score: float | None
    dense_rank: int | None
    bm25_rank: int | None
    text: str


@dataclass(frozen=True)
class RankedAccount:
    """An account and its best posts, best first."""

    account_id: str
    handle: str | None
    score: float
    evidence: list[Evidence]


def fuse(dense: Iterable[Candidate], bm25: Iterable[Candidate], k: int = RRF_K) -> list[FusedChunk]:
    """Reciprocal rank fusion: Σ 1 / (k + rank) over the lists that have the chunk; by (-score, id).

    Ranks are ours, by (-score, id), whatever order the lists come in. A BM25 score of 0 or less shares no term with
    the query and does not count.
    """
    found_dense = _ranked(dense)
    found_bm25 = _ranked(candidate for candidate in bm25 if round(candidate.score, SCORE_DECIMALS) > 0)
    fused = []
    for id_ in found_dense.keys() | found_bm25.keys():
        places = [found[id_] for found in (found_dense, found_bm25) if id_ in found]
        dense_rank, by_dense = found_dense.get(id_, (None, None))
        bm25_rank, by_bm25 = found_bm25.get(id_, (None, None))
        fused.append(
            FusedChunk(
                candidate=places[0][1],
                score=sum(1 / (k + rank) for rank, _ in places),
                dense_score=by_dense.score if by_dense else None,
                dense_rank=dense_rank,
                bm25_score=by_bm25.score if by_bm25 else None,
                bm25_rank=bm25_rank,
            )
        )
    return sorted(fused, key=lambda chunk: (-chunk.score, chunk.candidate.id))


def rank_accounts(
    dense: Iterable[Candidate], bm25: Iterable[Candidate], limit: int, evidence: int = 3
) -> list[RankedAccount]:
    """The best ``limit`` accounts by (-score, account_id), each with up to ``evidence`` posts.

    A post scores as its best chunk. An account scores as its best post, plus a tenth of its second, plus a hundredth
    of its third: another relevant post never hurts and never outweighs a clearly better one.
    """
    posts: dict[str, dict[str, FusedChunk]] = {}
    for chunk in fuse(dense, bm25):  # best first, so the first chunk of a post is its best
        payload = chunk.candidate.payload
        posts.setdefault(payload["account_id"], {}).setdefault(payload["post_id"], chunk)
    accounts = []
    for account_id, best_chunks in posts.items():
        best_first = list(best_chunks.values())
        shown = [_evidence(chunk) for chunk in best_first[:evidence]]
        handle = best_first[0].candidate.payload.get("handle")
        accounts.append(RankedAccount(account_id, handle, _account_score(best_first), shown))
    return sorted(accounts, key=lambda account: (-account.score, account.account_id))[:limit]


def _ranked(candidates: Iterable[Candidate]) -> dict[str, tuple[int, Candidate]]:
    """Point id → (rank from 1, candidate), by (-score, id)."""
    ordered = sorted(candidates, key=lambda candidate: (-round(candidate.score, SCORE_DECIMALS), candidate.id))
    return {candidate.id: (rank, candidate) for rank, candidate in enumerate(ordered, start=1)}


def _account_score(best_first: Sequence[FusedChunk]) -> float:
    return sum(chunk.score * FURTHER_POST_WEIGHT**n for n, chunk in enumerate(best_first[:COUNTED_POSTS]))


def _evidence(chunk: FusedChunk) -> Evidence:
    payload = chunk.candidate.payload
    return Evidence(
        post_id=payload["post_id"],
        chunk_no=payload.get("chunk_no"),
        score=chunk.score,
        dense_score=chunk.dense_score,
        bm25_score=chunk.bm25_score,
        dense_rank=chunk.dense_rank,
        bm25_rank=chunk.bm25_rank,
        text=payload.get("text", ""),
    )
