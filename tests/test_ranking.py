"""Fusion and ranking: a function of the candidates alone, whatever order they come in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.ranking import FURTHER_POST_WEIGHT, Candidate, Evidence, fuse, rank_accounts
from resources import qdrant


@dataclass(frozen=True)
class Chunk:
    id: str
    score: float
    payload: dict[str, Any] = field(hash=False)


def chunk(post: str, score: float, account: str = "ann", chunk_no: int = 0) -> Chunk:
    payload = {"account_id": account, "post_id": post, "chunk_no": chunk_no, "text": f"text of {post}"}
    return Chunk(f"{post}/{chunk_no}", score, payload)


@st.composite
def candidate_lists(draw: st.DrawFn) -> tuple[list[Chunk], list[Chunk]]:
    """Two lists over the same chunks, with few distinct scores, so that ties are common."""
    keys = draw(
        st.lists(
            st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 2)), unique=True, min_size=1, max_size=25
        )
    )
    scores = st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 0.9])

    def one_list() -> list[Chunk]:
        return [
            chunk(f"a{account}p{post}", draw(scores), f"a{account}", number)
            for account, post, number in keys
            if draw(st.booleans())
        ]

    return one_list(), one_list()


@given(candidate_lists(), st.randoms(use_true_random=False))
def test_order_of_candidates_does_not_matter(lists: tuple[list[Chunk], list[Chunk]], random: Random) -> None:
    expected = rank_accounts(*lists, limit=10)
    dense, bm25 = (random.sample(candidates, len(candidates)) for candidates in lists)
    assert rank_accounts(dense, bm25, limit=10) == expected


@given(candidate_lists(), st.integers(0, 5))
def test_best_k_are_the_first_of_the_best_k_plus_one(lists: tuple[list[Chunk], list[Chunk]], limit: int) -> None:
    assert rank_accounts(*lists, limit=limit) == rank_accounts(*lists, limit=limit + 1)[:limit]


@given(candidate_lists())
def test_evidence_is_distinct_posts_of_its_account_best_first(lists: tuple[list[Chunk], list[Chunk]]) -> None:
    ranked = rank_accounts(*lists, limit=10, evidence=2)
    scores = [account.score for account in ranked]
    assert scores == sorted(scores, reverse=True)
    for account in ranked:
        posts = [evidence.post_id for evidence in account.evidence]
        assert 1 <= len(posts) == len(set(posts)) <= 2
        assert all(post.startswith(account.account_id) for post in posts)
        assert account.evidence[0].score == max(evidence.score for evidence in account.evidence) <= account.score


@given(candidate_lists(), st.sampled_from([-1e-6, 1e-6]))
def test_float_noise_of_an_engine_changes_no_order(lists: tuple[list[Chunk], list[Chunk]], noise: float) -> None:
    def order(candidates: Sequence[Chunk], bm25: Sequence[Chunk]) -> list[str]:
        return [account.account_id for account in rank_accounts(candidates, bm25, limit=10)]

    noisy = [Chunk(c.id, c.score + noise if i % 2 else c.score, c.payload) for i, c in enumerate(lists[0])]
    assert order(noisy, lists[1]) == order(*lists)


def test_fused_score_is_the_sum_of_reciprocal_ranks() -> None:
    dense = [chunk("p1", 0.9), chunk("p2", 0.8), chunk("p3", 0.7)]
    bm25 = [chunk("p3", 12.0), chunk("p1", 3.0)]
    fused = fuse(dense, bm25, k=60)
    assert [(f.candidate.id, f.score) for f in fused] == [
        ("p1/0", 1 / 61 + 1 / 62),
        ("p3/0", 1 / 63 + 1 / 61),
        ("p2/0", 1 / 62),
    ]
    assert (fused[1].dense_rank, fused[1].dense_score, fused[1].bm25_rank, fused[1].bm25_score) == (3, 0.7, 1, 12.0)
    assert (fused[2].dense_rank, fused[2].dense_score, fused[2].bm25_rank, fused[2].bm25_score) == (2, 0.8, None, None)


def test_ties_go_by_id() -> None:
    dense = [chunk("p2", 0.5, "bob"), chunk("p1", 0.5, "ann"), chunk("p3", 0.5000001, "cyd")]
    assert [f.candidate.id for f in fuse(dense, [])] == ["p1/0", "p2/0", "p3/0"]


def test_tied_accounts_go_by_id() -> None:
    ranked = rank_accounts([chunk("p1", 0.9, "zoe")], [chunk("p2", 4.0, "ann")], limit=2)
    assert [account.account_id for account in ranked] == ["ann", "zoe"]


def test_bm25_score_of_zero_does_not_count() -> None:
    fused = fuse([], [chunk("p1", 2.0), chunk("p2", 0.0), chunk("p3", -1.0), chunk("p4", 1e-9), chunk("p5", 0.1)])
    assert [f.candidate.id for f in fused] == ["p1/0", "p5/0"]


def test_chunks_of_a_post_count_once_and_further_posts_a_little() -> None:
    dense = [
        chunk("p1", 0.9, "ann", 0),
        chunk("p1", 0.8, "ann", 1),
        chunk("p2", 0.7, "ann"),
        chunk("p9", 0.85, "bob"),
    ]
    ann, bob = rank_accounts(dense, [], limit=5)
    assert (ann.account_id, bob.account_id) == ("ann", "bob")
    assert [(e.post_id, e.chunk_no) for e in ann.evidence] == [("p1", 0), ("p2", 0)]
    assert ann.score == 1 / 61 + FURTHER_POST_WEIGHT / 64
    assert ann.evidence[0].text == "text of p1"


def test_an_account_shows_its_handle_and_why_it_was_found() -> None:
    found = qdrant.Candidate("1", 0.5, {"account_id": "ann", "post_id": "p1", "handle": "@ann", "chunk_no": 2})
    in_bm25 = qdrant.Candidate("1", 7.0, found.payload)
    (account,) = rank_accounts([found], [chunk("p2", 9.0, "bob"), in_bm25], limit=1)
    assert (account.account_id, account.handle) == ("ann", "@ann")
    assert account.evidence == [Evidence("p1", 2, 1 / 61 + 1 / 62, 0.5, 7.0, 1, 2, "")]


def test_only_three_posts_count() -> None:
    posts = [chunk(f"p{n}", 0.9 - n / 100) for n in range(6)]
    assert rank_accounts(posts, [], limit=1)[0].score == rank_accounts(posts[:3], [], limit=1)[0].score


@pytest.mark.parametrize("limit", [0, 1, 10])
def test_nothing_found_ranks_nothing(limit: int) -> None:
    assert rank_accounts([], [], limit=limit) == []


def test_the_index_s_candidates_can_be_ranked() -> None:
    found: Sequence[Candidate] = [qdrant.Candidate("1", 0.5, {"account_id": "ann", "post_id": "p1"})]
    (account,) = rank_accounts(found, found, limit=1)
    assert (account.evidence[0].text, account.evidence[0].chunk_no) == ("", None)
