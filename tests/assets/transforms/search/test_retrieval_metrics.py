"""nDCG, recall and what follows from them, held to values worked out by hand and to brute force."""

import math
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.search.retrieval_metrics import Quality, better_retriever, ndcg, percentiles, recall


@pytest.mark.parametrize(
    ("ranked", "grades", "expected"),
    [
        (["a", "b"], {"a": 1}, 1.0),
        (["b", "a"], {"a": 1}, 1 / math.log2(3)),
        (["x", "y"], {"a": 1}, 0.0),
        ([], {"a": 1}, 0.0),
        (["b", "a"], {"a": 2, "b": 1}, (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))),
        (["z", "a"], {"a": 1, "z": -1, "b": 0}, 1 / math.log2(3)),
        ([*"0123456789", "a"], {"a": 1}, 0.0),
        ([*"0123456789"], {**dict.fromkeys("0123456789", 1), "a": 1}, 1.0),
    ],
)
def test_ndcg_at_10(ranked: list[str], grades: dict[str, int], expected: float) -> None:
    assert ndcg(ranked, grades, 10) == pytest.approx(expected)


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(0, 3), min_size=1).filter(lambda g: max(g.values()) > 0))
def test_no_order_is_better_than_the_best(grades: dict[str, int]) -> None:
    values = [ndcg(order, grades, 3) for order in permutations(grades)]
    assert max(values) == pytest.approx(1.0)
    assert min(values) >= 0


def test_recall_counts_relevant_items_within_the_depth() -> None:
    grades = {"a": 1, "b": 2, "c": 0, "d": 1}
    assert recall(["c", "a", "x", "b", "d"], grades, 4) == pytest.approx(2 / 3)
    assert recall(["c", "a", "x", "b", "d"], grades, 100) == 1


def test_quality_is_at_10_and_100_and_its_mean_is_over_queries() -> None:
    ranked = [str(number) for number in range(200)]
    found = [Quality.of(ranked, {"0": 1, "150": 1}), Quality.of(ranked, {"99": 1})]
    assert found[1] == Quality(0.0, 1.0)
    assert found[0].recall_at_100 == 0.5
    mean = Quality.mean(found)
    assert mean.ndcg_at_10 == pytest.approx(found[0].ndcg_at_10 / 2)
    assert mean.recall_at_100 == 0.75


def test_nothing_to_find_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to find"):
        Quality.of(["a"], {"a": 0})
    with pytest.raises(ValueError, match="no query"):
        Quality.mean([])


@pytest.mark.parametrize(
    ("dense", "bm25", "hybrid", "expected"),
    [(0.6, 0.7, 0.691, "hybrid"), (0.6, 0.7, 0.685, "bm25"), (0.72, 0.7, 0.6, "dense"), (0.1, 0.2, 0.3, "hybrid")],
)
def test_hybrid_is_the_default_unless_another_is_clearly_better(
    dense: float, bm25: float, hybrid: float, expected: str
) -> None:
    assert better_retriever({"dense": dense, "bm25": bm25, "hybrid": hybrid}, "hybrid") == expected


def test_percentiles_are_in_milliseconds() -> None:
    assert percentiles([number / 1000 for number in range(1, 102)]) == {"p50": 51.0, "p95": 96.0, "p99": 100.0}
    assert percentiles([]) == {}
