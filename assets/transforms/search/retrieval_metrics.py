"""How good a ranking is, against judgements: nDCG and recall as trec_eval and BEIR compute them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

NDCG_AT, RECALL_AT = 10, 100
# What a mean over a few hundred queries tells apart; less is no reason to change what a search uses.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Quality:
    """Of one query, or the mean of several: both in [0, 1]."""

    ndcg_at_10: float
    recall_at_100: float

    @classmethod
    def of(cls, ranked: Sequence[str], grades: Mapping[str, int]) -> "Quality":
        """The quality of a ranking, best first; ValueError when nothing is relevant."""
        return cls(ndcg(ranked, grades, NDCG_AT), recall(ranked, grades, RECALL_AT))

    @classmethod
    def mean(cls, found: Iterable["Quality"]) -> "Quality":
        """The mean over queries; ValueError without any."""
        each = list(found)
        if not each:
            message = "There is no query to take a mean over."
            raise ValueError(message)
        total = math.fsum(one.ndcg_at_10 for one in each), math.fsum(one.recall_at_100 for one in each)
        return cls(total[0] / len(each), total[1] / len(each))


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], depth: int) -> float:
    """Σ grade / log2(rank + 1) over the first ``depth``, by the same sum of the best order there could be.

    Linear gain, as in trec_eval's ndcg_cut. What is not judged, or has a grade of 0 or less, gains nothing.
    """
    best = _gain(sorted(_relevant(grades).values(), reverse=True)[:depth])
    return _gain([max(grades.get(item, 0), 0) for item in ranked[:depth]]) / best


def recall(ranked: Sequence[str], grades: Mapping[str, int], depth: int) -> float:
    """The share of the relevant items (grade above 0) that are among the first ``depth``."""
    relevant = _relevant(grades)
    return len(relevant.keys() & set(ranked[:depth])) / len(relevant)


def better_retriever(ndcg_of: Mapping[str, float], preferred: str) -> str:
    """What should answer by default: ``preferred``, unless another's nDCG is higher by more than TOLERANCE."""
    best = max(sorted(ndcg_of), key=lambda name: ndcg_of[name])
    return best if ndcg_of[best] - ndcg_of[preferred] > TOLERANCE else preferred


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds; empty without any."""
    if not seconds:
        return {}
    p50, p95, p99 = (float(value) for value in np.percentile(np.asarray(seconds) * 1000, [50, 95, 99]))
    return {"p50": round(p50, 2), "p95": round(p95, 2), "p99": round(p99, 2)}


def _relevant(grades: Mapping[str, int]) -> dict[str, int]:
    found = {item: grade for item, grade in grades.items() if grade > 0}
    if not found:
        message = "Nothing is judged relevant, so there is nothing to find."
        raise ValueError(message)
    return found


def _gain(grades: Iterable[int]) -> float:
    return math.fsum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, start=1))
