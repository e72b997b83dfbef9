"""Sparse vectors and filters: their types, and what is refused."""

from datetime import datetime

import numpy as np
import pytest

from resources.vectors.values import SearchFilter, SparseVector, VectorIndexError


@pytest.mark.parametrize(
    ("indices", "values"), [([2, 1], [1.0, 1.0]), ([1, 1], [1.0, 1.0]), ([1], []), ([1], [np.nan])]
)
def test_sparse_vectors_are_written_as_ascending_pairs(indices: list[int], values: list[float]) -> None:
    with pytest.raises(VectorIndexError, match=r"ascending|shape"):
        SparseVector.of(indices, values).checked()


def test_dates_need_a_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        SearchFilter(posted_after=datetime(2024, 1, 1))  # noqa: DTZ001


def test_sparse_vectors_have_the_engines_types() -> None:
    vector = SparseVector.of([1, 2], [1, 2])
    assert (vector.indices.dtype.name, vector.values.dtype.name) == ("uint32", "float32")
