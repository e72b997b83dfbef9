"""The newest version of each key after some windows, and rows that differ from it."""

from datetime import UTC, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.source.row_comparison import compare, misplaced, newest_versions
from resources.delta.merge import FILE, MergeRule, newer

NONE = pl.DataFrame(schema={"key": pl.String, "updated_at": pl.Datetime("us", "UTC"), "text": pl.String})
ROWS = st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(1, 4), st.sampled_from("xy")))
WINDOWS = st.lists(st.tuples(ROWS, st.none() | st.integers(1, 5)), max_size=6)


def moment(hour: int) -> datetime:
    return datetime(2026, 1, 1, hour, tzinfo=UTC)


def frame(rows: dict[str, tuple[int, str]]) -> pl.DataFrame:
    values = [(key, moment(hour), text) for key, (hour, text) in rows.items()]
    return pl.DataFrame(values, schema=NONE.schema, orient="row")


@given(WINDOWS)
def test_what_stands_is_what_the_merge_leaves(windows: list[tuple[dict[str, tuple[int, str]], int | None]]) -> None:
    """Whatever the windows: the last of the newest versions is the row that merging them one by one leaves."""
    merged = NONE
    for rows, judged in windows:
        rule = MergeRule(judged_below=None if judged is None else moment(judged))
        edit = newer(merged.with_columns(pl.lit(0, pl.UInt32).alias(FILE)), frame(rows), ("key",), rule)
        merged = pl.concat([merged.join(edit.after, on="key", how="anti"), edit.after])
    given_windows = [(frame(rows), None if judged is None else moment(judged)) for rows, judged in windows]
    found = newest_versions(given_windows, NONE, ["key"])
    assert compare(found, merged, ["key"]).problems.is_empty()
    last = found.unique("key", keep="last", maintain_order=True)
    assert last.sort("key").equals(merged.sort("key"))


def test_a_row_whose_newest_version_is_in_another_bucket_is_misplaced() -> None:
    row = frame({"a": (1, "x")})
    found = compare(NONE, row, ["key"])
    assert found.problems.rows() == [("a", "foreign")]
    assert found.desired.is_empty()
    assert misplaced(found.problems, row, ["key"]).rows() == [("a", "misplaced")]
    assert misplaced(found.problems, NONE, ["key"]).rows() == [("a", "foreign")]


def test_a_row_without_a_key_is_foreign() -> None:
    row = frame({"a": (1, "x")})
    found = compare(row, pl.concat([row, row.with_columns(key=pl.lit(None, pl.String))]), ["key"])
    assert found.problems.rows() == [(None, "foreign")]
    assert found.desired.equals(row)


def test_a_time_that_is_cut_or_rounded_to_milliseconds_is_rounded() -> None:
    """Trino rounds half up, so that a row may have a later time than was extracted."""
    extracted = moment(1).replace(microsecond=678_901)
    row = frame({"a": (1, "x")}).with_columns(updated_at=pl.lit(extracted))
    for microsecond, problem in ((678_000, "rounded"), (679_000, "rounded"), (677_000, "stale"), (680_000, "altered")):
        now = row.with_columns(updated_at=pl.lit(extracted.replace(microsecond=microsecond)))
        assert compare(row, now, ["key"]).problems.rows() == [("a", problem)]
