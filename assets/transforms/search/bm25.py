"""Corpus-wide BM25 statistics: how many documents hold a term, and what that makes a query's term worth."""

import math
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

DOCUMENT_WEIGHT_BELOW, DOCUMENT_WEIGHT_BITS, FLOAT32_BITS = 2.2, 10, 24
_LARGEST_STEP = 0.25
"""What weights are rounded to at most. Beyond some 400 terms a query's scores are therefore exact no more: each engine
rounds their sum as it adds, to 24 bits, and accounts that differ by less may change places between engines."""
FREQUENCY_SCHEMA = pl.Schema({"term": pl.Int64(), "documents": pl.Int64()})


class HasTerms(Protocol):
    """A document's sparse vector: ``indices`` are its distinct term ids."""

    @property
    def indices(self) -> NDArray[np.uint32]:
        """Distinct term ids, uint32."""


def document_frequencies(documents: Iterable[HasTerms]) -> pl.DataFrame:
    """Term id → number of documents that hold it, by term. The number of documents is the caller's to know."""
    term_ids = [document.indices for document in documents]
    terms, counts = np.unique(np.concatenate([np.empty(0, np.uint32), *term_ids]), return_counts=True)
    return pl.DataFrame({"term": terms.astype(np.int64), "documents": counts}, schema=FREQUENCY_SCHEMA)


def combined(frequencies: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The document frequencies of several disjoint parts of the corpus (its buckets) as one table, by term."""
    parts = pl.concat([pl.DataFrame(schema=FREQUENCY_SCHEMA), *frequencies])
    return parts.group_by("term").agg(pl.col("documents").sum()).sort("term")


def idf(document_frequency: int, documents: int) -> float:
    """Lucene's ln(1 + (N - df + ½) / (df + ½)): positive, and smaller the more documents hold the term.

    Raises ValueError when more documents hold the term than there are.
    """
    if not 0 <= document_frequency <= documents:
        message = f"{document_frequency} documents of {documents} cannot hold a term."
        raise ValueError(message)
    return math.log1p((documents - document_frequency + 0.5) / (document_frequency + 0.5))


def weigh_query(
    term_ids: NDArray[np.uint32], document_frequency: Mapping[int, int], documents: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """A query's terms and their IDF weights (float32); a term that no document holds keeps the highest weight.

    ``document_frequency`` needs the query's terms alone. The dot product with a document's vector is its BM25 score.
    Weights are positive multiples of a power of two, which is as small as keeps that product exact (of up to some 400
    terms): a document's weights are below 2.2 and multiples of 2⁻¹⁰ (resources/vectors/bm25.py). A 32-bit float
    holds 24 bits.
    """
    exact = np.array([idf(document_frequency.get(int(term), 0), documents) for term in term_ids], np.float64)
    if not len(exact):
        return term_ids, exact.astype(np.float32)
    highest_score = DOCUMENT_WEIGHT_BELOW * float(exact.sum() + len(exact))
    step = 2.0 ** (math.ceil(math.log2(highest_score)) + DOCUMENT_WEIGHT_BITS - FLOAT32_BITS)
    step = min(step, _LARGEST_STEP)
    return term_ids, (np.maximum(np.rint(exact / step), 1) * step).astype(np.float32)
