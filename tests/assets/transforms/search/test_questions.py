"""The topic of a question, and what fits it."""

import pytest

from assets.transforms.search.questions import ALIKE, COVERED, NEAR, fits, topic


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Which creators talk about sustainable fashion, and what do they say?", "sustainable fashion"),
        ("Who has an opinion on electric cars?", "electric cars"),
        ("vegan recipes", "vegan recipes"),
        ("What is it?", "What is it?"),
        ("¿Quién habla de moda?", "Quién habla de moda"),
        ("サステナブル?", "サステナブル"),
        ("  ", ""),
    ],
)
def test_a_topic_is_what_a_question_does_not_ask_with(question: str, expected: str) -> None:
    assert topic(question) == expected


@pytest.mark.parametrize(
    ("cosine", "covered", "expected"),
    [(NEAR, 0.0, True), (NEAR - 0.01, 0.0, False), (ALIKE, COVERED, True), (ALIKE - 0.01, 1.0, False),
     (NEAR - 0.01, COVERED - 0.01, False)],
)  # fmt: skip
def test_a_text_fits_by_meaning_or_by_words_of_a_similar_meaning(cosine: float, covered: float, expected: bool) -> None:
    assert fits(cosine, covered) is expected
