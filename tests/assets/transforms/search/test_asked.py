"""What questions ask for, and the names in them."""

import pytest

from assets.transforms.search.asked import Asked, asked, names


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who talks about tea, and what do they say?", Asked.ACCOUNTS),
        ("Which beauty creators say that they love tea?", Asked.ACCOUNTS),
        ("Quels créateurs parlent de thé ?", Asked.ACCOUNTS),
        ("Кто говорит о чае?", Asked.ACCOUNTS),
        ("vegan tea", Asked.ACCOUNTS),
        ("What do people say about tea?", Asked.WORDS),
        ("Why is tea good?", Asked.WORDS),
        ("Que pensent-ils du thé ?", Asked.WORDS),
        ("Is tea good?", Asked.WORDS),
        ("Which teas are good?", Asked.THING),
        ("Welche Tees sind gut?", Asked.THING),
        ("Где растёт чай?", Asked.THING),
    ],
)
def test_what_a_question_asks_for(question: str, kind: Asked) -> None:
    assert asked(question) is kind


def test_names_are_words_with_a_capital_or_a_digit_but_for_the_first_word() -> None:
    assert names("When did H&M's Holiday 2017 campaign start?") == ["H&M", "Holiday", "2017"]
    assert names("Does McDonald's sell it on the iPhone X?") == ["McDonald", "iPhone", "X"]
    assert names("What is the tea like?") == []
    assert names("Welche Kamera hat die beste Linse?") == []
