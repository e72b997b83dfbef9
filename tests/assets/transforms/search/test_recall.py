"""Recall against exact neighbours: literal vectors, and the same as sorting everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.transforms.search.recall import ExactNeighbours

EAST, NORTH = [1.0, 0.0], [0.0, 1.0]


def recall(found: list[list[str]], vectors: dict[str, list[float]], k: int) -> float:
    exact = ExactNeighbours(np.asarray([EAST], np.float32), found, k)
    exact.add(list(vectors), np.asarray(list(vectors.values()), np.float32))
    return exact.recall()


def test_right_wrong_and_unknown_points() -> None:
    vectors = {"a": EAST, "b": [0.8, 0.6], "c": NORTH}
    assert recall([["a", "b"]], vectors, 2) == 1.0
    assert recall([["a", "c"]], vectors, 2) == 0.5
    assert recall([["a", "gone"]], vectors, 2) == 0.5
    assert recall([[]], vectors, 2) == 0.0


def test_either_of_a_tie_is_right_and_fewer_points_than_k_are_all_there_is() -> None:
    assert recall([["b"]], {"a": EAST, "b": EAST, "c": NORTH}, 1) == 1.0
    assert recall([["a", "b"]], {"a": EAST, "b": NORTH}, 10) == 1.0


def test_nothing_to_find_is_no_failure() -> None:
    assert ExactNeighbours(np.asarray([EAST], np.float32), [[]], 10).recall() == 1.0


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 20), st.integers(0, 2**31))
def test_blocks_give_what_sorting_everything_gives(points: int, k: int, block: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(points, 4)).astype(np.float32)
    queries = random.normal(size=(3, 4)).astype(np.float32)
    found = [[str(number) for number in random.permutation(points)[:k]] for _ in queries]
    exact = ExactNeighbours(queries, found, k)
    for start in range(0, points, block):
        ids = [str(number) for number in range(start, min(start + block, points))]
        exact.add(ids, vectors[start : start + block])
    due = min(k, points)
    expected = []
    for query, ids in zip(queries, found, strict=True):
        cosines = vectors @ query
        best = np.sort(cosines)[-due]
        expected.append(sum(cosines[int(point)] >= best - 1e-5 for point in ids) / due)
    assert exact.recall() == pytest.approx(np.mean(expected))
