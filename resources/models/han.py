"""Simplified and traditional forms of Chinese words, by OpenCC's dictionary, and kana of the other kind."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product

_HAN = frozenset((*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000)))
_HIRAGANA, _KATAKANA = range(0x3041, 0x3097), range(0x30A1, 0x30F7)
LONGEST = 2
"""Characters of the longest word that is written otherwise: BM25 has single characters and pairs of them."""


def written_otherwise(word: str) -> list[str]:
    """Return the same word in the other characters of Chinese: 台湾 is also 台灣 and 臺灣. Empty for other words.

    A simplified character may stand for several traditional ones (发 for 發 and 髮), and each of them is tried.
    """
    if len(word) > LONGEST or not any(ord(letter) in _HAN for letter in word):
        return []
    known = _variants()
    return [
        form
        for letters in product(*(known.get(letter, letter) for letter in word))
        if (form := "".join(letters)) != word
    ]


def in_other_kana(word: str) -> list[str]:
    """Return a word in hiragana for katakana, and in katakana for hiragana."""
    if len(word) > LONGEST:
        return []
    return [form for table in _kana() if (form := word.translate(table)) != word]


@cache
def _variants() -> Mapping[str, Sequence[str]]:
    """Return Chinese character → all that have the same simplified form, itself among them, where there are several."""
    import opencc  # it takes 50 ms, which only queries with Han characters pay

    characters = [chr(code) for code in sorted(_HAN)]
    # One by one: within a word, OpenCC chooses by context.
    simplified = opencc.OpenCC("t2s").convert("\n".join(characters)).split("\n")
    together: defaultdict[str, list[str]] = defaultdict(list)
    for character, simple in zip(characters, simplified, strict=True):
        together[simple].append(character)
    return {character: alike for alike in together.values() if len(alike) > 1 for character in alike}


@cache
def _kana() -> Sequence[dict[int, int]]:
    pairs = list(zip(_HIRAGANA, _KATAKANA, strict=True))
    return dict(pairs), {katakana: hiragana for hiragana, katakana in pairs}
