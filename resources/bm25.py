"""Texts to sparse vectors of terms, for documents and for queries.

Belongs here: tokenisation and term weights, which must be the same for every document and query of a collection.
Not here: IDF, which is corpus-wide and belongs to the query (assets/transforms/bm25.py).
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import pairwise

import qdrant_edge as edge

from resources.qdrant import SparseVector

# Goes into content hashes: another value means that every sparse vector has to be made anew.
SPARSE_ENCODING = "bm25-word-bigram-fold-1"
SATURATION_K = 1.2
LENGTH_B = 0.75
# Fixed, because the true mean moves with every post and would change every vector. A tweet has 25 terms, a YouTube
# description 107; the share of same-topic texts in the top 10 moved by less than .003 anywhere from 25 to 100.
AVERAGE_TERMS = 40.0

_ACCENTS = re.compile("[\u0300-\u036f]")  # of Latin, Greek and Cyrillic; the model's own folding knows Latin alone
# Thai, Lao, Burmese, Khmer, kana and Han are written without spaces.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]+"
)


class SparseEncoder:
    """Qdrant's own BM25 model, language-neutral: words as written, lower-cased and without accents.

    No stemmer and no stop words, because a query does not say its language and a mixed corpus has no single one: an
    English stemmer moved the share of same-topic texts in the top 10 by +.007 on English tweets (X-Topic, Jaccard)
    and by -.004 on English YouTube videos. Scripts without spaces become overlapping character pairs, as in Lucene's
    CJKAnalyzer, and in documents also single characters: these are the same in every context, so that whatever a
    query spells out is found (Japanese tweets: .134, words by a segmenter .119, whole runs .003). Emoji are no terms.
    """

    def __init__(self) -> None:
        self._model = edge.Bm25(
            edge.Bm25Config(
                k=SATURATION_K,
                b=LENGTH_B,
                avg_len=AVERAGE_TERMS,
                tokenizer=edge.TokenizerType.Word,
                lowercase=True,
                ascii_folding=True,
                stopwords=edge.StopwordsSet(custom=set()),
                stemmer=edge.DisabledStemmer(),
            )
        )

    def encode_documents(self, texts: Iterable[str]) -> list[SparseVector]:
        """One vector per text: term id → tf·(k+1) / (tf + k·(1 - b + b·terms/AVERAGE_TERMS)); empty without terms."""
        return [_sparse(self._model.embed_document(_spaced(text, _singles_and_pairs))) for text in texts]

    def encode_query(self, text: str) -> SparseVector:
        """The distinct terms of a query, each of weight 1: weigh them by IDF before searching."""
        return _sparse(self._model.embed_query(_spaced(text, _pairs)))


def _spaced(text: str, split: Callable[[str], Iterable[str]]) -> str:
    """Full width and the like unified, accents gone, unspaced scripts split, lone surrogates replaced."""
    decomposed = unicodedata.normalize("NFKD", text.encode("utf-8", "replace").decode("utf-8"))
    plain = unicodedata.normalize("NFKC", _ACCENTS.sub("", decomposed))
    return _UNSPACED.sub(lambda run: f" {' '.join(split(run.group()))} ", plain)


def _pairs(run: str) -> Iterable[str]:
    return [first + second for first, second in pairwise(run)] or [run]


def _singles_and_pairs(run: str) -> Iterable[str]:
    return [*run, *(first + second for first, second in pairwise(run))]


def _sparse(vector: edge.SparseVector) -> SparseVector:
    return SparseVector.of(vector.indices, vector.values)
