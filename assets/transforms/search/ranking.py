"""Fuse two candidate lists and rank accounts with their evidence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice, pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from assets.transforms.search.attributes import AboutAccount
from assets.transforms.search.names import NameMatch

RANKING = "rrf-5-400-posts-2-trust-2"  # names the rule below in fingerprints of tables that depend on it
# 1 / (k + rank), ranks from 1 (Cormack, Clarke, Büttcher 2009, who took 60): a small k trusts the best of either list
# more. docs/design.md has the measurements.
RRF_K = 5
# The depth of both searches. Fixed, so that the best k accounts are the first k of the best k + 1.
CANDIDATES = 400
# Fetched from every shard, so that the cut is made here: an engine cuts by scores with its own rounding.
FETCHED = CANDIDATES + 50
SCORE_DECIMALS = 5  # equal texts embedded in other batches differ by 1e-6; scores that round to the same are tied
# Engines add in different orders and differ by 1e-6. Closer scores could change places, or round apart.
NEAR_TIE = 2e-5
WORDS_OF_NAME_WEIGHT = 0.5  # they say what an account is about, not what it posts; a name that is the query counts 1
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
    """Candidates of all shards in any order, cosines of near ties, weight of the list by cosine, ``fit`` of both."""

    dense: Sequence[Candidate]
    bm25: Sequence[Candidate]
    cosines: Mapping[str, float] = field(default_factory=dict)
    dense_weight: float = 1.0
    fit: float = 0.0

    def of(self, retriever: Retriever) -> "Candidates":
        """Return the candidates that a retriever uses."""
        if retriever is Retriever.HYBRID:
            return self
        return Candidates(self.dense, [], self.cosines) if retriever is Retriever.DENSE else Candidates([], self.bm25)


class FusedChunk(NamedTuple):
    """A chunk with its fused score, ``dense_part + bm25_part``, and its score and rank (from 1) in each list.

    If a list lacks the chunk, its score and rank there are None, and its part is 0.
    """

    candidate: Candidate
    score: float
    dense_part: float
    dense_score: float | None
    dense_rank: int | None
    bm25_part: float
    bm25_score: float | None
    bm25_rank: int | None


_SCORES = ("score", "dense_part", "dense_score", "dense_rank", "bm25_part", "bm25_score", "bm25_rank")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One post of an account, represented by its best chunk, with the scores and ranks of that chunk.

    ``weight`` is its weight in the account's score. A search adds ``relevance``, which is 0 to 1, and ``media_url``.
    """

    score: float
    dense_part: float
    dense_score: float | None
    dense_rank: int | None
    bm25_part: float
    bm25_score: float | None
    bm25_rank: int | None
    post_id: str
    chunk_no: int | None
    weight: float
    text: str
    posted_at: str | None = None
    language: str | None = None
    media_url: str | None = None
    relevance: float | None = None


@dataclass(frozen=True)
class RankedAccount:
    """An account and its best posts, best first; ``score`` is ``dense_part + bm25_part + name_part``.

    ``name`` says how its own name or bio fits the query. An account that was found by it alone has no evidence.
    ``relevance``, 0 to 1, and ``about`` are added by a search.
    """

    account_id: str
    handle: str | None
    score: float
    dense_part: float
    bm25_part: float
    evidence: list[Evidence]
    name_part: float = 0.0
    name: NameMatch | None = None
    relevance: float | None = None
    about: AboutAccount | None = None


def near_ties(dense: Iterable[Candidate], fetched: int = FETCHED) -> list[str]:
    """Return sorted ids of the best ``fetched`` candidates whose order depends on an engine's rounding.

    ``cosines`` of their vectors decides it, equally for every engine.
    """
    ordered = sorted(dense, key=lambda candidate: (-round(candidate.score, SCORE_DECIMALS), candidate.id))[:fetched]
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
    exact /= float(np.linalg.norm(exact)) or 1.0  # a query that the model cannot read is all zeros
    found = {}
    for id_, vector in vectors.items():
        widened = vector.astype(np.float64)
        found[id_] = float((widened * exact).sum() / np.sqrt((widened * widened).sum()))
    return found


def fuse(found: Candidates, k: int = RRF_K, skip: int = 0) -> list[FusedChunk]:
    """Fuse by reciprocal rank, Σ weight / (k + rank) over the lists that have the chunk; return in order (-score, id).

    Takes CANDIDATES of each list, after those at its first ``skip`` ranks. Ranks follow (-score, id), whatever order
    the lists have. Leaves out BM25 scores of 0 or less, which share no term with the query, and foreign points without
    account and post.
    """
    in_dense = _ranked(filter(_is_of_a_post, found.dense), found.cosines, skip)
    in_bm25 = _ranked((chunk for chunk in found.bm25 if chunk.score > 0 and _is_of_a_post(chunk)), {}, skip)
    fused = []
    for id_ in in_dense.keys() | in_bm25.keys():
        dense_rank, dense_score, _ = in_dense.get(id_, (None, None, None))
        bm25_rank, bm25_score, _ = in_bm25.get(id_, (None, None, None))
        dense_part = found.dense_weight / (k + dense_rank) if dense_rank else 0.0
        bm25_part = 1 / (k + bm25_rank) if bm25_rank else 0.0
        fused.append(
            FusedChunk(
                (in_dense.get(id_) or in_bm25[id_])[2],
                dense_part + bm25_part,
                dense_part,
                dense_score,
                dense_rank,
                bm25_part,
                bm25_score,
                bm25_rank,
            )
        )
    return sorted(fused, key=lambda chunk: (-chunk.score, chunk.candidate.id))


