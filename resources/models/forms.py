"""Other ways to write a query's words, which the stems of the analyzer do not join. Only those that a corpus has count.

A compound is written as one word in hashtags. Hebrew and Arabic write "and", "the", "in" and "to" onto the next word,
and the plural of many Arabic words changes their vowels: those of the common patterns are made. Chinese has simplified
and traditional characters, and Japanese writes a word in either kana.
"""

import re
from collections.abc import Iterator, Sequence

from resources.models.han import in_other_kana, written_otherwise

MOST_JOINED = 4
"""Words of the longest compound, such as rock'n'roll."""
_LEAST_REST = 3
"""Letters that are left of a word without its prefix: בית is no "in" before ית."""
_LETTERS = re.compile(r"[^\W\d_]+")
_HEBREW, _ARABIC = re.compile("[\u05d0-\u05ea]{2,}"), re.compile("[\u0620-\u064a]{3,}")
_HEBREW_PREFIXES = ("ה", "ו", "ב", "ל", "מ", "כ", "ש", "וה", "וב", "ול", "ומ", "וכ", "וש", "שה", "שב", "מה", "כש")
_ARABIC_PREFIXES = ("ال", "و", "وال", "بال", "فال", "كال", "لل", "ب", "ل", "ف", "ك")
_LONGEST = 20
"""Letters of the longest word whose forms are made."""


def joined(words: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield compounds of neighbouring words, with these words: vegan recipes is also written veganrecipes.

    Single letters alone are initials, such as M/V, and no compound.
    """
    for size in range(2, MOST_JOINED + 1):
        for start in range(len(words) - size + 1):
            parts = words[start : start + size]
            if all(map(_LETTERS.fullmatch, parts)) and max(map(len, parts)) > 1:
                yield "".join(parts), parts


def other_forms(word: str) -> list[str]:
    """Return other forms of a folded word: Hebrew and Arabic ones with and without prefixes, and as plural or singular,
    and Chinese and Japanese ones in other characters.
    """
    if len(word) > _LONGEST:
        return []
    if _HEBREW.fullmatch(word):
        return _prefixed([word], _HEBREW_PREFIXES)
    if _ARABIC.fullmatch(word):
        return _prefixed([word, *_numbers(word)], _ARABIC_PREFIXES)
    return [*written_otherwise(word), *in_other_kana(word)]


def _prefixed(words: Sequence[str], prefixes: Sequence[str]) -> list[str]:
    [word, *others] = words
    rests = [word[len(prefix) :] for prefix in prefixes if word.startswith(prefix)]
    whole = [*words, *(rest for rest in rests if len(rest) >= _LEAST_REST)]
    return [*whole[1:], *(prefix + form for form in (word, *others) for prefix in prefixes)]


def _numbers(word: str) -> list[str]:
    """Return the plurals and singulars of an Arabic word by its pattern; the digits are the letters of its root."""
    matches = [(match, forms) for shape, forms in _PATTERNS if (match := shape.fullmatch(word))]
    found = dict.fromkeys(_filled(form, match) for match, forms in matches for form in forms)
    return [form for form in found if form != word]


def _filled(pattern: str, letters: re.Match[str]) -> str:
    return "".join(letters[int(mark)] if mark.isdigit() else mark for mark in pattern)


_CONSONANT = "([^اة])"
_SINGULARS = ("123", "123ة", "1ا23", "12ا3", "12ي3")
_PATTERNS = tuple(
    (re.compile(re.sub("[123]", _CONSONANT, shape)), forms)
    for shape, forms in (
        ("123[ةه]?", ("ا12ا3", "12و3", "12ا3", "123")),  # ولد أولاد, بيت بيوت, رجل رجال, صورة صور
        ("ا12ا3", _SINGULARS),
        ("12و3", _SINGULARS),
        ("12ا3", ("123", "123ة")),  # رجال رجل, كتاب كتب
        ("م123[ةه]?", ("م1ا23",)),  # مدرسة مدارس
        ("م1ا23", ("م123ة", "م123")),
        ("(..+)[ةه]", ("1ات",)),  # سيارة سيارات
        ("(..+)ات", ("1ة",)),
    )
)
