"""The words of a collection, and the one that a misspelt word of a query was most likely meant to be."""

import re
from collections.abc import Mapping

import polars as pl
from rapidfuzz import process
from rapidfuzz.distance import OSA

from assets.transforms.search.query_language import UNSPACED

LEAST_LETTERS, MOST_LETTERS = 4, 30
MOST_WORDS = 200_000
"""The most frequent words of a collection, which a misspelt one is compared with."""
TWO_FAULTS_FROM = 8
"""Letters of a word from which two faults are mended, and below which one."""
# Words of scripts without spaces are found by pairs of characters, and have no spelling to mend.
_WORD = re.compile(rf"(?<!\w)[^\W\d_]{{{LEAST_LETTERS},{MOST_LETTERS}}}(?!\w)")


def words_in(text: str) -> list[str]:
    """Return the distinct words of a text that can be compared letter by letter, as they are written."""
    return [word for word in dict.fromkeys(_WORD.findall(text)) if not UNSPACED.search(word)]


def count_words(texts: pl.Series) -> pl.DataFrame:
    """Return (word, documents), in lower case: the MOST_WORDS most frequent, by (-documents, word)."""
    words = texts.str.normalize("NFKC").str.to_lowercase().str.extract_all(r"[\p{L}\p{M}]+").list.unique().explode()
    length = pl.col("word").str.len_chars()
    counts = words.alias("word").to_frame().filter(length.is_between(LEAST_LETTERS, MOST_LETTERS)).group_by("word")
    counted = counts.agg(documents=pl.len().cast(pl.Int64))
    return counted.sort("documents", "word", descending=[True, False]).head(MOST_WORDS)


def faults_in(word: str) -> int:
    """Return how many faults of a word are mended: letters left out, added, replaced, or swapped with the next."""
    return 2 if len(word) >= TWO_FAULTS_FROM else 1


def mended(word: str, documents: Mapping[str, int]) -> str | None:
    """Return the known word with the fewest faults, of these the most frequent; None if every word is too far."""
    near = process.extract(word, list(documents), scorer=OSA.distance, score_cutoff=faults_in(word), limit=None)
    best = min(near, key=lambda found: (found[1], -documents[found[0]], found[0]), default=None)
    return best[0] if best else None


def parted(word: str, documents: Mapping[str, int]) -> str | None:
    """Return the two known words that a compound consists of, such as vegan recipes; of several pairs the commonest.

    How common a pair is depends on its rarer word.
    """
    places = range(LEAST_LETTERS, len(word) - LEAST_LETTERS + 1)
    pairs = [(word[:place], word[place:]) for place in places]
    known = [pair for pair in pairs if all(part in documents for part in pair)]
    best = max(known, key=lambda pair: (min(documents[part] for part in pair), pair), default=None)
    return " ".join(best) if best else None
