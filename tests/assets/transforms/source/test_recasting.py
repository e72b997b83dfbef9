"""Values in declared types: Postgres text forms against Postgres and a reference parser, and losses as nulls."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.transforms.source.recasting import recast
from assets.transforms.source.schema import TIMESTAMP
from resources.local_stack import EmbeddedStack

TEXTS = pa.list_(pa.string())
ELEMENTS = st.lists(
    st.one_of(
        st.none(),
        st.sampled_from(["", "NULL", "null", " ", 'a"b', "a\\b", "{", "}", ",", "a b", "\u00a0", "\n", "é", "#fit"]),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    ),
    max_size=6,
)


def one(value: object, declared: pa.DataType) -> object:
    return recast(pl.Series([value]), declared)[0] if not pa.types.is_list(declared) else (
        recast(pl.Series([value]), declared).to_list()[0]
    )  # fmt: skip


def reference(literal: str) -> list[str | None]:
    """An array literal, character by character, as Postgres' array_in reads it."""
    found: list[str | None] = []
    body = literal[literal.index("{") + 1 : -1]
    at = 0
    while at < len(body):
        if body[at] == '"':
            at, text = at + 1, ""
            while body[at] != '"':
                at += body[at] == "\\"
                text, at = text + body[at], at + 1
            found.append(text)
            at += 2  # the quote and the comma
        else:
            end = body.find(",", at) if "," in body[at:] else len(body)
            plain = body[at:end]
            found.append(None if plain.upper() == "NULL" else plain)
            at = end + 1
    return found


def printed(elements: list[str | None]) -> str:
    """An array literal as Postgres' array_out prints it."""

    def element(text: str | None) -> str:
        if text is None:
            return "NULL"
        plain = text and text.upper() != "NULL" and not set(text) & set('{}",\\ \t\n\r\v\f')
        return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return "{" + ",".join(element(item) for item in elements) + "}"


@given(st.lists(ELEMENTS, max_size=4))
def test_array_literals_are_read_as_the_reference_reads_them(lists: list[list[str | None]]) -> None:
    literals = [printed(elements) for elements in lists]
    assert [reference(literal) for literal in literals] == lists
    assert recast(pl.Series(literals, dtype=pl.String), TEXTS).to_list() == lists


@given(st.lists(ELEMENTS, max_size=4))
def test_json_arrays_are_read(lists: list[list[str | None]]) -> None:
    written = [json.dumps(elements, ensure_ascii=len(elements) % 2 == 0) for elements in lists]
    assert recast(pl.Series(written, dtype=pl.String), TEXTS).to_list() == lists


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(lists=st.lists(ELEMENTS, min_size=1, max_size=20))
def test_what_postgres_prints_is_what_it_was_given(
    source: "psycopg.Connection[Any]", lists: list[list[str | None]]
) -> None:
    literals = [source.execute("SELECT %s::text[]::text", (elements,)).fetchone() for elements in lists]
    assert recast(pl.Series([literal[0] for literal in literals if literal]), TEXTS).to_list() == lists


@pytest.mark.parametrize(
    "text", ["", "a", "{a", "a}", "{a,}", "{,a}", '{"a}', '{"a"b}', "{{a},{b}}", "[1]", '[["a"]]', '["\\ud800"]', "{}x"]
)
def test_what_is_no_list_of_text_is_null(text: str) -> None:
    assert one(text, TEXTS) is None


def test_bounds_and_spaces_of_array_literals_are_read() -> None:
    assert one("[0:1]={a,NULL}", TEXTS) == ["a", None]
    assert one('{ a , "b" }', TEXTS) == ["a", "b"]
    assert one("{ }", TEXTS) == []


MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC))  # noqa: DTZ001
OFFSETS = st.integers(-15 * 3600, 15 * 3600)


