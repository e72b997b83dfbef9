"""Sentences: cut where people would, and nothing lost but space."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sentencex import segment

from assets.transforms.text import sentences as module
from assets.transforms.text.sentences import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It costs 3.50 at cippus.test today.", ["It costs 3.50 at cippus.test today."]),
        ("He said “stop.” Then he left…  So did I", ["He said “stop.”", "Then he left…", "So did I"]),
        ("first line\nsecond line\r\n\r\nthird", ["first line", "second line", "third"]),
        ("今日はいい。明日もね！終わり", ["今日はいい。", "明日もね！", "終わり"]),
        ("Dr. Smith lives in the U.S. now. Really", ["Dr. Smith lives in the U.S. now.", "Really"]),
        ("Jane - Dance ft. Axl  Doe. List Show Ep. 304", ["Jane - Dance ft. Axl  Doe.", "List Show Ep. 304"]),
        ("Jane - Dance ft.", ["Jane - Dance ft."]),
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


@pytest.mark.parametrize("repeated", ["'", "“a ", "One. ", "x"])
def test_a_longer_line_takes_work_in_proportion(monkeypatch: pytest.MonkeyPatch, repeated: str) -> None:
    """The library's time is quadratic in the quotes of a line, so it may get no long one."""

    def work(size: int) -> int:
        given_out = list[int]()

        def counted(language: str, line: str) -> list[str]:
            given_out.append(len(line))
            return list(segment(language, line))

        monkeypatch.setattr(module, "segment", counted)
        text = repeated * (size // len(repeated))
        assert "".join("".join(sentences(text)).split()) == "".join(text.split())
        return sum(length**2 for length in given_out)

    assert work(80_000) <= 5 * work(20_000)
