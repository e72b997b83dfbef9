"""Codes of languages and countries, from codes, names and aliases that people write: CLDR (Babel) and ISO 639-3."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from babel import Locale
from babel.core import get_global
from rapidfuzz import process

from assets.transforms.text.marks import limit_marks

if TYPE_CHECKING:
    from iso639 import Lang

NO_LANGUAGE = {"und", "zxx", "mul", "mis", "root"}
"""Codes that say that the language is unknown, several, or none."""
_NAMED_IN = (
    "en",
    "es",
    "pt",
    "fr",
    "de",
    "it",
    "nl",
    "pl",
    "ru",
    "uk",
    "tr",
    "ar",
    "hi",
    "id",
    "vi",
    "th",
    "ja",
    "ko",
    "zh",
)
"""Names are read in these languages, English first. A name means the same code in all of them."""
_ENGLISH_ALIASES = {
    "america": "US", "united states of america": "US", "great britain": "GB", "england": "GB", "scotland": "GB",
    "wales": "GB", "northern ireland": "GB", "czech republic": "CZ", "holland": "NL", "turkey": "TR", "burma": "MM",
    "ivory coast": "CI", "uae": "AE", "republic of korea": "KR", "korea": "KR", "russian federation": "RU",
    "viet nam": "VN", "macedonia": "MK", "hong kong": "HK", "macau": "MO", "palestine": "PS",
}  # fmt: skip
"""English names of countries that CLDR does not list."""
_SPEAKS_FOR_ITSELF = {"id"}
"""ISO 639-3 has Indonesian under Malay; nobody who asks for Malay means it."""
_NEAREST = 3


@cache
def language_code(text: str) -> str | None:
    """Return the code of a language, without script and region: "zh" for "zh-TW", "en" for "English" and "eng".

    None for text that names no language, and for codes such as "und".
    """
    written = _folded(text)
    if not written:
        return None
    primary = re.split(r"[-_]", written)[0]
    code = primary if primary.isascii() and primary.isalpha() and 2 <= len(primary) <= 3 else ""
    if code and (known := _canonical_language(code)):
        return None if known in NO_LANGUAGE else known
    found = _by_name("languages", written) or _by_name("languages", re.sub(r"\s*\(.*\)$", "", written))
    return found.split("_")[0] if found else None


@cache
def country_code(text: str) -> str | None:
    """Return the two letters of a country: "GB" for "UK", "gbr" and "United Kingdom"; None for other text."""
    written = _folded(text)
    code = written.upper()
    if code in _countries():
        return code
    aliases = get_global("territory_aliases").get(code, [])
    if len(aliases) == 1:
        return str(aliases[0])
    return _ENGLISH_ALIASES.get(written) or _by_name("territories", written)


@cache
def languages_of(code: str) -> frozenset[str]:
    """Return a language and those that ISO 639-3 has under it: "zh" has Cantonese ("yue"), "no" has "nb" and "nn"."""
    language = _iso_639(code)
    members = [_canonical_language(found.pt1 or found.pt3) for found in language.individuals()] if language else []
    return frozenset({code, *(member for member in members if member)} - (_SPEAKS_FOR_ITSELF - {code}))


def name_of(kind: str, code: str) -> str:
    """Return the English name of a code of a ``country`` or ``language``; another text as it is."""
    english = Locale("en")
    if kind == "country":
        return str(english.territories.get(code, code))
    return str(english.languages.get(code, code)) if kind == "language" else code


def nearest_languages(text: str) -> list[str]:
    """Return the codes and English names of the languages whose names are nearest to a text."""
    named = {name: code for code, name in Locale("en").languages.items() if "_" not in code}
    return [f"{named[name]} ({name})" for name in nearest(text, named)]


def nearest_countries(text: str) -> list[str]:
    """Return the codes and English names of the countries whose names are nearest to a text."""
    named = {name: code for code, name in Locale("en").territories.items() if code in _countries()}
    return [f"{named[name]} ({name})" for name in nearest(text, named)]


def nearest(text: str, known: Iterable[str]) -> list[str]:
    """Return up to three known values, those spelled most like a text first."""
    found = process.extract(text, sorted(known), processor=_folded, limit=_NEAREST)
    return [value for value, _, _ in found]


@cache
def _canonical_language(code: str) -> str | None:
    """Return CLDR's code for one of two or three letters: "he" for "iw", "de" for "ger" and "deu"; None if unknown."""
    alias = get_global("language_aliases").get(code)
    if isinstance(alias, str):
        return alias.split("_")[0]
    if code in Locale("en").languages or code in NO_LANGUAGE:
        return code
    known = _iso_639(code)
    return (known.pt1 or known.pt3) if known else None


def _iso_639(code: str) -> "Lang | None":
    from iso639 import Lang  # its import takes 0.2 s, which only a search and rare codes pay
    from iso639.exceptions import DeprecatedLanguageValue, InvalidLanguageValue

    try:
        return Lang(code)
    except (InvalidLanguageValue, DeprecatedLanguageValue):
        return None


@cache
def _countries() -> frozenset[str]:
    """Return every code of two letters that CLDR names, but for those of no country."""
    letters = {code for code in map(str, Locale("en").territories) if len(code) == 2 and code.isalpha()}
    return frozenset(letters - {"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"})


def _by_name(kind: str, name: str) -> str | None:
    return next((code for locale in _NAMED_IN if (code := _names(kind, locale).get(name))), None)


@cache
def _names(kind: str, locale: str) -> dict[str, str]:
    named = getattr(Locale(locale), kind)
    wanted = _countries() if kind == "territories" else named
    return {_folded(name): code for code, name in named.items() if code in wanted}


def _folded(text: str) -> str:
    """Return a text as it is compared: without case, accents, full stops and spaces at its ends."""
    decomposed = unicodedata.normalize("NFKD", limit_marks(text.casefold()))
    return " ".join(re.sub("[\u0300-\u036f.]", "", decomposed).split())