@given(st.lists(st.tuples(MOMENTS, OFFSETS, st.integers(0, 6), st.sampled_from(" T")), max_size=4))
def test_moments_are_read_at_any_offset_and_precision(cases: list[tuple[datetime, int, int, str]]) -> None:
    texts, expected = [], []
    for moment, offset, digits, between in cases:
        fraction = f"{moment.microsecond:06d}"[:digits]
        expected.append(moment.replace(microsecond=int(fraction.ljust(6, "0"))))
        local = expected[-1].astimezone(timezone(timedelta(seconds=offset)))
        hours, rest = divmod(abs(offset), 3600)
        zone = f"{'-' if offset < 0 else '+'}{hours:02d}" + (f":{rest // 60:02d}" if rest else "")
        zone += f":{rest % 60:02d}" if rest % 60 else ""
        # strftime does not pad the years before 1000.
        texts.append(f"{local.year:04d}-{local:%m-%d}{between}{local:%H:%M:%S}{'.' * bool(fraction)}{fraction}{zone}")
    assert recast(pl.Series(texts, dtype=pl.String), TIMESTAMP).to_list() == expected


def test_what_postgres_prints_for_a_moment_is_that_moment(stack: EmbeddedStack) -> None:
    with psycopg.connect(stack.postgres_dsn) as connection:
        for zone in ("UTC", "Asia/Kolkata", "America/St_Johns", "Europe/Amsterdam"):
            connection.execute(f"SET TimeZone = '{zone}'".encode())
            for moment in ("2024-02-01 08:00:00.12Z", "1900-01-01 00:00:00Z", "2024-07-01 23:59:59.999999Z"):
                row = connection.execute("SELECT %s::timestamptz::text", (moment,)).fetchone()
                assert row
                assert one(row[0], TIMESTAMP) == datetime.fromisoformat(moment)


@pytest.mark.parametrize("text", [
    "infinity", "-infinity", "0044-03-15 00:00:00+00 BC", "10000-01-01 00:00:00+00", "2024-02-30 08:00:00+00",
    "2024-02-01 08:00:60+00", "2024-02-01 25:00:00+00", "yesterday", "", "2024-02-01 08:00:00.1234567+00",
])  # fmt: skip
def test_moments_that_cannot_be_kept_are_null(text: str) -> None:
    assert one(text, TIMESTAMP) is None


def test_times_without_a_zone_are_utc_and_finer_units_must_fit() -> None:
    noon = datetime(2024, 2, 1, 12, tzinfo=UTC)
    for value in ("2024-02-01 12:00:00", "2024-02-01T12:00:00Z", noon.replace(tzinfo=None)):
        assert one(value, TIMESTAMP) == noon
    assert one("2024-02-01", TIMESTAMP) == one(date(2024, 2, 1), TIMESTAMP) == noon.replace(hour=0)
    nanoseconds = pl.Series([1_000, 1_001]).cast(pl.Datetime("ns"))
    assert recast(nanoseconds, TIMESTAMP).to_list() == [datetime(1970, 1, 1, microsecond=1, tzinfo=UTC), None]
    assert one(5, TIMESTAMP) is None


@given(st.lists(st.integers(-(2**64), 2**64), max_size=4), st.sampled_from(["", ".", ".00"]))
def test_whole_numbers_are_read_if_they_fit(numbers: list[int], tail: str) -> None:
    texts = pl.Series([f"{number}{tail}" for number in numbers], dtype=pl.String)
    for declared, bits in ((pa.int64(), 63), (pa.int16(), 15)):
        assert recast(texts, declared).to_list() == [n if -(2**bits) <= n < 2**bits else None for n in numbers]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("12.5", None), ("NaN", None), ("1e3", None), (12.0, 12), (12.5, None), (float("nan"), None), (1e300, None),
     (2.0**60, None), (Decimal("3.00"), 3), (Decimal("3.50"), None), (True, None), (b"1", None), ("--1", None)],
)  # fmt: skip
def test_a_number_that_is_not_whole_is_null(value: object, expected: int | None) -> None:
    assert one(value, pa.int64()) == expected


def test_text_and_truth_are_read() -> None:
    assert recast(pl.Series([b"caf\xc3\xa9", b"\xff", None]), pa.string()).to_list() == ["café", None, None]
    assert recast(pl.Series([1, None]), pa.string()).to_list() == ["1", None]
    assert recast(pl.Series([["a"]]), pa.string()).to_list() == [None]
    assert recast(pl.Series(["t", "false", "yes", None]), pa.bool_()).to_list() == [True, False, None, None]
    assert recast(pl.Series(["1.5", "x"]), pa.float64()).to_list() == [1.5, None]
    with pytest.raises(TypeError, match="date32"):
        recast(pl.Series(["2024-02-01"]), pa.date32())
