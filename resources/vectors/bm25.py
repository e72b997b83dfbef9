"""Encode texts as sparse vectors of terms, for documents and for queries."""

from collections.abc import Iterable

import numpy as np
import qdrant_edge as edge

from resources.models.analyzer import ANALYZER, document_terms, query_forms, query_terms
from resources.vectors.values import SparseVector

# Part of content hashes: another value encodes every sparse vector again.
SPARSE_ENCODING = f"bm25-{ANALYZER}-grid-2"
SATURATION_K = 1.2
LENGTH_B = 0.75
# Fixed, because the true mean changes with every post and would change every vector. A tweet has 25 terms, a YouTube
# description 107; the share of same-topic texts in the top 10 moved by less than .003 anywhere from 25 to 100.
AVERAGE_TERMS = 40.0
# Weights are multiples of 2⁻¹⁰, and a query's (assets/transforms/search/bm25.py) are coarse enough that every sum
# of products is exact in 32-bit floats. Every order of addition gives the same score, so ties are ties.
WEIGHT_STEPS = 1 << 10


class SparseEncoder:
    """Encodes the analyzer's terms (resources/models/analyzer.py) as Qdrant's BM25 ids; the weights are ours.

    Emoji are not terms.
    """

    def __init__(self, average_terms: float = AVERAGE_TERMS) -> None:
        """``average_terms`` is a document's mean length in terms, which is known for a closed collection."""
        self._average_terms = average_terms
        # Ids are Qdrant's hashes of the terms. Its weights are counts: no saturation, no length normalisation.
        self._ids = edge.Bm25(
            edge.Bm25Config(
                k=1e9,
                b=0.0,
                tokenizer=edge.TokenizerType.Whitespace,
                lowercase=False,
                ascii_folding=False,
                stopwords=edge.StopwordsSet(custom=set()),
            )
        )

    def count_terms(self, text: str) -> SparseVector:
        """Return the distinct terms of a document with their number of occurrences; empty without terms."""
        found = self._ids.embed_document(" ".join(document_terms(text)))
        return SparseVector.of(found.indices, np.rint(found.values).tolist())

    def encode_documents(self, texts: Iterable[str]) -> list[SparseVector]:
        """Return a vector per text: term id → tf·(k+1) / (tf + k·(1 - b + b·terms/average_terms)); empty without terms.

        Weights are rounded to multiples of 1 / WEIGHT_STEPS, and are never 0.
        """
        return [self._weighed(self.count_terms(text)) for text in texts]

    def encode_query(self, text: str) -> SparseVector:
        """Return the distinct terms of a query, each of weight 1: weigh them by IDF before searching."""
        found = self._ids.embed_query(" ".join(query_terms(text)))
        return SparseVector.of(found.indices, found.values)

    def encode_forms(self, text: str) -> dict[int, frozenset[int]]:
        """Return the terms of other spellings of a query's words, each with the terms that it stands for."""
        asked = set(self.encode_query(text).indices.tolist())
        found: dict[int, frozenset[int]] = {}
        for form, parts in query_forms(text):
            [term] = self._ids.embed_query(form).indices
            stands_for = frozenset(self._ids.embed_query(" ".join(parts)).indices)
            if term not in asked:
                found.setdefault(int(term), stands_for & asked)
        return found

    def _weighed(self, counts: SparseVector) -> SparseVector:
        tf = counts.values.astype(np.float64)
        length = 1 - LENGTH_B + LENGTH_B * tf.sum() / self._average_terms
        weights = tf * (SATURATION_K + 1) / (tf + SATURATION_K * length)
        steps = np.maximum(np.rint(weights * WEIGHT_STEPS), 1)
        return SparseVector(counts.indices, (steps / WEIGHT_STEPS).astype(np.float32))
