"""Creators are found by handle, display name and bio."""

import polars as pl
import pytest

from assets.transforms.search.names import NameMatch, folded_names, match_names
from assets.transforms.search.query_language import folded

ACCOUNTS = [
    ("a1", "nasa", "NASA", "Exploring the universe"),
    ("a2", "NASA", "Somebody Else", None),
    ("a3", "nasa_fan", "Fan of NASA", "Not affiliated"),
    ("a4", "De jolies choses", "De jolies choses", "Décoration et brocante"),
    ("a5", "MrBeast", "MrBeast", None),
    ("a6", "MrBeast6000", "Mr Beast Old", None),
    ("a7", "vegan.chef", "Ана", "Vegan recipes from Berlin"),
    ("a8", "@cooks", "Petra Köchin", "Meat and fish"),
    ("a9", "Доктор Дью", "Doctor Dew", "Видео о здоровье"),
    ("b1", "東京カフェ", "Tokyo Cafe", "カフェ巡り"),
    ("b2", "♥♥♥", "Hearts", None),
    ("b3", None, "No Handle", None),
    ("b4", "a.b_c", "x", None),
    ("b5", "nasaa", None, None),
    ("b6", None, None, None),
    ("b7", "the longest name of all " * 4, None, None),
]  # fmt: skip
FRAME = folded_names(pl.DataFrame(ACCOUNTS, schema=["account_id", "handle", "display_name", "bio"], orient="row"))


def words(text: str) -> frozenset[int]:
    return frozenset(hash(word) for word in folded(text).split())


def found(text: str) -> list[tuple[str, NameMatch]]:
    return match_names(text, FRAME, dict.fromkeys(words(text), 1.0), words)


@pytest.mark.parametrize(
    ("text", "account"),
    [("nasa", "a1"), ("NASA", "a2"), ("De jolies choses", "a4"), ("de jolies choses", "a4"), ("dejolieschoses", "a4"),
     ("mrbeast", "a5"), ("MRBEAST6000", "a6"), ("vegan.chef", "a7"), ("veganchef", "a7"), ("cooks", "a8"),
     ("доктор дью", "a9"), ("東京カフェ", "b1"), ("♥♥♥", "b2"), ("abc", "b4"), ("a.b_c", "b4"),
     ("the longest name of all " * 4, "b7")],
)  # fmt: skip
def test_an_exact_handle_is_first(text: str, account: str) -> None:
    first, match = found(text)[0]
    assert (first, match) == (account, NameMatch("handle", 1.0, is_exact=True))


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("Petra Köchin", "a8"),
        ("petra kochin", "a8"),
        ("tokyo cafe", "b1"),
        ("no handle", "b3"),
        ("Somebody Else", "a2"),
    ],
)
def test_a_display_name_is_exact_too(text: str, account: str) -> None:
    assert found(text)[0] == (account, NameMatch("display name", 1.0, is_exact=True))


def test_a_handle_comes_before_a_display_name_and_near_misses_after() -> None:
    ids = [account for account, _ in found("NASA")]
    assert ids[:2] == ["a2", "a1"]
    assert set(ids[2:4]) == {"a3", "b5"}


@pytest.mark.parametrize(
    ("text", "account"), [("mrbeasst", "a5"), ("vegan chief", "a7"), ("Доктор Дю", "a9"), ("de jolie chose", "a4")]
)
def test_near_misses_are_found(text: str, account: str) -> None:
    first, match = found(text)[0]
    assert (first, match.is_exact) == (account, False)
    assert 0.75 <= match.similarity < 1


@pytest.mark.parametrize(
    ("text", "account"),
    [("recipes berlin", "a7"), ("brocante decoration", "a4"), ("exploring universe", "a1"), ("fish", "a8")],
)
def test_words_of_bios_are_found(text: str, account: str) -> None:
    assert (account, NameMatch("words", 1.0)) in found(text)


@pytest.mark.parametrize("text", ["", "🍕", "something else entirely", "z" * 200, "."])
def test_what_is_nobody_s_name(text: str) -> None:
    assert not any(match.is_exact for _, match in found(text))


def test_without_accounts_nothing_is_found() -> None:
    assert match_names("nasa", FRAME.clear(), {}, words) == []


def test_an_exact_handle_needs_no_letters_and_no_terms() -> None:
    hearts = "♥" * 70  # too long to be compared letter by letter
    frame = folded_names(pl.DataFrame({"account_id": ["a"], "handle": [hearts], "display_name": [None], "bio": [None]},
                                      schema_overrides={"display_name": pl.String, "bio": pl.String}))  # fmt: skip
    assert match_names(hearts, frame, {}, lambda _: frozenset()) == [("a", NameMatch("handle", 1.0, is_exact=True))]
