"""The parts of a post that may be quoted."""

import pytest

from assets.transforms.search.parts import Form, Part, parts


def forms(*lines: str) -> list[tuple[str, Form]]:
    return [(part.text, part.form) for part in parts(lines)]


def test_title_sentences_and_calls_are_told_apart_and_tags_are_left_out() -> None:
    assert forms("My review", "The lens is sharp. Follow me on Instagram.", "lens, camera, review, sharp, photo") == [
        ("My review", Form.TITLE), ("The lens is sharp.", Form.PROSE), ("Follow me on Instagram.", Form.ITEM),
    ]  # fmt: skip
    assert parts([]) == []


@pytest.mark.parametrize("tags", ["#VeganFood #cooking", "#vegan", "#a#b, ＃料理 #c!", "#one · #two"])
def test_hashtags_alone_say_nothing(tags: str) -> None:
    assert forms(f"I cook vegan food. {tags}") == [("I cook vegan food.", Form.PROSE)]
    assert forms("My kitchen", "I cook vegan food.", tags)[-1] == ("I cook vegan food.", Form.PROSE)
    assert forms(tags) == []


def test_the_only_line_of_a_post_is_no_title() -> None:
    assert forms("The lens is sharp. I keep it.") == [("The lens is sharp.", Form.PROSE), ("I keep it.", Form.PROSE)]


def test_a_sentence_knows_the_one_that_follows() -> None:
    first, second = parts(["The lens is sharp. I keep mine."])
    assert (first.with_next, second.with_next) == ("The lens is sharp. I keep mine.", "I keep mine.")
    assert Part("a" * 300, then="b" * 300).with_next == "a" * 300


@pytest.mark.parametrize("word", ["It", "Elle", "Они", "Sadly, that lens"])
def test_a_sentence_that_refers_back_comes_with_the_one_before(word: str) -> None:
    assert parts([f"The lens is sharp. {word} is heavy."])[1].text == f"The lens is sharp. {word} is heavy."


def test_short_lines_are_a_list_under_their_heading() -> None:
    lines = ("My kit", "Hello to all of you.", "Cameras used:", "- Leica M6", "- Nikon F3", "Lenses:", "- Summicron")
    assert forms(*lines) == [
        ("My kit", Form.TITLE), ("Hello to all of you.", Form.PROSE),
        ("Cameras used: Leica M6 · Nikon F3", Form.LIST), ("Summicron", Form.ITEM),
    ]  # fmt: skip
    assert forms("5 gadgets", "Egg cutter -", "Salt mill -") == [("5 gadgets: Egg cutter · Salt mill", Form.LIST)]


def test_lines_that_begin_with_a_number_have_the_other_lines_as_headings() -> None:
    lines = ("Cake", "For the base", "60 g butter", "300 g flour", "For the glaze", "200 g sugar", "60 g water")
    assert forms(*lines) == [
        ("Cake", Form.TITLE),
        ("For the base: 60 g butter · 300 g flour", Form.LIST),
        ("For the glaze: 200 g sugar · 60 g water", Form.LIST),
    ]


def test_keywords_and_links_in_lines_are_no_list() -> None:
    assert all(form is Form.ITEM for _, form in forms("T", "One sentence here.", *["red car race"] * 5)[2:])
    assert Form.LIST not in [form for _, form in forms("T", "One here.", "Follow me on Instagram:", "my cat", "my dog")]
