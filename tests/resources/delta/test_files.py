"""Files of lake tables: few bytes are read and held in memory, and statistics are bounds for any value."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import obstore
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.delta import files, writer
from resources.delta.file_cache import FILE_CACHE, KEPT_BYTES
from resources.delta.merge import FILE
from resources.delta.statistics import Statistics, greatest_bound, least_bound
from resources.delta.table import Changes, LakeResource, TableSpec

SPEC = TableSpec(
    "lake/long",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            ("key", pa.string()),
            ("body", pa.string()),
            ("updated_at", pa.timestamp("us", tz="UTC")),
        ]
    ),
    ("key",),
    row_group_bytes=70_000,
)
ROWS = 4_000


def rows(numbers: range, day: int = 1) -> pl.DataFrame:
    """Return rows with bodies of 240 characters that compress badly; 250 of them are a row group here."""
    hashes = [pl.Series(numbers, dtype=pl.Int64).hash(day * 100 + part).cast(pl.String) for part in range(12)]
    bodies = pl.DataFrame({str(part): found for part, found in enumerate(hashes)}).select(pl.concat_str(pl.all()))
    return pl.DataFrame(
        {"account_bucket": 0, "key": [f"k{number:05d}" for number in numbers], "body": bodies.to_series()}
    ).with_columns(updated_at=pl.lit(datetime(2024, 1, day, tzinfo=UTC)))


@pytest.fixture
def long(lake: LakeResource, monkeypatch: pytest.MonkeyPatch) -> LakeResource:
    """A table of one file with many row groups, which is read in ranges because of its size."""
    monkeypatch.setattr(files, "_WHOLE_BYTES", 1_000)
    monkeypatch.setattr(files, "BATCH_BYTES", 70_000)
    lake.append(SPEC, rows(range(ROWS)))
    FILE_CACHE.keep("other files", bytes(KEPT_BYTES))
    return lake


def size(lake: LakeResource) -> int:
    [contents] = lake.contents(SPEC).values()
    return contents.size_bytes


def test_a_few_keys_cost_a_few_row_groups(long: LakeResource, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    get_range = obstore.get_range

    def counted(store: Any, path: str, *, start: int, end: int) -> Any:
        asked.append(end - start)
        return get_range(store, path, start=start, end=end)

    monkeypatch.setattr(obstore, "get_range", counted)
    snapshot = long.snapshot(SPEC)
    assert snapshot is not None
    lookup = long.lookup(SPEC, snapshot)
    found = lookup.rows_of(pl.DataFrame({"key": ["k01234", "absent"]}), ["key", "body"])
    assert found.drop(FILE).rows() == rows(range(1_234, 1_235)).select("key", "body").rows()
    assert 0 < sum(asked) < (64 << 10) + size(long) / 8, "the end of the file, and a row group"
    asked.clear()
    assert lookup.rows_of(pl.DataFrame({"key": ["z"]}), ["body"]).is_empty()
    assert asked == [], "the log shows that no file contains it"


def test_a_change_of_a_long_file_holds_a_batch_of_it(long: LakeResource, monkeypatch: pytest.MonkeyPatch) -> None:
    heights: list[int] = []
    batches = files.OpenFile.batches

    def counted(self: files.OpenFile) -> Iterator[pl.DataFrame]:
        for batch in batches(self):
            heights.append(batch.height)
            yield batch

    written: list[int] = []
    write = writer._NewFile.write
    monkeypatch.setattr(files.OpenFile, "batches", counted)

    def written_too(self: Any, rows: pl.DataFrame) -> None:
        written.append(rows.height)
        write(self, rows)

    monkeypatch.setattr(writer._NewFile, "write", written_too)
    change = pl.concat([rows(range(500, 501), day=2), rows(range(ROWS, ROWS + 1), day=2)])
    assert long.merge_newer(SPEC, change, [0], {}) == Changes(inserted=1, updated=1)
    assert sum(heights) == ROWS
    assert max(heights) <= 1_000
    assert max(written) <= 1_000
    assert long.scan(SPEC).collect().height == ROWS + 1


values = (
    st.text(max_size=90)
    | st.datetimes(timezones=st.just(UTC))
    | st.dates(date(1900, 1, 1), date(2200, 1, 1))
    | st.integers(-(2**62), 2**62)
)


def read_back(bound: Any, value: Any) -> Any:
    if isinstance(value, datetime):
        return datetime.fromisoformat(bound)
    return date.fromisoformat(bound) if isinstance(value, date) else bound


@pytest.mark.parametrize(
    ("value", "least", "greatest"),
    [
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), "9999-12-31T23:59:59.999Z", None),
        (datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC), *["9999-12-31T23:59:59.999Z"] * 2),
        (datetime(1, 1, 1, tzinfo=UTC), *["0001-01-01T00:00:00.000Z"] * 2),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00.000Z"),
        (date(1, 1, 1), *["0001-01-01"] * 2),
        (date(9999, 12, 31), *["9999-12-31"] * 2),
        (2**63 - 1, *[2**63 - 1] * 2),
        (-(2**63), *[-(2**63)] * 2),
        (math.nan, None, None),
        (math.inf, None, None),
        (-math.inf, None, None),
        ("\U0010ffff" * 70, "\U0010ffff" * 64, "\U0010ffff" * 65),
        (None, None, None),
    ],
)
def test_bounds_at_the_edges_of_each_type(value: Any, least: Any, greatest: Any) -> None:
    made = Statistics(["x"])
    made.add(pl.DataFrame({"x": [value]}))
    written = json.loads(made.to_json(1), parse_constant=pytest.fail)
    assert written["minValues"] == ({} if least is None else {"x": least})
    assert written["maxValues"] == ({} if greatest is None else {"x": greatest})


@settings(max_examples=50, deadline=None)
@given(values)
def test_bounds_hold_the_value(value: Any) -> None:
    greatest = greatest_bound(value)
    assert read_back(least_bound(value), value) <= value
    assert greatest is None or value <= read_back(greatest, value)
    if isinstance(value, str):
        assert len(greatest_bound(value)) <= 65
