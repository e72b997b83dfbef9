"""Codes of languages and countries, and the nearest known to a mistyped one."""

import pytest
from babel import Locale
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.transforms.search.codes import (
    country_code,
    language_code,
    languages_of,
    nearest,
    nearest_countries,
    nearest_languages,
)


@pytest.mark.parametrize("text", ["", "  ", "klingonish", "x", "1", "🍕", "und", "zxx", "qqq"])
def test_what_names_no_language(text: str) -> None:
    assert language_code(text) is None


@pytest.mark.parametrize("text", ["", " ", "Wakanda", "EU", "ZZ", "419", "SU", "🍕"])
def test_what_names_no_country(text: str) -> None:
    assert country_code(text) is None


@pytest.mark.parametrize(
    ("code", "members"),
    [("zh", {"zh", "yue", "wuu", "nan"}), ("no", {"no", "nb", "nn"}), ("ar", {"ar", "arz", "apc"}), ("en", {"en"}),
     ("yue", {"yue"}), ("xx", {"xx"}), ("sh", {"sh"})],
)  # fmt: skip
def test_a_language_has_those_that_belong_to_it(code: str, members: set[str]) -> None:
    assert members <= languages_of(code)


def test_malay_is_not_indonesian() -> None:
    assert "id" not in languages_of("ms")
    assert languages_of("id") == {"id"}


@pytest.mark.parametrize(
    ("mistyped", "meant"), [("englsh", "en (English)"), ("Spanich", "es (Spanish)"), ("japanes", "ja (Japanese)")]
)
def test_the_nearest_languages(mistyped: str, meant: str) -> None:
    assert meant in nearest_languages(mistyped)


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [("Germny", "DE (Germany)"), ("Untied States", "US (United States)"), ("Brzil", "BR (Brazil)")],
)
def test_the_nearest_countries(mistyped: str, meant: str) -> None:
    assert meant in nearest_countries(mistyped)


def test_the_nearest_of_some() -> None:
    assert nearest("utube", ["x", "youtube", "instagram"])[0] == "youtube"
    assert nearest("utube", []) == []


@pytest.mark.parametrize("code", ["de", "ja", "pt", "ru", "ar", "hi", "zh"])
def test_names_in_their_own_language_are_known(code: str) -> None:
    locale = Locale(code)
    assert language_code(locale.languages[code]) == code


@given(st.text(max_size=12))
@settings(max_examples=50, deadline=None)
def test_any_text_is_read(text: str) -> None:
    for code in (language_code(text), country_code(text)):
        assert code is None or code.isalpha()
