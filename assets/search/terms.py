"""The BM25 terms of queries: their corpus-wide weights, and words that nobody uses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.corpus import CHUNKS, TERMS
from assets.transforms.search.bm25 import weigh_query
from assets.transforms.search.spelling import count_words, mended, words_in
from resources.delta.table import LakeResource
from resources.vectors.bm25 import SparseEncoder
from resources.vectors.values import SparseVector

_READ_FOR_WORDS = 100_000
"""Chunks whose words a misspelt one is compared with."""
_MOST_KEPT = 100_000
"""Terms whose counts are kept for the next search."""


@dataclass(frozen=True)
class Terms:
    """The terms of a lake's corpus."""

    lake: LakeResource
    _counted: dict[int, dict[int, int]] = field(default_factory=dict)

    def of(self, text: str) -> frozenset[int]:
        """Return the terms of a text, as the corpus counts them."""
        return frozenset(self._encoder.count_terms(text).indices.tolist())

    def weighed(self, texts: Sequence[str]) -> list[SparseVector]:
        """Return the terms of queries with corpus-wide IDF weights; read the counts of those terms only."""
        return self.weigh([self._encoder.encode_query(text).indices for text in texts])

    def weigh(self, terms_of: Sequence[NDArray[np.uint32]]) -> list[SparseVector]:
        """Return terms with corpus-wide IDF weights."""
        documents = sum(contents.rows for contents in self.lake.contents(CHUNKS).values())
        if not documents:
            return [SparseVector.of([], []) for _ in terms_of]
        frequencies = self._documents_with({int(term) for terms in terms_of for term in terms})
        return [SparseVector(*weigh_query(terms, frequencies, documents)) for terms in terms_of]

    def mended(self, text: str) -> tuple[str, dict[str, str]]:
        """Return a text with each word that no post has replaced by the most similar one, if any, and those words.

        The words of up to _READ_FOR_WORDS chunks are read, and only if a word is unknown.
        """
        terms_of = {word: self._encoder.encode_query(word).indices.tolist() for word in words_in(text)}
        known = self._documents_with({term for terms in terms_of.values() for term in terms})
        unknown = [word for word, terms in terms_of.items() if terms and not any(known.get(term) for term in terms)]
        if not unknown:
            return text, {}
        texts = self.lake.scan(CHUNKS).select("text").head(_READ_FOR_WORDS).collect()["text"]
        documents = dict(count_words(texts).iter_rows())
        changed = {word: right for word in unknown if (right := mended(word.casefold(), documents))}
        for word, right in changed.items():
            text = text.replace(word, right)
        return text, changed

    def _documents_with(self, terms: Iterable[int]) -> dict[int, int]:
        """Return term → number of chunks with it; those of one version of the table are read once."""
        wanted, snapshot = set(terms), self.lake.snapshot(TERMS)
        version = -1 if snapshot is None else snapshot.version
        known = self._counted.get(version, {})
        if unread := sorted(wanted - known.keys()):
            counted = self.lake.scan(TERMS).filter(pl.col("term").is_in(unread)).group_by("term")
            found = dict(counted.agg(pl.col("documents").sum()).collect().iter_rows())
            kept = known if len(known) < _MOST_KEPT else {}
            known = {
                **kept,
                **dict.fromkeys(wanted, 0),
                **{term: known[term] for term in wanted & known.keys()},
                **found,
            }
            self._counted.clear()
            self._counted[version] = known
        return {term: known[term] for term in wanted if known[term]}

    @cached_property
    def _encoder(self) -> SparseEncoder:
        return SparseEncoder()


def weights_of(weighed: SparseVector) -> dict[int, float]:
    """Return term → weight."""
    return dict(zip(weighed.indices.tolist(), weighed.values.tolist(), strict=True))
