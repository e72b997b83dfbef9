"""The merge bench on a few files: it measures every writer, and its tables are as described."""

import io
import itertools
import json
from contextlib import redirect_stdout
from typing import Any

import polars as pl
import pytest
from rich.console import Console

from tests.benchmarks import merge, merge_rounds
from tests.benchmarks.merge import MOST_GROWTH, Rounds, measure_merges, result
from tests.benchmarks.merge_table import BUCKETS, CHANGED_ROWS, ROWS_OF_FILE, Place, changed_rows, rows_of_file


def test_files_of_a_bucket_have_key_ranges_of_their_own() -> None:
    files = [rows_of_file(number) for number in (5, 5 + BUCKETS, 5 + 2 * BUCKETS)]
    assert {bucket for bucket, _ in files} == {5}
    assert all(rows.height == ROWS_OF_FILE and rows["post_id"].is_sorted() for _, rows in files)
    bounds = [bound for _, rows in files for bound in (rows["post_id"].min(), rows["post_id"].max())]
    assert bounds == sorted(bounds)  # type: ignore[type-var]
    assert rows_of_file(6)[1]["post_id"].min() < files[0][1]["post_id"].max()  # type: ignore[operator]


def test_a_window_changes_rows_that_are_there_and_adds_some() -> None:
    window = changed_rows(BUCKETS, 3)
    assert window.height == window["post_id"].n_unique() == CHANGED_ROWS
    there = pl.concat([rows_of_file(number)[1] for number in range(BUCKETS)])
    known = window.join(there, on=["post_id", "account_bucket"], how="semi")
    assert known.height == CHANGED_ROWS - 24
    assert window.equals(changed_rows(BUCKETS, 3))
    assert not window.equals(changed_rows(BUCKETS, 4))


@pytest.fixture
def quick_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the first child as a process, and run the others in this one, which saves imports."""
    how_many = itertools.count()

    def child(place: Place, how: str, first: int, count: int) -> list[dict[str, Any]]:
        if next(how_many) == 0:
            return process(place, how, first, count)
        with redirect_stdout(io.StringIO()) as printed:
            merge_rounds.main([place.to_json(), how, str(first), str(count)])
        return [json.loads(line) for line in printed.getvalue().splitlines()]

    process = merge.child
    monkeypatch.setattr(merge, "child", child)
    monkeypatch.setattr(merge, "available_cores", lambda: 1)


@pytest.mark.usefixtures("quick_children")
def test_merges_are_measured_beside_delta_rs() -> None:
    found = measure_merges(Console(file=io.StringIO()), files=BUCKETS, times=1, merges=2, naive=1, rounds_compared=2)
    assert found.figures["merges"] == 2
    assert found.figures["naive_seconds_median"] > 0
    assert found.figures["peak_mb"] > 50
    assert found.figures["rounds_compared"] == 2
    assert found.figures["literal_seconds_median"] > 0
    assert found.figures["literal_peak_mb"] > 50
    ratio = found.figures["literal_seconds_median"] / found.figures["compared_seconds_median"]
    assert found.figures["literal_over_compared"] == pytest.approx(ratio, abs=0.01)
    assert found.targets.keys() == {"merge_seconds_median", "peak_mb", "last_over_first", "larger_over_smaller"}


def test_figures_are_held_to_their_targets() -> None:
    good = Rounds([1.0] * 6, [1.0], [100.0], 0)
    assert all(target.met for target in result(10, good, good, good, good, good).targets.values())
    slow, eroded = Rounds([5.0] * 6, [1.0], [800.0], 0), Rounds([1.0] * 3 + [MOST_GROWTH + 0.1] * 3, [1.0], [100.0], 0)
    assert not result(10, slow, good, slow, good, good).targets["merge_seconds_median"].met
    assert not result(10, slow, good, slow, good, good).targets["peak_mb"].met
    assert not result(10, eroded, good, good, good, good).targets["last_over_first"].met
    assert not result(10, good, good, slow, good, good).targets["larger_over_smaller"].met
