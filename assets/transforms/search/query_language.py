"""The language of queries: words, "phrases", -exclusions and @names."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from assets.transforms.text.marks import limit_marks

_PHRASE = re.compile(r'(?:(?<!\S)(-))?(?:"([^"]*)"|“([^“”]*)”|„([^„“”]*)[“”]|«([^«»]*)»|「([^「」]*)」|『([^『』]*)』)')
_EXCLUDED = re.compile(r"(?<!\S)-(?=[^\s-])(\S+)")
_QUOTATION_MARKS = re.compile('["“”„«»「」『』]')
_ACCENTS = re.compile("[\u0300-\u036f]")
# Written without spaces, so that a phrase may begin and end within a run of letters.
UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff]")

Terms = Callable[[str], frozenset[int]]
"""Text → the ids of its BM25 terms."""


@dataclass(frozen=True)
class Query:
    """A parsed query.

    ``words`` are looked for, in any order; each of ``phrases`` must stand in a post; no post may have one of the
    ``excluded_words`` or ``excluded_phrases``. With ``name`` only creators' names are searched.
    """

    words: str = ""
    phrases: tuple[str, ...] = ()
    excluded_words: tuple[str, ...] = ()
    excluded_phrases: tuple[str, ...] = ()
    name: str | None = None

    @property
    def text(self) -> str:
        """What is looked for, without operators."""
        return " ".join([*([self.words] if self.words else []), *self.phrases])

    @property
    def is_plain(self) -> bool:
        """Whether every post may be found."""
        return not (self.phrases or self.excluded_words or self.excluded_phrases)


def parse(text: str) -> Query:
    """Read a query. Nothing is an error: a quotation mark without its partner, and a dash alone, are left out."""
    if (name := text.strip()).startswith("@"):
        return Query(name=name.lstrip("@").strip())
    phrases: list[str] = []
    excluded_phrases: list[str] = []

    def take_phrase(found: re.Match[str]) -> str:
        phrase = next((group for group in found.groups()[1:] if group is not None), "").strip()
        if folded(phrase):
            (excluded_phrases if found[1] else phrases).append(phrase)
        return " "

    rest = _PHRASE.sub(take_phrase, text)
    excluded = [_QUOTATION_MARKS.sub("", word) for word in _EXCLUDED.findall(rest)]
    rest = _QUOTATION_MARKS.sub(" ", _EXCLUDED.sub(" ", rest))
    words = " ".join(word for word in rest.split() if word.strip("-"))
    return Query(words, tuple(phrases), tuple(word for word in excluded if folded(word)), tuple(excluded_phrases))


def acceptance(query: Query, terms_of: Terms) -> Callable[[str], bool]:
    """Return a function that decides whether a query allows a text.

    A phrase is compared by ``folded`` words. An excluded word is compared by terms, as it is found: "-recipe" leaves
    out "recipes".
    """
    excluded = [terms for word in query.excluded_words if (terms := terms_of(word))]
    without_terms = [word for word in query.excluded_words if not terms_of(word)]
    phrases = [folded(phrase) for phrase in query.phrases]
    unwanted = [folded(phrase) for phrase in (*query.excluded_phrases, *without_terms)]

    def allows(text: str) -> bool:
        plain = folded(text)
        if not all(_has(plain, phrase) for phrase in phrases) or any(_has(plain, phrase) for phrase in unwanted):
            return False
        found = terms_of(text) if excluded else frozenset()
        return not any(terms <= found for terms in excluded)

    return allows


class _Words(dict[int, str]):
    """A table of characters for `str.translate`, filled as they occur: a space for what is of no word."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        is_of_word = character.isalnum() or unicodedata.category(character)[0] in "MS"
        self[code] = character if is_of_word else " "
        return self[code]


_WORDS = _Words()


def folded(text: str) -> str:
    """Return a text as single-spaced words, without case, accents and punctuation. Emoji stay: they can be excluded."""
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", limit_marks(text.casefold())))
    plain = unicodedata.normalize("NFKC", plain)
    return " ".join(plain.translate(_WORDS).split())


def _has(plain: str, phrase: str) -> bool:
    """Return whether a folded text has a folded phrase, as whole words where the script has spaces."""
    before = "" if UNSPACED.match(phrase[0]) or not phrase[0].isalnum() else r"(?<![^\W_])"
    after = "" if UNSPACED.match(phrase[-1]) or not phrase[-1].isalnum() else r"(?![^\W_])"
    return re.search(before + re.escape(phrase) + after, plain) is not None


def accepted_by(allows: Callable[[str], bool]) -> Callable[[Any], bool]:
    """Return a function that decides about candidates by their texts, each text once."""
    known: dict[str, bool] = {}

    def accepts(candidate: Any) -> bool:
        text = candidate.payload.get("text")
        shown = text if isinstance(text, str) else ""
        if shown not in known:
            known[shown] = allows(shown)
        return known[shown]

    return accepts
