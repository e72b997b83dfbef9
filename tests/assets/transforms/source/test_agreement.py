"""Whether two sources agree: what each knows of a row, and what the other's silence proves."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from assets.transforms.source.agreement import VERSIONS, Interval, covered, disagreements, moved_elsewhere

THEN = datetime(2024, 2, 1, tzinfo=UTC)
ALL = Interval(None, THEN + timedelta(hours=10))
ABSENT = -1


def versions(*rows: tuple[str, int, str, int, int]) -> pl.DataFrame:
    """(source, window, key, hours after THEN, content); content of ABSENT is a deletion row."""
    return pl.DataFrame(
        [
            (source, window, key, THEN + timedelta(hours=hours), content == ABSENT, max(content, 0))
            for source, window, key, hours, content in rows
        ],
        schema=VERSIONS,
        orient="row",
    )


def found(rows: pl.DataFrame, **intervals: Interval) -> list[tuple[str, str, str, str]]:
    judged = disagreements(rows, intervals or {"db": ALL, "dw": ALL})
    return [(row["problem"], row["key"], row["source"], row["other"]) for row in judged.to_dicts()]


def until(hours: int) -> Interval:
    return Interval(None, THEN + timedelta(hours=hours))


def test_the_same_versions_agree_in_whatever_windows_they_came() -> None:
    rows = versions(("db", 1, "a", 1, 7), ("db", 2, "b", 2, 8), ("dw", 1, "a", 1, 7), ("dw", 1, "b", 2, 8))
    assert found(rows) == []
    assert found(versions()) == []


def test_a_version_that_the_other_never_saw_is_missing_there() -> None:
    rows = versions(("db", 1, "a", 1, 7), ("db", 1, "b", 2, 8), ("dw", 1, "a", 1, 7), ("dw", 1, "c", 3, 9))
    assert found(rows) == [("missing", "b", "db", "dw"), ("missing", "c", "dw", "db")]
    stale = versions(("db", 1, "a", 2, 8), ("dw", 1, "a", 1, 7))
    assert found(stale) == [("missing", "a", "db", "dw")]


def test_one_that_saw_a_later_version_misses_nothing() -> None:
    rows = versions(("db", 1, "a", 1, 7), ("dw", 1, "a", 5, 9))
    assert found(rows, db=until(2), dw=ALL) == []
    later = versions(("db", 1, "a", 1, 7), ("db", 2, "a", 5, 9), ("dw", 1, "a", 5, 9))
    assert found(later) == []


def test_a_row_that_was_deleted_between_the_reads_is_not_missed() -> None:
    rows = versions(("db", 1, "a", 1, 7), ("db", 2, "a", 3, ABSENT))
    assert found(rows) == []
    again = versions(("db", 1, "a", 4, 7), ("db", 2, "a", 3, ABSENT))
    assert found(again) == [("missing", "a", "db", "dw")]


def test_only_the_common_interval_is_compared() -> None:
    rows = versions(("db", 1, "a", 1, 7), ("db", 1, "b", 4, 8), ("dw", 1, "c", 6, 9))
    assert found(rows, db=until(5), dw=Interval(THEN + timedelta(hours=5), ALL.upper)) == []
    assert found(rows, db=until(5), dw=Interval(THEN + timedelta(hours=4), ALL.upper)) == [("missing", "b", "db", "dw")]


def test_another_content_at_the_same_moment_differs_and_is_said_once() -> None:
    rows = versions(("db", 1, "a", 1, 7), ("dw", 1, "a", 1, 8))
    assert found(rows) == [("differs", "a", "db", "dw")]
    retold = versions(("db", 1, "a", 1, 6), ("db", 2, "a", 1, 8), ("dw", 1, "a", 1, 8))
    assert found(retold) == []  # of two versions with one moment, the later window's counts
    there = versions(("dw", 1, "a", 1, 6), ("dw", 2, "a", 1, 8), ("db", 1, "a", 1, 8))
    assert found(there) == []


def test_a_key_that_one_window_has_twice_is_doubled() -> None:
    rows = versions(("dw", 1, "a", 1, 7), ("dw", 1, "a", 1, 7), ("dw", 2, "b", 1, 7), ("dw", 1, "b", 2, 7))
    assert found(rows, dw=ALL) == [("doubled", "a", "dw", "dw")]


def test_a_row_that_moved_to_another_bucket_before_the_other_read_it_is_not_missed() -> None:
    missed = disagreements(
        versions(("db", 1, "a", 1, 7), ("db", 1, "b", 1, 7), ("db", 1, "c", 1, 7)), {"db": ALL, "dw": ALL}
    )
    elsewhere = versions(("dw", 1, "a", 2, 9), ("dw", 1, "b", 1, 9), ("db", 1, "c", 2, 9), ("dw", 1, "c", 0, 9))
    judged = moved_elsewhere(missed, elsewhere.select("source", "key", "updated_at"))
    assert [(row["problem"], row["key"]) for row in judged.to_dicts()] == [("differs", "b"), ("missing", "c")]


def test_three_sources_are_compared_in_pairs() -> None:
    rows = versions(("db", 1, "a", 1, 7), ("dw", 1, "a", 1, 7), ("export", 1, "b", 1, 7))
    assert len(found(rows, db=ALL, dw=ALL, export=ALL)) == 4


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        ([(None, "2024-02-01T01:00:00+00:00"), ("2024-02-01T01:00:00+00:00", "2024-02-01T02:00:00+00:00")], until(2)),
        ([("2024-02-01T01:00:00+00:00", "2024-02-01T02:00:00Z")], Interval(THEN + timedelta(hours=1), until(2).upper)),
    ],
)
def test_windows_cover_from_the_first_to_the_last(windows: list[tuple[str | None, str]], expected: Interval) -> None:
    assert covered(windows) == expected
