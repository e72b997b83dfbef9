"""Types in the files of a folder: values stay the same whatever encoding, width or unit another program writes."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.source.schema import ACCOUNTS, POSTS, TESTIMONIALS, TIMESTAMP
from pipelines.samples.folder import open_folder
from tests.worlds.source_folder import NOON, read, refusal, with_column, write


@pytest.mark.parametrize(
    ("name", "column", "values", "held", "expected"),
    [
        ("accounts", "handle", pa.array([1.0]), "double", "string"),
        ("accounts", "updated_at", pa.array([1.0]), "double", "timestamp[us, tz=UTC]"),
        ("posts", "hashtags", pa.array([1.0]), "double", "list<item: string>"),
        ("labels", "is_member", pa.array([1.0]), "double", "bool"),
        ("accounts", "followers", pa.array(["1"]), "string", "int64"),
        ("accounts", "handle", pa.array([1]), "int64", "string"),
        ("accounts", "handle", pa.array([b"a"]), "binary", "string"),
        ("accounts", "updated_at", pa.array(["2026-07-01"]), "string", "timestamp[us, tz=UTC]"),
        ("posts", "posted_at", pa.array([NOON.date()]), "date32[day]", "timestamp[us, tz=UTC]"),
        ("posts", "hashtags", pa.array(["a b"]), "string", "list<item: string>"),
        ("posts", "hashtags", pa.array([[1]]), "list<element: int64>", "list<item: string>"),
        ("labels", "is_member", pa.array([1]), "int64", "bool"),
    ],
)
def test_a_wrong_type(tmp_path: Path, name: str, column: str, values: pa.Array, held: str, expected: str) -> None:
    found = refusal(write(tmp_path, **{name: with_column(name, column, values)}))
    assert found == f"{tmp_path}/{name}.parquet column {column} has type {held}; expected {expected}."


NOT_UTF8 = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])


@pytest.mark.parametrize(
    ("name", "column", "values", "problem"),
    [
        ("testimonials", "rating", pa.array([1, 40_000]), "int16: Integer value 40000 not in range"),
        ("accounts", "followers", pa.array([1.5]), "int64: Float value 1.5"),
        ("accounts", "followers", pa.array([1.0, float("inf")]), "int64: Float value inf was truncated"),
        ("posts", "likes", pa.array([2.0**63]), "int64: Float value"),
        ("testimonials", "rating", pa.array([40_000.0], pa.float32()), "int16: Float value 40000"),
        ("accounts", "followers", pa.array([2**63], pa.uint64()), "int64: Integer value 9223372036854775808 not in"),
        ("accounts", "updated_at", pa.array([10**15], pa.timestamp("s")), "timestamp[us, tz=UTC]: Casting from"),
        ("accounts", "updated_at", pa.array([10**12], pa.timestamp("s")), "timestamp[us, tz=UTC]: a time is out"),
        ("posts", "posted_at", pa.array([-(10**17)], TIMESTAMP), "timestamp[us, tz=UTC]: a time is outside the"),
        ("posts", "text", NOT_UTF8, "string: In chunk 0: Invalid: Invalid UTF8"),
    ],
)
def test_a_value_that_does_not_fit(tmp_path: Path, name: str, column: str, values: pa.Array, problem: str) -> None:
    found = refusal(write(tmp_path, **{name: with_column(name, column, values)}))
    assert found.startswith(f"{tmp_path}/{name}.parquet column {column} holds a value that is not {problem}")
    assert "\n" not in found


NULL_TYPES = [pa.null(), pa.int32(), pa.float64(), pa.string(), pa.bool_(), pa.date32(), pa.list_(pa.int8()),
              pa.struct([("a", pa.int8())]), pa.dictionary(pa.int8(), pa.string())]  # fmt: skip


@pytest.mark.parametrize("held", NULL_TYPES, ids=str)
def test_an_all_null_column_of_any_type_is_taken(tmp_path: Path, held: pa.DataType) -> None:
    for field in POSTS.schema:
        table = with_column("posts", field.name, pa.nulls(2, held))
        found = read(open_folder(write(tmp_path, posts=table))["posts"])
        assert found.schema == POSTS.schema
        assert found[field.name].to_pylist() == [None, None]


TEXTS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
LISTS = [pa.list_(pa.large_string()), pa.list_(pa.string_view()), pa.large_list(pa.string()),
         pa.large_list(pa.large_string()), pa.list_(pa.dictionary(pa.int8(), pa.string()))]  # fmt: skip


@pytest.mark.parametrize("held", TEXTS, ids=str)
def test_every_encoding_of_text_is_taken(tmp_path: Path, held: pa.DataType) -> None:
    values = ["é", None, "", "🦊"]
    table = with_column("posts", "text", pa.array(values, held))
    assert read(open_folder(write(tmp_path, posts=table))["posts"])["text"].to_pylist() == values


@pytest.mark.parametrize("held", LISTS, ids=str)
def test_every_encoding_of_lists_is_taken(tmp_path: Path, held: pa.DataType) -> None:
    values = [["a", None], None, [], ["b"]]
    table = with_column("posts", "hashtags", pa.array(values, pa.list_(pa.string())).cast(held))
    assert read(open_folder(write(tmp_path, posts=table))["posts"])["hashtags"].to_pylist() == values


@pytest.mark.parametrize("held", [pa.int8(), pa.uint8(), pa.int16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()])
def test_every_width_of_integers_is_taken(tmp_path: Path, held: pa.DataType) -> None:
    values = [0, None, 127]
    for name, column in (("posts", "likes"), ("testimonials", "rating")):
        table = with_column(name, column, pa.array(values, held))
        assert read(open_folder(write(tmp_path, **{name: table}))[name])[column].to_pylist() == values


@pytest.mark.parametrize("missing", [None, float("nan")])
@pytest.mark.parametrize("held", [pa.float32(), pa.float64()], ids=str)
def test_integers_as_pandas_writes_them_beside_missing_values(
    tmp_path: Path, held: pa.DataType, missing: float | None
) -> None:
    for name, column in (("posts", "likes"), ("accounts", "followers"), ("testimonials", "rating")):
        table = with_column(name, column, pa.array([3.0, missing, 0.0, -0.0], held, from_pandas=False))
        assert read(open_folder(write(tmp_path, **{name: table}))[name])[column].to_pylist() == [3, None, 0, 0]


def test_a_column_with_only_nan_is_all_null(tmp_path: Path) -> None:
    table = with_column("posts", "text", pa.array([float("nan"), None], from_pandas=False))
    assert read(open_folder(write(tmp_path, posts=table))["posts"])["text"].to_pylist() == [None, None]


UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@given(
    seconds=st.integers(-9_000_000_000, 9_000_000_000),
    fraction=st.integers(0, 10**9 - 1),
    unit=st.sampled_from(list(UNITS)),
    zone=st.sampled_from([None, "UTC", "America/New_York", "+05:30"]),
    encoded=st.booleans(),
)
def test_a_time_of_any_unit_and_zone_is_the_same_moment(
    tmp_path_factory: pytest.TempPathFactory, seconds: int, fraction: int, unit: str, zone: str | None, encoded: bool
) -> None:
    per_second = UNITS[unit]
    held = seconds * per_second + fraction * per_second // 10**9
    values = pa.array([held, None], pa.timestamp(unit, zone))
    table = with_column("posts", "posted_at", values.dictionary_encode() if encoded else values)
    folder = tmp_path_factory.mktemp("times")
    found = read(open_folder(write(folder, posts=table))["posts"])["posted_at"]
    # Arrow cuts the digits below a microsecond towards zero.
    exact, rest = divmod(abs(held) * 10**6, per_second)
    assert rest == 0 or unit == "ns"
    assert found.cast(pa.int64()).to_pylist() == [exact if held >= 0 else -exact, None]


def test_times_as_spark_writes_them_do_not_wrap_around(tmp_path: Path) -> None:
    """INT96 read as nanoseconds ends in 2262."""
    late = datetime(9999, 12, 31, tzinfo=UTC)
    write(tmp_path)
    pq.write_table(
        with_column("posts", "posted_at", pa.array([late], pa.timestamp("us"))),
        tmp_path / "posts.parquet",
        use_deprecated_int96_timestamps=True,
    )
    assert read(open_folder(tmp_path)["posts"])["posted_at"].to_pylist() == [late]


def some(field: pa.Field) -> st.SearchStrategy[Any]:
    by_type: Mapping[pa.DataType, st.SearchStrategy[Any]] = {
        pa.string(): st.text(max_size=9),
        pa.int64(): st.integers(-(2**63), 2**63 - 1),
        pa.int16(): st.integers(-(2**15), 2**15 - 1),
        TIMESTAMP: st.datetimes(timezones=st.just(UTC)),
        pa.list_(pa.string()): st.lists(st.none() | st.text(max_size=4), max_size=3),
    }
    return st.none() | by_type[field.type]


@given(data=st.data(), table=st.sampled_from([ACCOUNTS, POSTS, TESTIMONIALS]))
def test_rows_of_the_declared_types_come_through_unchanged(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, table: Any
) -> None:
    row = st.fixed_dictionaries({field.name: some(field) for field in table.schema})
    written = pa.Table.from_pylist(data.draw(st.lists(row, min_size=1, max_size=5)), schema=table.schema)
    folder = write(tmp_path_factory.mktemp("rows"), **{table.name: written})
    assert read(open_folder(folder)[table.name]) == written
