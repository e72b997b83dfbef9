"""Posts of one account that say the same in almost the same words."""

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash, RMinHashLSH

# Jaccard similarity of the words and word pairs of two texts, the usual bar of text corpora (Lee et al. 2022,
# arXiv 2107.06499). One word changed is a near-duplicate from 14 words on; a changed emoji, capital or comma always.
SIMILARITY = 0.8
# 16 bands of 8 rows propose 95% of the pairs at .8, 99.4% at .85, 6% at .5; what is proposed is then compared exactly.
_PERMUTATIONS, _BANDS = 128, 16
_ESTIMATE_ERROR = 0.15  # four standard deviations of an estimate from 128 permutations
_MANY = 64
"""From so many proposals on, what a text shares with all kept ones is counted at once. Posts that fill in a template,
as of prices or the weather, propose most of those before them: 4,000 took 31 s pair by pair, and take 2 s."""
_SEED = 20_260_701  # signatures are never stored, so that the seed may change; it is fixed so that runs agree
_WORD = re.compile(r"\w+")
# Thai, Lao, Burmese, Khmer, kana and Han are written without spaces: there, each character counts as a word.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff])"
)


def shingles(text: str) -> frozenset[str]:
    """What a text is compared by: its words, case and compatibility folded, and the pairs of neighbouring words.

    A text of symbols alone is its own only shingle, so that two rows of different emoji have nothing in common.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = _WORD.findall(_UNSPACED.sub(r" \1 ", folded))
    if not words:
        return frozenset((text,))
    return frozenset((*words, *(f"{left} {right}" for left, right in pairwise(words))))


def near_duplicates(texts: Sequence[str], similarity: float = SIMILARITY) -> list[int | None]:
    """For each text the index of the earlier kept text that it repeats, or None for those that are kept.

    ``texts`` come in order of preference. A text is compared with kept ones only, so that a chain of small changes
    does not pull together what differs. The same texts in the same order give the same answer. Memory: about 3 kB a
    text. Raises ValueError for a similarity outside (0, 1].
    """
    if not 0 < similarity <= 1:
        raise ValueError(f"similarity is {similarity}, expected more than 0 and at most 1.")
    sets = [shingles(text) for text in texts]
    # Frozen sets have no order of their own from run to run; MinHash does not depend on one.
    signatures = RMinHash.from_token_sets([list(found) for found in sets], _PERMUTATIONS, _SEED)
    index = RMinHashLSH(threshold=similarity, num_perm=_PERMUTATIONS, num_bands=_BANDS)
    kept = _Kept(sets)
    repeats: list[int | None] = []
    for number, (found, signature) in enumerate(zip(sets, signatures, strict=True)):
        proposed = index.query(signature)
        alike = (
            other
            for other in (proposed if len(proposed) < _MANY else kept.alike(number, similarity))
            if signature.jaccard(signatures[other]) >= similarity - _ESTIMATE_ERROR
            and _alike(found, sets[other], similarity)
        )
        repeated = min(alike, default=None)
        repeats.append(repeated)
        if repeated is None:
            index.insert(number, signature)
            kept.add(number)
    return repeats


class _Kept:
    """The kept texts' shingles as numbers, one text after the other."""

    def __init__(self, sets: Sequence[frozenset[str]]) -> None:
        known: dict[str, int] = {}
        self._shingles = [
            np.fromiter((known.setdefault(shingle, len(known)) for shingle in found), np.int32, len(found))
            for found in sets
        ]
        self._sizes = np.array([len(found) for found in sets], np.int64)
        self._is_wanted = np.zeros(len(known), np.bool_)
        self._flat = np.empty(int(self._sizes.sum()), np.int32)
        self._starts, self._numbers = np.empty(len(sets), np.int64), np.empty(len(sets), np.int64)
        self._end = self._count = 0

    def add(self, number: int) -> None:
        """Keep a text."""
        found = self._shingles[number]
        self._flat[self._end : self._end + len(found)] = found
        self._starts[self._count], self._numbers[self._count] = self._end, number
        self._end, self._count = self._end + len(found), self._count + 1

    def alike(self, number: int, similarity: float) -> list[int]:
        """The kept texts that are similar to a text, in order."""
        numbers: NDArray[np.int64] = self._numbers[: self._count]
        self._is_wanted[self._shingles[number]] = True
        shared = np.add.reduceat(self._is_wanted[self._flat[: self._end]], self._starts[: self._count], dtype=np.int64)
        self._is_wanted[self._shingles[number]] = False
        of_both = self._sizes[numbers] + self._sizes[number]
        found: list[int] = numbers[shared >= similarity * (of_both - shared)].tolist()
        return found


def _alike(one: frozenset[str], other: frozenset[str], similarity: float) -> bool:
    smaller, larger = sorted((len(one), len(other)))
    if smaller < similarity * larger:
        return False
    shared = len(one & other)
    return shared >= similarity * (len(one) + len(other) - shared)
