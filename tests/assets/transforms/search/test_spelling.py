"""A misspelt word is replaced by the word that was most likely meant."""

import polars as pl
import pytest

from assets.transforms.search import spelling
from assets.transforms.search.spelling import count_words, mended, parted, words_in

KNOWN = {
    "minecraft": 40,
    "recipes": 30,
    "recipe": 20,
    "vegan": 50,
    "vegas": 5,
    "кулинария": 3,
    "köchin": 2,
    "berlin": 9,
}


@pytest.mark.parametrize(
    ("word", "meant"),
    [("minecarft", "minecraft"), ("minecraf", "minecraft"), ("minnecraft", "minecraft"), ("mimecraff", "minecraft"),
     ("recipies", "recipes"), ("vegn", "vegan"), ("vega", "vegan"), ("vegat", "vegan"), ("кулинарья", "кулинария"),
     ("kochin", "köchin"), ("berln", "berlin"), ("bxrlxn", None), ("pizza", None), ("vxgxn", None)],
)  # fmt: skip
def test_a_word_is_mended(word: str, meant: str | None) -> None:
    assert mended(word, KNOWN) == meant


def test_nothing_is_mended_without_words() -> None:
    assert mended("vegan", {}) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [("minecarft tips", ["minecarft", "tips"]), ("a bc def", []), ("abc123 x2", []), ("東京カフェ巡り", []),
     ("tips, tips!", ["tips"]), ("wi-fi router", ["router"]), ("x" * 40, []), ("Ärger", ["Ärger"])],
)  # fmt: skip
def test_words_that_can_be_compared(text: str, words: list[str]) -> None:
    assert words_in(text) == words


def test_words_are_counted_once_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pl.Series(["Vegan vegan food", "VEGAN cafés", None, "ab", "मेला मेला"])
    counted = dict(count_words(texts).iter_rows())
    assert counted == {"vegan": 2, "food": 1, "cafés": 1, "मेला": 1}
    monkeypatch.setattr(spelling, "MOST_WORDS", 1)
    assert count_words(texts)["word"].to_list() == ["vegan"]


@pytest.mark.parametrize(
    ("word", "parts"),
    [("veganrecipes", "vegan recipes"), ("berlinvegan", "berlin vegan"), ("köchinkulinaria", None),
     ("minecraftrecipe", "minecraft recipe"), ("vegan", None), ("veganx", None), ("", None)],
)  # fmt: skip
def test_a_compound_is_parted(word: str, parts: str | None) -> None:
    assert parted(word, KNOWN) == parts


def test_of_two_ways_to_part_a_compound_the_commoner_is_taken() -> None:
    assert parted("mineralwater", {"mineral": 9, "water": 9, "mine": 50, "ralwater": 1}) == "mineral water"