def rank_posts(found: Candidates) -> list[str]:
    """Return post ids, best first; a post scores as its best chunk."""
    return list(dict.fromkeys(str(chunk.candidate.payload["post_id"]) for chunk in fuse(found)))


def rank_accounts(
    found: Candidates, limit: int, evidence: int = 3, names: Sequence[tuple[str, NameMatch]] = (), windows: int = 1
) -> list[RankedAccount]:
    """Return the best ``limit`` accounts in order (-score, account_id), each with up to ``evidence`` posts.

    A post scores as its best chunk. An account scores as its best post, plus a tenth of its second, plus a hundredth
    of its third: another relevant post never hurts and never outweighs a clearly better one. ``names``, best first, are
    a third list, of accounts; an account whose name is the query comes first. Further ``windows`` of CANDIDATES chunks
    each give further accounts, after those of the first: a longer answer begins with the shorter one. Raises ValueError
    for a limit below 0.
    """
    if limit < 0:
        raise ValueError(f"limit is {limit}, expected 0 or more.")
    ranked: dict[str, _Scored] = {}
    for window in range(windows):
        for account in _of_window(found, window, () if window else names):
            ranked.setdefault(account.account_id, account)
        if len(ranked) >= limit:
            break
    return [account.ranked(evidence) for account in islice(ranked.values(), limit)]


class _Scored(NamedTuple):
    """An account with the parts of its score, and the best chunk of each of its posts, best first."""

    account_id: str
    posts: list[FusedChunk]
    dense_part: float
    bm25_part: float
    name_part: float
    name: NameMatch | None

    @property
    def score(self) -> float:
        return self.dense_part + self.bm25_part + self.name_part

    def ranked(self, evidence: int) -> RankedAccount:
        handle = self.posts[0].candidate.payload.get("handle") if self.posts else None
        return RankedAccount(
            self.account_id,
            handle if isinstance(handle, str) else None,  # other writers may put any type there
            self.score,
            self.dense_part,
            self.bm25_part,
            [_evidence(chunk, number) for number, chunk in enumerate(self.posts[:evidence])],
            self.name_part,
            self.name,
        )


def _of_window(found: Candidates, window: int, names: Sequence[tuple[str, NameMatch]]) -> list[_Scored]:
    """Return the accounts of a window, and of ``names``: exact names first, then in order (-score, account_id)."""
    weight_of_names = max(1.0, found.dense_weight)  # they keep their places beside a list that weighs more
    posts: dict[str, dict[str, FusedChunk]] = {account_id: {} for account_id, _ in names}
    for chunk in fuse(found, skip=window * CANDIDATES):  # best first, so the first chunk of a post is its best
        payload = chunk.candidate.payload
        posts.setdefault(payload["account_id"], {}).setdefault(payload["post_id"], chunk)
    named = {account_id: (place, match) for place, (account_id, match) in enumerate(names)}
    accounts = []
    for account_id, of_account in posts.items():
        best_first = list(of_account.values())
        weighed = list(zip(best_first, POST_WEIGHTS, strict=False))
        dense_part = sum(chunk.dense_part * weight for chunk, weight in weighed)
        bm25_part = sum(chunk.bm25_part * weight for chunk, weight in weighed)
        place, match = named.get(account_id, (0, None))
        name_part = weight_of_names * _name_weight(match) / (RRF_K + 1 + place) if match else 0.0
        accounts.append(_Scored(account_id, best_first, dense_part, bm25_part, name_part, match))
    exact = {account_id: place for account_id, (place, match) in named.items() if match.is_exact}
    return sorted(accounts, key=lambda one: (exact.get(one.account_id, len(named)), -one.score, one.account_id))


def _name_weight(match: NameMatch) -> float:
    return match.similarity * (WORDS_OF_NAME_WEIGHT if match.field == "words" else 1.0)


def _is_of_a_post(candidate: Candidate) -> bool:
    payload = candidate.payload
    return isinstance(payload.get("account_id"), str) and isinstance(payload.get("post_id"), str)


def _ranked(
    candidates: Iterable[Candidate], exact_scores: Mapping[str, float], skip: int
) -> dict[str, tuple[int, float, Candidate]]:
    """Return point id → (rank from 1, score, candidate) of CANDIDATES by (-score, id), without the first ``skip``."""
    scored = [(exact_scores.get(candidate.id, candidate.score), candidate) for candidate in candidates]
    ordered = sorted(scored, key=lambda pair: (-round(pair[0], SCORE_DECIMALS), pair[1].id))[skip : skip + CANDIDATES]
    return {candidate.id: (rank, score, candidate) for rank, (score, candidate) in enumerate(ordered, start=skip + 1)}


def _evidence(chunk: FusedChunk, number: int) -> Evidence:
    payload = chunk.candidate.payload
    text, posted_at, language = (payload.get(name) for name in ("text", "posted_at", "language"))
    return Evidence(
        post_id=payload["post_id"],
        chunk_no=payload.get("chunk_no"),
        weight=POST_WEIGHTS[number] if number < len(POST_WEIGHTS) else 0.0,
        text=text if isinstance(text, str) else "",
        posted_at=posted_at if isinstance(posted_at, str) else None,
        language=language if isinstance(language, str) else None,
        **{name: getattr(chunk, name) for name in _SCORES},
    )
