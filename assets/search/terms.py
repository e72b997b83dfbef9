"""The BM25 terms of queries: their corpus-wide weights, and words that nobody uses."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assets.corpus import CHUNKS, TERMS
from assets.search.memory import Memory
from assets.transforms.search.bm25 import idf, weigh_forms, weigh_query
from assets.transforms.search.spelling import count_words, mended, parted, words_in
from resources.delta.table import LakeResource
from resources.vectors.bm25 import SparseEncoder
from resources.vectors.values import SparseVector

_READ_FOR_WORDS = 100_000
"""Chunks whose words a misspelt one is compared with: up to 200,000 words, about 30 MB."""
_MOST_KEPT = 2_000_000
"""Distinct terms of a corpus up to which their counts are kept for the next search: 12 bytes each."""

_LONGEST_SHORT, _MOST_SHORT, _MOST_LONG = 400, 20_000, 2_000
"""Characters and number of short texts, such as names and bios, whose terms are kept for the next search, and number of
longer ones, such as posts that are found: about 30 MB each."""


@dataclass(frozen=True)
class Terms:
    """The terms of a lake's corpus."""

    memory: Memory

    @property
    def lake(self) -> LakeResource:
        """The lake."""
        return self.memory.lake

    def of(self, text: str) -> frozenset[int]:
        """Return the terms of a text, as the corpus counts them."""
        return self._of_short(text) if len(text) <= _LONGEST_SHORT else self._of_long(text)

    def _count(self, text: str) -> frozenset[int]:
        return frozenset(self._encoder.count_terms(text).indices.tolist())

    @cached_property
    def _of_short(self) -> Callable[[str], frozenset[int]]:
        return lru_cache(_MOST_SHORT)(self._count)

    @cached_property
    def _of_long(self) -> Callable[[str], frozenset[int]]:
        return lru_cache(_MOST_LONG)(self._count)

    def weighed(self, texts: Sequence[str]) -> list[SparseVector]:
        """Return the terms of queries with corpus-wide IDF weights; read the counts of those terms only."""
        return self.weigh([self._encoder.encode_query(text).indices for text in texts])

    def with_forms(self, texts: Sequence[str]) -> list[tuple[SparseVector, SparseVector]]:
        """Return what ``weighed`` returns, and the same with other forms of the queries' words that posts have."""
        documents = self.memory.of(CHUNKS, "documents", self._count_documents)
        if not documents:
            return [(SparseVector.of([], []), SparseVector.of([], [])) for _ in texts]
        asked = [(self._encoder.encode_query(text).indices, self._encoder.encode_forms(text)) for text in texts]
        known = self._documents_with({int(term) for pair in asked for terms in pair for term in terms})
        return [
            (
                SparseVector(*weigh_query(terms, known, documents)),
                SparseVector(*weigh_forms(terms, forms, known, documents)),
            )
            for terms, forms in asked
        ]

    def weigh(self, terms_of: Sequence[NDArray[np.uint32]]) -> list[SparseVector]:
        """Return terms with corpus-wide IDF weights."""
        documents = self.memory.of(CHUNKS, "documents", self._count_documents)
        if not documents:
            return [SparseVector.of([], []) for _ in terms_of]
        frequencies = self._documents_with({int(term) for terms in terms_of for term in terms})
        return [SparseVector(*weigh_query(terms, frequencies, documents)) for terms in terms_of]

    def distinctive(self, chunks_with: Mapping[int, int]) -> dict[int, float]:
        """Return term → its number of some chunks times its IDF in all others; none of a term that no other has.

        What everybody says often, such as thanks, counts little, and so does a name that one account alone uses.
        """
        documents, known = self.memory.of(CHUNKS, "documents", self._count_documents), self._documents_with(chunks_with)
        others = {term: known.get(term, 0) - count for term, count in chunks_with.items()}
        return {term: chunks_with[term] * idf(number, documents) for term, number in others.items() if number > 0}

    def mended(self, text: str) -> tuple[str, dict[str, str]]:
        """Return a text with each word that no post has replaced, and those words.

        A word is replaced by the two known words that it consists of, else by the most similar one, if any.
        Words are counted only if one is unknown.
        """
        terms_of = {word: self._encoder.encode_query(word).indices.tolist() for word in words_in(text)}
        known = self._documents_with({term for terms in terms_of.values() for term in terms})
        unknown = [word for word, terms in terms_of.items() if terms and not any(known.get(term) for term in terms)]
        if not unknown:
            return text, {}
        documents = self.memory.of(CHUNKS, "words", self._count_words)
        lower = {word: word.casefold() for word in unknown}
        changed = {
            word: right for word, low in lower.items() if (right := parted(low, documents) or mended(low, documents))
        }
        for word, right in changed.items():
            text = text.replace(word, right)
        return text, changed

    def _documents_with(self, terms: Iterable[int]) -> dict[int, int]:
        """Return term → number of chunks with it."""
        wanted = np.array(sorted(set(terms)), np.uint32)
        kept = self.memory.of(TERMS, "terms", self._count_terms)
        if kept is None:
            counted = self.lake.scan(TERMS).filter(pl.col("term").is_in(wanted)).group_by("term")
            return dict(counted.agg(pl.col("documents").sum()).collect().iter_rows())
        known, documents = kept
        if not len(known):
            return {}
        places = np.searchsorted(known, wanted).clip(max=len(known) - 1)
        is_known = known[places] == wanted
        return dict(zip(wanted[is_known].tolist(), documents[places[is_known]].tolist(), strict=True))

    def _count_terms(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]] | None:
        """Return the terms of all chunks, ascending, and the number of chunks with each; None if they are too many."""
        by_term = self.lake.scan(TERMS).group_by("term").agg(pl.col("documents").sum())
        counted = by_term.head(_MOST_KEPT + 1).collect(engine="streaming").sort("term")
        if counted.height > _MOST_KEPT:
            return None
        return counted["term"].to_numpy().astype(np.uint32), counted["documents"].to_numpy().astype(np.int64)

    def _count_documents(self) -> int:
        return sum(contents.rows for contents in self.lake.contents(CHUNKS).values())

    def _count_words(self) -> dict[str, int]:
        """Return word → number of chunks with it, of up to _READ_FOR_WORDS chunks."""
        texts = self.lake.scan(CHUNKS).select("text").head(_READ_FOR_WORDS).collect()["text"]
        return dict(count_words(texts).iter_rows())

    @cached_property
    def _encoder(self) -> SparseEncoder:
        return SparseEncoder()


def weights_of(weighed: SparseVector) -> dict[int, float]:
    """Return term → weight."""
    return dict(zip(weighed.indices.tolist(), weighed.values.tolist(), strict=True))
