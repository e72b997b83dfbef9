"""The topic of a question, and what fits it."""

import pytest

from assets.transforms.search.questions import topic


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
