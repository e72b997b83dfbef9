"""nDCG and recall of a ranking against judgements, as trec_eval and BEIR compute them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

NDCG_AT, RECALL_AT = 10, 100
# A mean over a few hundred queries cannot distinguish smaller differences.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Quality:
    """The quality of one query, or the mean of several; both figures are in [0, 1]."""

    ndcg_at_10: float
    recall_at_100: float

    @classmethod
    def of(cls, ranked: Sequence[str], grades: Mapping[str, int]) -> "Quality":
        """Return the quality of a ranking, best first. Raise ValueError when nothing is relevant."""
        return cls(ndcg(ranked, grades, NDCG_AT), recall(ranked, grades, RECALL_AT))

    @classmethod
    def mean(cls, found: Iterable["Quality"]) -> "Quality":
        """Return the mean over queries. Raise ValueError without any."""
        each = list(found)
        if not each:
            raise ValueError("There is no query to take a mean over.")
        return cls(fmean(quality.ndcg_at_10 for quality in each), fmean(quality.recall_at_100 for quality in each))


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], depth: int) -> float:
    """Return Σ grade / log2(rank + 1) over the first ``depth``, divided by the same sum of the best possible order.

    Linear gain, as in trec_eval's ndcg_cut. Items that are not judged, or have a grade of 0 or less, gain nothing.
    """
    best = _gain(sorted(_relevant(grades).values(), reverse=True)[:depth])
    return _gain([max(grades.get(item, 0), 0) for item in ranked[:depth]]) / best


def recall(ranked: Sequence[str], grades: Mapping[str, int], depth: int) -> float:
    """Return the share of the relevant items (grade above 0) among the first ``depth``."""
    relevant = _relevant(grades)
    return len(relevant.keys() & set(ranked[:depth])) / len(relevant)


def better_retriever(ndcg_of: Mapping[str, float], preferred: str) -> str:
    """Return the best default retriever: ``preferred``, unless another nDCG is higher by more than TOLERANCE."""
    best = max(sorted(ndcg_of), key=lambda name: ndcg_of[name])
    return best if ndcg_of[best] - ndcg_of[preferred] > TOLERANCE else preferred


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 in milliseconds; empty without any."""
    if not seconds:
        return {}
    milliseconds = np.asarray(seconds) * 1000
    return {f"p{part}": round(float(np.percentile(milliseconds, part)), 2) for part in (50, 95, 99)}


def _relevant(grades: Mapping[str, int]) -> dict[str, int]:
    found = {item: grade for item, grade in grades.items() if grade > 0}
    if not found:
        raise ValueError("Nothing is judged relevant, so there is nothing to find.")
    return found


def _gain(grades: Iterable[int]) -> float:
    return math.fsum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))
