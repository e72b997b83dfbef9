"""The weight of the encoder's list: by the script of the query, and less the surer the words are."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.search.bm25 import DOCUMENT_WEIGHT_BELOW
from assets.transforms.search.names import NameMatch
from assets.transforms.search.ranking import Candidates, rank_accounts, rank_posts
from assets.transforms.search.trust import TRUST, Trust, fit, script_of, sureness, trust_of


@pytest.mark.parametrize(
    ("text", "script"),
    [("vegan recipes", "LATIN"), ("новости сегодня", "CYRILLIC"), ("обзор iPhone", "LATIN"),
     ("обзор смартфона LG", "CYRILLIC"), ("東京", "CJK"),
     ("ラーメン", "KATAKANA"), ("ผัดไทย", "THAI"), ("مرحبا", "ARABIC"), ("2024 🍕 !", ""), ("", "")],
)  # fmt: skip
def test_the_script_of_a_query_is_that_of_most_letters(text: str, script: str) -> None:
    assert script_of(text) == script


def test_an_encoder_is_trusted_in_what_it_reads() -> None:
    english = trust_of("all-MiniLM-L6-v2@1110a243/legible-1")
    assert english is TRUST["all-MiniLM-L6-v2"]
    assert english.of("vegan recipes") == 1.0
    assert english.of("веганские рецепты") < 0.5
    assert trust_of("text-embedding-3-small") == Trust()
    assert Trust().of("веганские рецепты") == Trust().of("vegan recipes") == 1.0


@given(st.lists(st.floats(0, DOCUMENT_WEIGHT_BELOW * 7.5), max_size=30), st.sampled_from([0.0, 7.5]))
def test_words_are_as_sure_as_the_best_results_have_of_them(scores: list[float], weights: float) -> None:
    sure = sureness(scores, weights)
    assert 0 <= sure <= 1
    assert sureness(reversed(scores), weights) == sure
    assert sureness([*scores, DOCUMENT_WEIGHT_BELOW * 7.5], weights) >= sure
    if not weights or not scores:
        assert sure == 0


def test_ten_posts_with_all_words_are_sure() -> None:
    assert sureness([DOCUMENT_WEIGHT_BELOW * 5.0] * 10, 5.0) == 1.0
    assert sureness([DOCUMENT_WEIGHT_BELOW * 5.0] * 5, 5.0) == pytest.approx(0.5)


@dataclass(frozen=True)
class Chunk:
    id: str
    score: float
    payload: dict[str, Any]


def test_a_list_that_is_trusted_less_moves_its_posts_down() -> None:
    meant, said = (Chunk(name, 0.5, {"account_id": name, "post_id": name}) for name in ("meant", "said"))
    order = {weight: rank_posts(Candidates([meant], [said], dense_weight=weight)) for weight in (0.5, 2.0)}
    assert order == {0.5: ["said", "meant"], 2.0: ["meant", "said"]}


def test_a_list_that_is_trusted_more_leaves_names_their_places() -> None:
    meant = [Chunk(name, 0.9 - number / 10, {"account_id": name, "post_id": name}) for number, name in enumerate("abc")]
    near = ("named", NameMatch("handle", 0.9))
    for weight in (0.5, 1.0, 3.0):
        ranked = rank_accounts(Candidates(meant, [], dense_weight=weight), 10, names=[near])
        assert [account.account_id for account in ranked].index("named") == (0 if weight < 1 else 1)


def test_an_encoder_of_all_languages_is_trusted_more_than_words() -> None:
    multilingual = trust_of("multilingual-e5-small@1571fc98/centred-1")
    assert multilingual.of("vegan recipes") == multilingual.of("веганские рецепты") > 1.0
    assert trust_of("multilingual-e5-small").of("vegan recipes") == 1.0


def test_a_fit_counts_a_cosine_as_far_as_it_is_trusted() -> None:
    assert fit([0.25, 0.5], 1.0, 0.125) == 0.75
    assert fit([0.25, 0.5], 0.5, 0.125) == fit([0.25], 7.0, 0.125) == 0.5
    assert fit([], 1.0, 0.0) == 0.0
