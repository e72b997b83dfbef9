"""The cascade of a local method and a language model: when it asks, and what an answer is worth."""

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from assets.transforms.verticals.taggers.cascade import answer_matrix, fit, held_out, is_uncertain, merged
from assets.transforms.verticals.taggers.methods import packed

NAN = float("nan")


def test_a_post_is_uncertain_if_one_vertical_is() -> None:
    found = is_uncertain(np.array([[0.0, 0.25], [0.24, 0.76], [0.5, NAN], [NAN, NAN], [1.0, 0.75]]))
    assert found.tolist() == [True, False, True, False, True]


def test_the_last_method_that_does_not_abstain_is_asked() -> None:
    assert merged(
        {"contrastive": np.array([[0.5, 0.5]]), "probe": np.array([[0.9, NAN]]), "zero_shot": np.array([[0.1, 0.2]])}
    ).tolist() == [[0.9, 0.2]]


def test_an_answer_counts_for_the_text_that_it_was_given_for() -> None:
    posts = pl.DataFrame({"post_id": ["p", "q", "r"], "text_hash": ["1", "2", "3"]})
    answers = pl.DataFrame(
        {"post_id": ["q", "p", "r"], "text_hash": ["2", "old", "3"], "verticals": [["b", "gone"], ["a"], []]}
    )
    found = answer_matrix(posts, answers, ["a", "b"])
    assert np.array_equal(found, np.array([[NAN, NAN], [-1.0, 1.0], [-1.0, -1.0]]), equal_nan=True)
    assert np.isnan(answer_matrix(posts, answers.clear(), ["a", "b"])).all()


def test_before_any_label_an_answer_is_right_three_times_of_four() -> None:
    none, languages = np.full((1, 2), NAN), np.array([""])
    tagger = fit(none, none, languages)
    found = tagger.probabilities(np.array([[0.5, 0.4]]), np.array([[1.0, -1.0]]), languages)
    assert found.tolist() == [[pytest.approx(expit(1.0)), pytest.approx(expit(-1.0))]]
    assert tagger.probabilities(np.array([[0.5, 0.4]]), none, languages).tolist() == [[0.5, 0.4]]


def test_labels_say_what_an_answer_is_worth_and_no_account_judges_itself() -> None:
    posts = 200
    chance = np.random.default_rng(1)
    labels = (np.arange(posts) % 2 == 0).astype(np.float64)[:, None]
    is_right = chance.random((posts, 1)) < 0.9
    answers = np.where(is_right, 2 * labels - 1, 1 - 2 * labels)
    languages, accounts = np.full(posts, "en"), np.array([f"a{n % 40}" for n in range(posts)])
    found = held_out(np.full((posts, 1), 0.5), answers, labels, languages, accounts)
    assert found[answers == 1].mean() == pytest.approx(0.9, abs=0.06)
    assert found[answers == -1].mean() == pytest.approx(0.1, abs=0.06)
    unasked = np.where(accounts[:, None] == "a0", NAN, answers)
    again = held_out(np.full((posts, 1), 0.5), unasked, labels, languages, accounts)
    assert (again[accounts == "a0"] == 0.5).all()
    wrong = np.where(accounts[:, None] == "a0", 1 - labels, labels)
    of_itself = held_out(np.full((posts, 1), 0.5), answers, wrong, languages, accounts)
    assert np.array_equal(of_itself[accounts == "a0"], found[accounts == "a0"])
    assert packed(fit(answers, labels, languages)) != packed(fit(answers, 1 - labels, languages))
