"""Find posts of one account that repeat an earlier post in almost the same words."""

import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Sequence
from itertools import chain, pairwise

import numpy as np

# Jaccard similarity of the words and word pairs of two texts, the usual threshold of text corpora (Lee et al. 2022,
# arXiv 2107.06499). A text of 14 or more words with one word changed is a near-duplicate; so is any text with a
# changed emoji, capital or comma.
SIMILARITY = 0.8
MOST_KEPT_WITH = 200
"""A shingle leads to this many kept texts, the first. Without it, a vocabulary of ten words takes quadratic time."""
_WORD = re.compile(r"\w+")
# Thai, Lao, Burmese, Khmer, kana and Han are written without spaces: there, each character counts as a word.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff])"
)
_ROUNDING = 1e-9
_NONE = np.empty(0, np.int32)


def shingles(text: str) -> frozenset[str]:
    """Return the words of a text and its pairs of neighbouring words, case and compatibility folded.

    A text of symbols alone is its own only shingle, so two rows of different emoji have nothing in common.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = _WORD.findall(_UNSPACED.sub(r" \1 ", folded))
    return frozenset((*words, *(f"{left} {right}" for left, right in pairwise(words)))) or frozenset((text,))


def near_duplicates(texts: Sequence[str], similarity: float = SIMILARITY) -> list[int | None]:
    """Return for each text the index of the earlier kept text that it repeats, or None for a kept text.

    ``texts`` are in order of preference. Each text is compared with kept texts only, so a chain of small changes does
    not join texts that differ. Candidates are found by the shingles that few texts have, as in prefix filtering
    (Bayardo et al. 2007, "Scaling Up All Pairs Similarity Search"), and compared one by one. The result is exact while
    each of these shingles is in at most MOST_KEPT_WITH kept texts; beyond, a near-duplicate may be kept. Raise
    ValueError for a similarity outside (0, 1].
    """
    if not 0 < similarity <= 1:
        raise ValueError(f"similarity is {similarity}; it must be more than 0 and at most 1.")
    sets = [shingles(text) for text in texts]
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
        repeated = next((other for other in candidates if _alike(found, sets[other], similarity)), None)
        repeats.append(repeated)
        if repeated is None:
            for shingle in found & kept_with.keys():
                if len(kept_with[shingle]) < MOST_KEPT_WITH:
                    kept_with[shingle].append(number)
    return repeats


def _alike(one: frozenset[str], other: frozenset[str], similarity: float) -> bool:
    shared = len(one & other)
    return shared >= similarity * (len(one) + len(other) - shared)
