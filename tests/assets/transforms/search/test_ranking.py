"""Fusion and ranking: a function of the candidates alone, whatever order they come in."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.search.ranking import (
    CANDIDATES,
    POST_WEIGHTS,
    RRF_K,
    Candidate,
    Candidates,
    Evidence,
    Retriever,
    cosines,
    fuse,
    near_ties,
    rank_accounts,
    rank_posts,
)
from resources.vectors import values


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
    expected = rank_accounts(Candidates(*lists), limit=10)
    dense, bm25 = (random.sample(candidates, len(candidates)) for candidates in lists)
    assert rank_accounts(Candidates(dense, bm25), limit=10) == expected


@given(candidate_lists(), st.integers(0, 5))
def test_best_k_are_the_first_of_the_best_k_plus_one(lists: tuple[list[Chunk], list[Chunk]], limit: int) -> None:
    assert rank_accounts(Candidates(*lists), limit=limit) == rank_accounts(Candidates(*lists), limit=limit + 1)[:limit]


@given(candidate_lists())
def test_evidence_is_distinct_posts_of_its_account_best_first(lists: tuple[list[Chunk], list[Chunk]]) -> None:
    ranked = rank_accounts(Candidates(*lists), limit=10, evidence=2)
    scores = [account.score for account in ranked]
    assert scores == sorted(scores, reverse=True)
    for account in ranked:
        posts = [evidence.post_id for evidence in account.evidence]
        assert 1 <= len(posts) == len(set(posts)) <= 2
        assert all(post.startswith(account.account_id) for post in posts)
        assert account.evidence[0].score == max(evidence.score for evidence in account.evidence) <= account.score


@given(st.data())
def test_noise_of_an_engine_changes_no_order(data: st.DataObject) -> None:
    """Two engines give the same cosines up to 1e-6; near ties are settled by the vectors, so the order is one."""
    levels = data.draw(st.lists(st.integers(0, 40), min_size=2, max_size=20))
    true = {f"p{n}": np.array([np.cos(x), np.sin(x)]) for n, x in enumerate(np.asarray(levels) * 4e-6 + 0.7)}
    query = np.array([1.0, 0.0], np.float32)

    def order(noises: list[float]) -> list[str]:
        dense = [chunk(post, float(v[0]) + noise, post) for (post, v), noise in zip(true.items(), noises, strict=True)]
        vectors = {f"{post}/0": vector.astype(np.float32) for post, vector in true.items()}
        settled = cosines(query, {id_: vectors[id_] for id_ in near_ties(dense)})
        return [account.account_id for account in rank_accounts(Candidates(dense, [], settled), limit=20)]

    noise = st.lists(st.floats(-1e-6, 1e-6), min_size=len(levels), max_size=len(levels))
    assert order(data.draw(noise)) == order(data.draw(noise))


def test_near_ties_are_all_that_noise_could_reorder() -> None:
    scores = {"a": 0.5, "b": 0.50001, "c": 0.50004, "d": 0.6, "e": 0.6}
    assert near_ties([chunk(name, score) for name, score in scores.items()]) == ["a/0", "b/0", "d/0", "e/0"]
    assert near_ties([]) == near_ties([chunk("a", 1.0)]) == []


def test_a_settled_cosine_takes_the_engine_s_place() -> None:
    dense = [chunk("p1", 0.5), chunk("p2", 0.500011)]
    assert rank_posts(Candidates(dense, [])) == ["p2", "p1"]
    assert rank_posts(Candidates(dense, [], {"p1/0": 0.50002, "p2/0": 0.5})) == ["p1", "p2"]


def test_cosines_are_of_each_vector_by_itself() -> None:
    random = np.random.default_rng(1)
    vectors = {f"v{n}": random.normal(size=384).astype(np.float32) for n in range(50)}
    query = random.normal(size=384).astype(np.float32)
    together = cosines(query, vectors)
    assert together == {id_: cosines(query, {id_: vector})[id_] for id_, vector in vectors.items()}
    exact = vectors["v7"].astype(np.float64)
    expected = float(exact @ query / np.linalg.norm(exact) / np.linalg.norm(query.astype(np.float64)))
    assert together["v7"] == pytest.approx(expected, rel=1e-12)


def test_only_so_many_candidates_count_however_many_shards_answer() -> None:
    """Eight shards hand over more than one does; what they add below the cut must not be seen."""
    dense = [chunk(f"p{n:04}", 1 - n / 10_000, f"a{n:04}") for n in range(CANDIDATES + 200)]
    assert rank_accounts(Candidates(dense, []), 1000) == rank_accounts(Candidates(dense[:CANDIDATES], []), 1000)
    assert len(rank_accounts(Candidates(dense, dense[::-1]), 1000)) == CANDIDATES


def test_a_retriever_counts_its_own_list() -> None:
    found = Candidates([chunk("p1", 0.9)], [chunk("p2", 3.0)])
    ranked = {retriever: rank_posts(found.of(retriever)) for retriever in Retriever}
    assert ranked == {Retriever.DENSE: ["p1"], Retriever.BM25: ["p2"], Retriever.HYBRID: ["p1", "p2"]}


def test_a_post_ranks_as_its_best_chunk() -> None:
    dense = [chunk("p1", 0.9, chunk_no=1), chunk("p2", 0.8), chunk("p1", 0.7, chunk_no=0)]
    assert rank_posts(Candidates(dense, [])) == ["p1", "p2"]


@given(candidate_lists())
def test_parts_add_up(lists: tuple[list[Chunk], list[Chunk]]) -> None:
    for account in rank_accounts(Candidates(*lists), limit=10, evidence=9):
        assert account.score == account.dense_part + account.bm25_part
        for part in ("dense_part", "bm25_part", "score"):
            of_posts = sum(getattr(found, part) * found.weight for found in account.evidence)
            assert getattr(account, part) == pytest.approx(of_posts)
        for found in account.evidence:
            assert found.score == found.dense_part + found.bm25_part
            assert (found.dense_part == 0) == (found.dense_rank is None)


def test_fused_score_is_the_sum_of_reciprocal_ranks() -> None:
    dense = [chunk("p1", 0.9), chunk("p2", 0.8), chunk("p3", 0.7)]
    bm25 = [chunk("p3", 12.0), chunk("p1", 3.0)]
    fused = fuse(Candidates(dense, bm25), k=60)
    assert [(f.candidate.id, f.score) for f in fused] == [
        ("p1/0", 1 / 61 + 1 / 62),
        ("p3/0", 1 / 63 + 1 / 61),
        ("p2/0", 1 / 62),
    ]
    assert (fused[1].dense_rank, fused[1].dense_score, fused[1].bm25_rank, fused[1].bm25_score) == (3, 0.7, 1, 12.0)
    assert (fused[2].dense_rank, fused[2].dense_score, fused[2].bm25_rank, fused[2].bm25_score) == (2, 0.8, None, None)


def test_ties_go_by_id() -> None:
    dense = [chunk("p2", 0.5, "bob"), chunk("p1", 0.5, "ann"), chunk("p3", 0.5000001, "cyd")]
    assert [f.candidate.id for f in fuse(Candidates(dense, []))] == ["p1/0", "p2/0", "p3/0"]


def test_tied_accounts_go_by_id() -> None:
    ranked = rank_accounts(Candidates([chunk("p1", 0.9, "zoe")], [chunk("p2", 4.0, "ann")]), limit=2)
    assert [account.account_id for account in ranked] == ["ann", "zoe"]


def test_bm25_score_of_zero_does_not_count() -> None:
    fused = fuse(Candidates([], [chunk("p1", 2.0), chunk("p2", 0.0), chunk("p3", -1.0), chunk("p5", 0.001)]))
    assert [f.candidate.id for f in fused] == ["p1/0", "p5/0"]


def test_chunks_of_a_post_count_once_and_further_posts_a_little() -> None:
    dense = [
        chunk("p1", 0.9, "ann", 0),
        chunk("p1", 0.8, "ann", 1),
        chunk("p2", 0.7, "ann"),
        chunk("p9", 0.85, "bob"),
    ]
    ann, bob = rank_accounts(Candidates(dense, []), limit=5)
    assert (ann.account_id, bob.account_id) == ("ann", "bob")
    assert [(e.post_id, e.chunk_no) for e in ann.evidence] == [("p1", 0), ("p2", 0)]
    assert ann.score == 1 / (RRF_K + 1) + POST_WEIGHTS[1] / (RRF_K + 4)
    assert ann.evidence[0].text == "text of p1"


def test_an_account_shows_its_handle_and_why_it_was_found() -> None:
    found = values.Candidate("1", 0.5, {"account_id": "ann", "post_id": "p1", "handle": "@ann", "chunk_no": 2})
    in_bm25 = values.Candidate("1", 7.0, found.payload)
    (account,) = rank_accounts(Candidates([found], [chunk("p2", 9.0, "bob"), in_bm25]), limit=1)
    assert (account.account_id, account.handle) == ("ann", "@ann")
    assert account.evidence == [
        Evidence(
            post_id="p1",
            chunk_no=2,
            score=1 / (RRF_K + 1) + 1 / (RRF_K + 2),
            weight=1.0,
            dense_part=1 / (RRF_K + 1),
            dense_score=0.5,
            dense_rank=1,
            bm25_part=1 / (RRF_K + 2),
            bm25_score=7.0,
            bm25_rank=2,
            text="",
        )
    ]
    assert (account.score, account.dense_part, account.bm25_part) == (
        1 / (RRF_K + 1) + 1 / (RRF_K + 2),
        1 / (RRF_K + 1),
        1 / (RRF_K + 2),
    )


def test_only_three_posts_count() -> None:
    posts = [chunk(f"p{n}", 0.9 - n / 100) for n in range(6)]
    (six,), (three,) = (rank_accounts(Candidates(held, []), limit=1, evidence=6) for held in (posts, posts[:3]))
    assert six.score == three.score
    assert [found.weight for found in six.evidence] == [1.0, 0.1, 0.01, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"account_id": ["ann"], "post_id": "p"},
        {"account_id": "ann", "post_id": None},
        {"account_id": 5, "post_id": "p"},
    ],
)
def test_a_point_of_no_account_and_post_changes_nothing(payload: dict[str, Any]) -> None:
    """Somebody else may write to the collection, and is found until a run or a reconcile removes it."""
    ours, theirs = [chunk("p1", 0.9), chunk("p2", 0.4, "bob")], Chunk("0", 0.95, payload)
    expected = rank_accounts(Candidates(ours, ours), limit=5)
    assert rank_accounts(Candidates([theirs, *ours], [*ours, theirs]), limit=5) == expected
    assert rank_posts(Candidates([theirs, *ours], [theirs])) == ["p1", "p2"]


def test_a_text_that_is_none_is_not_shown() -> None:
    odd = Chunk("1", 0.9, {"account_id": "ann", "post_id": "p1", "text": 5, "handle": ["@ann"]})
    (account,) = rank_accounts(Candidates([odd], []), limit=1)
    assert (account.handle, account.evidence[0].text) == (None, "")


@pytest.mark.parametrize("limit", [0, 1, 10])
def test_nothing_found_ranks_nothing(limit: int) -> None:
    assert rank_accounts(Candidates([], []), limit=limit) == []


def test_the_index_s_candidates_can_be_ranked() -> None:
    found: Sequence[Candidate] = [values.Candidate("1", 0.5, {"account_id": "ann", "post_id": "p1"})]
    (account,) = rank_accounts(Candidates(found, found), limit=1)
    assert (account.evidence[0].text, account.evidence[0].chunk_no) == ("", None)
