"""LexRank on hand-made sentences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.summaries.ranking import MOST_SENTENCES, choose, lexrank, similarities

TERMS = [["a", "b", "c"], ["a", "b", "d"], ["a", "b", "e"], ["x", "y"], []]


def test_a_sentence_that_others_repeat_ranks_before_one_that_stands_alone() -> None:
    rank = lexrank(similarities(TERMS), np.ones(5))
    assert rank.sum() == pytest.approx(1)
    assert rank[:3].min() > rank[3] >= rank[4]


def test_a_sentence_of_a_central_post_ranks_higher() -> None:
    alike = similarities([["a"], ["b"]])
    even, first = lexrank(alike, np.ones(2)), lexrank(alike, np.array([3.0, 1.0]))
    assert even[0] == pytest.approx(even[1])
    assert first[0] > first[1]


def test_equal_sentences_are_chosen_once_and_posts_in_turn() -> None:
    terms = [["a", "b", "c"], ["a", "b", "c"], ["a", "d", "e"], ["f", "g", "a"]]
    alike = similarities(terms)
    rank = np.array([0.4, 0.3, 0.2, 0.1])
    assert choose(rank, alike, [5] * 4, [0, 1, 0, 1], 100) == [0, 3, 2]


def test_the_budget_holds_but_for_the_first_sentence() -> None:
    alike, rank = np.eye(4), np.array([0.4, 0.3, 0.2, 0.1])
    assert choose(rank, alike, [50, 10, 60, 20], [0, 1, 2, 3], 90) == [0, 1, 3]
    assert choose(rank, alike, [500, 10, 60, 20], [0, 1, 2, 3], 90) == [0]


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6), min_size=1, max_size=12), st.integers(0, 100))
def test_any_sentences_are_ranked_and_few_chosen(terms: list[list[str]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    alike = similarities(terms)
    rank = lexrank(alike, rng.random(len(terms)) + 0.01)
    assert rank.sum() == pytest.approx(1)
    assert (rank >= 0).all()
    chosen = choose(rank, alike, [len(of) for of in terms], rng.integers(0, 3, len(terms)).tolist(), 20)
    assert 1 <= len(set(chosen)) == len(chosen) <= MOST_SENTENCES
    assert (np.triu(alike[np.ix_(chosen, chosen)], 1) < 0.5).all()
