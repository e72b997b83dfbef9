"""Find posts of one account that repeat an earlier post in almost the same words."""

import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from assets.transforms.text.marks import limit_marks

# Jaccard similarity of the words and word pairs of two texts, the usual threshold of text corpora (Lee et al. 2022,
# arXiv 2107.06499). A text of 14 or more words with one word changed is a near-duplicate; so is any text with a
# changed emoji, capital or comma.
SIMILARITY = 0.8
TITLE_SIMILARITY = 0.6
"""Jaccard similarity of the words of two titles. Of 118 videos that repeat most of another's text, 34 share less than
half of their title's words with it: an account puts the same links and thanks below each video."""
MOST_KEPT_WITH = 200
"""A shingle leads to this many kept texts, the first. Without it, a vocabulary of ten words takes quadratic time."""
# Thai, Lao, Burmese, Khmer, kana and Han are written without spaces: there, each character counts as a word.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff])"
)
_ROUNDING = 1e-9
_NONE = np.empty(0, np.int32)


class Parts(NamedTuple):
    """A text to compare: its title, what it says of its own, and the whole."""

    title: str
    own: str
    whole: str


@dataclass(frozen=True)
class _Compared:
    """The words of a title, the shingles that are a text's own, None for all of them, and those of the whole."""

    title: frozenset[str]
    own: frozenset[str] | None
    whole: frozenset[str]

    @classmethod
    def of(cls, text: str | Parts) -> "_Compared":
        """Compute the sets of a text."""
        if isinstance(text, str):
            return cls(frozenset(), None, shingles(text))
        title = frozenset(_words(text.title))
        return cls(title, None if text.own == text.whole else _shingles(text.own), shingles(text.whole))

    def says_what(self, other: "_Compared", similarity: float) -> bool:
        """Return whether the titles are alike, and each text holds most of what the other says of its own."""
        titles = self.title, other.title
        if all(titles) and len(titles[0] & titles[1]) < TITLE_SIMILARITY * len(titles[0] | titles[1]):
            return False
        held = 2 * similarity / (1 + similarity)  # of a text of the same length, for this similarity
        return all(
            own is None or len(own & whole) >= held * len(own)
            for own, whole in ((self.own, other.whole), (other.own, self.whole))
        )


def shingles(text: str) -> frozenset[str]:
    """Return the words of a text and its pairs of neighbouring words, case and compatibility folded.

    The second occurrence of a word or pair is another shingle than the first. A text of symbols alone is its own only
    shingle, so two rows of different emoji have nothing in common.
    """
    return _shingles(text) or frozenset((text,))


def _shingles(text: str) -> frozenset[str]:
    words = _words(text)
    found = [*words, *(f"{left} {right}" for left, right in pairwise(words))]
    if len(set(found)) == len(found):
        return frozenset(found)
    seen = Counter[str]()
    numbered = set[str]()
    for shingle in found:
        seen[shingle] += 1
        numbered.add(f"{shingle}\n{seen[shingle]}" if seen[shingle] > 1 else shingle)
    return frozenset(numbered)


def near_duplicates(texts: Sequence[str | Parts], similarity: float = SIMILARITY) -> list[int | None]:
    """Return for each text the index of the earlier kept text that it repeats, or None for a kept text.

    ``texts`` are in order of preference. Each text is compared with kept texts only, so a chain of small changes does
    not join texts that differ. Of texts in Parts, the titles must be alike, and each must hold most of what the other
    says of its own. Candidates are found by the shingles that few texts have, as in prefix filtering (Bayardo et al.
    2007, "Scaling Up All Pairs Similarity Search"), and compared one by one. The result is exact while each of these
    shingles is in at most MOST_KEPT_WITH kept texts; beyond, a near-duplicate may be kept. Raise ValueError for a
    similarity outside (0, 1].
    """
    if not 0 < similarity <= 1:
        raise ValueError(f"similarity is {similarity}; it must be more than 0 and at most 1.")
    compared = [_Compared.of(text) for text in texts]
    sets = [text.whole for text in compared]
    sizes = np.array([len(found) for found in sets])
    frequency = Counter(chain.from_iterable(sets))
    kept_with: dict[str, array[int]] = {shingle: array("i") for shingle, times in frequency.items() if times > 1}
    repeats: list[int | None] = []
    for number, found in enumerate(sets):
        others = math.ceil(similarity * len(found) - _ROUNDING) - 1
        rarest = sorted(found, key=frequency.__getitem__)[: len(found) - others]
        # Not bound to a name: an array cannot grow while a view of it is alive.
        shared = np.bincount(
            np.concatenate(
                [_NONE, *(np.frombuffer(kept_with[shingle], np.int32) for shingle in rarest if kept_with.get(shingle))]
            )
        )
        # A similar text shares so many shingles with this one that, without the others, so many are the rarest.
        least = similarity / (1 + similarity) * (len(found) + sizes[: len(shared)]) - others
        candidates = np.flatnonzero(shared >= np.maximum(least - _ROUNDING, 1)).tolist()
        may_repeat = (other for other in candidates if compared[number].says_what(compared[other], similarity))
        repeated = next((other for other in may_repeat if _alike(found, sets[other], similarity)), None)
        repeats.append(repeated)
        if repeated is None:
            for shingle in found & kept_with.keys():
                if len(kept_with[shingle]) < MOST_KEPT_WITH:
                    kept_with[shingle].append(number)
    return repeats


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", limit_marks(text)).casefold()
    return _word_pattern().findall(_UNSPACED.sub(r" \1 ", folded))


@cache
def _word_pattern() -> re.Pattern[str]:
    """Return a pattern of words with their marks: vowel signs are letters. Variation selectors of emoji are not."""
    marks = (code for code in range(0x300, 0x20000) if unicodedata.category(chr(code))[0] == "M")
    return re.compile(
        f"[\\w{''.join(chr(code) for code in marks if not 0xFE00 <= code <= 0xFE0F and code != 0x20E3)}]+"
    )


def _alike(one: frozenset[str], other: frozenset[str], similarity: float) -> bool:
    shared = len(one & other)
    return shared >= similarity * (len(one) + len(other) - shared)
