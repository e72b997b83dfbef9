"""Sentences: cut where people would, and nothing lost but space."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.text.sentences import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It costs 3.50 at cippus.test today.", ["It costs 3.50 at cippus.test today."]),
        ("He said “stop.” Then he left…  So did I", ["He said “stop.”", "Then he left…", "So did I"]),
        ("first line\nsecond line\r\n\r\nthird", ["first line", "second line", "third"]),
        ("今日はいい。明日もね！終わり", ["今日はいい。", "明日もね！", "終わり"]),
        ("彼は「いい。」と言った", ["彼は「いい。」と言った"]),
        ("...", ["..."]),
        (" \n ", []),
        ("", []),
    ],
)
def test_a_text_is_cut_at_the_ends_of_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(st.text(alphabet='ab.!?。 \n"””', max_size=40))
def test_nothing_but_space_is_lost(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())
