"""The IDF weights of a query's terms."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

DOCUMENT_WEIGHT_BELOW, DOCUMENT_WEIGHT_BITS, FLOAT32_BITS = 2.2, 10, 24
_LARGEST_STEP = 0.25
"""The coarsest step of weights. Beyond about 400 terms a query's scores are no longer exact: an engine rounds each sum
to 24 bits, and accounts that differ by less may change places between engines."""


def idf(document_frequency: int, documents: int) -> float:
    """Return Lucene's ln(1 + (N - df + ½) / (df + ½)): positive, and smaller the more documents hold the term.

    Raises ValueError when more documents hold the term than there are.
    """
    if not 0 <= document_frequency <= documents:
        raise ValueError(f"{document_frequency} documents of {documents} cannot hold a term.")
    return math.log1p((documents - document_frequency + 0.5) / (document_frequency + 0.5))


def weigh_query(
    term_ids: NDArray[np.uint32], document_frequency: Mapping[int, int], documents: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return a query's terms and their IDF weights (float32); a term that no document holds has the highest weight.

    ``document_frequency`` needs only the query's terms. The dot product with a document's vector is its BM25 score.
    Weights are positive multiples of the smallest power of two that keeps this product exact for up to about 400
    terms: a document's weights are below 2.2 and multiples of 2⁻¹⁰ (resources/vectors/bm25.py), and a 32-bit float
    holds 24 bits.
    """
    exact = np.array([idf(document_frequency.get(int(term), 0), documents) for term in term_ids], np.float64)
    if not len(exact):
        return term_ids, exact.astype(np.float32)
    highest_score = DOCUMENT_WEIGHT_BELOW * float(exact.sum() + len(exact))
    exact_step = 2.0 ** (math.ceil(math.log2(highest_score)) + DOCUMENT_WEIGHT_BITS - FLOAT32_BITS)
    step = min(exact_step, _LARGEST_STEP)
    return term_ids, (np.maximum(np.rint(exact / step), 1) * step).astype(np.float32)


def weigh_forms(
    term_ids: NDArray[np.uint32],
    forms: Mapping[int, frozenset[int]],
    document_frequency: Mapping[int, int],
    documents: int,
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Return a query's terms and those of its other forms that a document holds, ascending, with their IDF weights.

    ``forms`` has the terms that each form stands for. A form weighs no more than the rarest of them that is known.
    """
    frequency = dict(document_frequency)
    held = [form for form in forms if document_frequency.get(form)]
    for form in held:
        known = [times for part in forms[form] if (times := document_frequency.get(part))]
        frequency[form] = max(document_frequency[form], min(known, default=0))
    return weigh_query(np.array(sorted({*term_ids.tolist(), *held}), np.uint32), frequency, documents)
