"""The contract with a source: what differs, what each policy makes of it, and rows that cannot be cast."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa
import pytest

from assets.transforms.source.contract import compare, landed_schema, read_columns, recast_rows, recast_table
from assets.transforms.source.schema import (
    ACCOUNTS,
    POSTS,
    REASON,
    SOURCE_TABLES,
    TESTIMONIALS,
    TIMESTAMP,
    Policy,
    SourceTable,
)

POSTGRES = {
    "string": "text", "int64": "bigint", "int16": "smallint", "list<item: string>": "ARRAY",
    "timestamp[us, tz=UTC]": "timestamp with time zone",
}  # fmt: skip
THEN = datetime(2024, 2, 1, tzinfo=UTC)


def declared(table: SourceTable, **changes: str | None) -> dict[str, str]:
    """The columns that a table has when it keeps the contract, with changes; None takes one out."""
    columns = {field.name: POSTGRES[str(field.type)] for field in table.schema}
    return {name: found for name, found in {**columns, **changes}.items() if found is not None}


@pytest.mark.parametrize("table", SOURCE_TABLES.values(), ids=lambda table: table.name)
def test_the_declared_columns_are_no_difference(table: SourceTable) -> None:
    found = compare(table, declared(table))
    assert found.is_empty
    assert not found.is_refused
    assert found.describe() == f"{table.name} has the declared columns."
    assert landed_schema(found) == table.schema
    assert read_columns(found, declared(table)) == tuple(table.schema.names)


def test_the_embedded_database_keeps_the_contract_in_either_of_its_vocabularies(
    source: "psycopg.Connection[Any]",
) -> None:
    for table in SOURCE_TABLES.values():
        for words in ("data_type", "format_type(a.atttypid, a.atttypmod)", "udt_name"):
            rows = source.execute(
                f"SELECT column_name, {words} FROM information_schema.columns c JOIN pg_attribute a "
                "ON a.attrelid = c.table_name::regclass AND a.attname = c.column_name "
                "WHERE table_schema = 'public' AND table_name = %s".encode(),
                (table.name,),
            ).fetchall()
            assert compare(table, dict(rows)).is_empty, words


@pytest.mark.parametrize(("column", "found"), [
    ("likes", "integer"), ("likes", "smallint"), ("text", "character varying(255)"), ("network", "USER-DEFINED"),
    ("post_id", "uuid"),
    ("network", "enum"), ("updated_at", "timestamp(3) with time zone"), ("updated_at", "timestamp without time zone"),
    ("hashtags", "super"), ("hashtags", "text[]"), ("text", "longtext"), ("updated_at", "datetime(6)"),
])  # fmt: skip
def test_types_whose_values_all_fit_are_no_difference(column: str, found: str) -> None:
    assert compare(POSTS, declared(POSTS, **{column: found})).is_empty


@pytest.mark.parametrize(("column", "found"), [
    ("likes", "numeric(10,2)"), ("likes", "text"), ("text", "bytea"), ("text", "jsonb"), ("updated_at", "date"),
    ("updated_at", "bigint"), ("hashtags", "text"), ("hashtags", "jsonb"), ("likes", "double precision"),
])  # fmt: skip
def test_types_with_values_that_may_not_fit_are_a_difference(column: str, found: str) -> None:
    difference = compare(POSTS, declared(POSTS, **{column: found}))
    assert difference.retyped == {column: (found, str(POSTS.schema.field(column).type))}
    assert compare(TESTIMONIALS, declared(TESTIMONIALS, rating="integer")).retyped == {"rating": ("integer", "int16")}


def test_the_exact_difference_is_one_sentence() -> None:
    columns = declared(POSTS, reach="integer", embed="bytea", media_url=None, likes="text")
    found = compare(POSTS, columns)
    assert found.describe() == (
        "posts, policy evolve: embed (bytea) was added and left out, because its type has no counterpart in "
        "the lake; reach (integer) was added; media_url is gone; "
        "likes is text, declared int64."
    )


@pytest.mark.parametrize(("policy", "carried", "refused"), [
    (Policy.EVOLVE, {"reach": pa.int32(), "extra": pa.string(), "tags": pa.list_(pa.string())}, False),
    (Policy.DISCARD, {}, False),
    (Policy.FREEZE, {}, True),
])  # fmt: skip
def test_each_policy_makes_its_own_of_added_columns(
    policy: Policy, carried: dict[str, pa.DataType], refused: bool
) -> None:
    table = replace(POSTS, policy=policy)
    columns = declared(table, reach="integer", extra="jsonb", tags="text[]", embed="bytea")
    found = compare(table, columns)
    assert (found.carried(), found.is_refused) == (carried, refused)
    assert landed_schema(found).names == [*table.schema.names, *sorted(carried)]
    assert set(read_columns(found, columns)) == {*table.schema.names, *carried}


@pytest.mark.parametrize("policy", list(Policy))
def test_without_a_column_that_every_row_needs_nothing_is_read(policy: Policy) -> None:
    table = replace(ACCOUNTS, policy=policy)
    assert compare(table, declared(table, updated_at=None)).is_refused
    assert compare(table, declared(table, bio=None)).is_refused == (policy is Policy.FREEZE)


@pytest.mark.parametrize("kind", ["date", "text", "bigint", "double precision", "time without time zone"])
def test_without_times_to_cut_windows_by_nothing_is_read(kind: str) -> None:
    difference = compare(POSTS, declared(POSTS, updated_at=kind))
    assert difference.is_refused
    assert f"updated_at is {kind}, declared timestamp[us, tz=UTC]." in difference.describe()
    assert not compare(POSTS, declared(POSTS, updated_at="timestamp without time zone")).is_refused


def test_each_table_has_the_policy_that_was_decided() -> None:
    assert {name: table.policy for name, table in SOURCE_TABLES.items()} == {
        "accounts": Policy.DISCARD,
        "posts": Policy.EVOLVE,
        "testimonials": Policy.FREEZE,
    }


def test_rows_are_cast_and_those_that_lose_something_are_set_aside_whole() -> None:
    schema = pa.schema([("id", pa.string()), ("likes", pa.int64()), ("at", TIMESTAMP), ("gone", pa.string())])
    rows = pa.table(
        {
            "id": ["a", "b", "c", "d"],
            "likes": ["1", "many", None, "2.5"],
            "at": ["2024-02-01 00:00:00+00", "2024-02-01 00:00:00+00", "infinity", "0044-03-15 00:00:00+00 BC"],
            "unasked": [1, 2, 3, 4],
        }
    )
    cast, rejects = recast_rows(schema, rows)
    assert cast.schema == schema
    assert cast.to_pylist() == [{"id": "a", "likes": 1, "at": THEN, "gone": None}]
    assert rejects.to_dicts() == [
        {"id": "b", "likes": "many", "at": "2024-02-01 00:00:00+00", "unasked": 2,
         REASON: "likes cannot be read as int64"},
        {"id": "c", "likes": None, "at": "infinity", "unasked": 3,
         REASON: "at cannot be read as timestamp[us, tz=UTC]"},
        {"id": "d", "likes": "2.5", "at": "0044-03-15 00:00:00+00 BC", "unasked": 4,
         REASON: "likes cannot be read as int64"},
    ]  # fmt: skip


def test_whatever_type_a_rejected_row_has_it_can_be_kept_as_json() -> None:
    rows = pa.table({"id": ["a"], "likes": [float("nan")], "text": [b"\xff\x00"], "tags": [[b"\xff"]]})
    _, rejects = recast_rows(pa.schema([("id", pa.string()), ("likes", pa.int64()), ("text", pa.string())]), rows)
    [kept] = rejects.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    assert json.loads(kept) == {
        "id": "a", "likes": "NaN", "text": "\\xff00", "tags": "[b'\\xff']", REASON: "likes cannot be read as int64",
    }  # fmt: skip


def test_columns_that_have_their_type_are_not_copied() -> None:
    rows = pa.table({"id": pa.array(["a"]), "likes": pa.array([1], pa.int32())})
    cast, rejects = recast_rows(pa.schema([("id", pa.string()), ("likes", pa.int64())]), rows)
    assert rejects.is_empty()
    assert cast["id"].chunk(0).buffers()[2].address == rows["id"].chunk(0).buffers()[2].address
    assert cast["likes"].to_pylist() == [1]


@pytest.mark.parametrize(("name", "cause"), [
    ("Likes", "its name differs only in case from likes"),
    ("POST_ID", "its name differs only in case from post_id"),
    ("account_bucket", "its name is reserved"),
    ("_change_type", "its name is reserved"),
    ("_commit_version", "its name is reserved"),
    (REASON, "its name is reserved"),
    ("two words", "Spark and Athena refuse a character of its name"),
    ("a;b", "Spark and Athena refuse a character of its name"),
    ("a\tb", "Spark and Athena refuse a character of its name"),
    ("a\nb", "Spark and Athena refuse a character of its name"),
    ("f(x)", "Spark and Athena refuse a character of its name"),
    ("a=b", "Spark and Athena refuse a character of its name"),
    ("{a}", "Spark and Athena refuse a character of its name"),
    (" ", "Spark and Athena refuse a character of its name"),
])  # fmt: skip
@pytest.mark.parametrize("in_lake", [(), (*POSTS.schema.names, "account_bucket")], ids=["before the lake", "after it"])
def test_an_added_column_whose_name_cannot_enter_the_lake_is_left_out_and_named(
    name: str, cause: str, in_lake: tuple[str, ...]
) -> None:
    columns = {**declared(POSTS, reach="integer"), name: "integer"}
    found = compare(POSTS, columns, in_lake)
    assert found.carried() == {"reach": pa.int32()}
    assert not found.is_refused
    assert f"{name} (integer) was added and left out, because {cause}" in found.describe()
    assert set(read_columns(found, columns)) == {*POSTS.schema.names, "reach"}


def test_of_added_columns_that_differ_only_in_case_none_travels() -> None:
    found = compare(POSTS, declared(POSTS, reach="integer", Reach="integer", STRASSE="text", straße="text"))
    assert found.carried() == {}
    assert found.describe().count("differs only in case") == 4


_TOO_LATE, _TOO_EARLY = "infinity, or after the year 9999", "-infinity, or before the year 1"


@pytest.mark.parametrize("given", [
    pa.timestamp("us", "UTC"), pa.timestamp("us"), pa.timestamp("ms"), pa.timestamp("us", "America/New_York"),
    pa.date32(),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("declared_type", [TIMESTAMP, pa.string()], ids=str)
def test_a_time_that_no_reader_can_show_is_rejected_and_its_row_can_be_kept(
    given: pa.DataType, declared_type: pa.DataType
) -> None:
    bits = pa.int32() if given == pa.date32() else pa.int64()
    extremes = [2 ** (bits.bit_width - 1) - 1, -(2 ** (bits.bit_width - 1)), 0, None]
    rows = pa.table({"id": ["late", "early", "1970", "null"], "at": pa.array(extremes, bits).cast(given)})
    cast, rejects = recast_rows(pa.schema([("id", pa.string()), ("at", declared_type)]), rows)
    assert cast["id"].to_pylist() == ["1970", "null"]
    kept = [json.loads(text) for text in rejects.select(pl.struct(pl.all()).struct.json_encode()).to_series()]
    assert [(row["id"], row["at"]) for row in kept] == [("late", _TOO_LATE), ("early", _TOO_EARLY)]
    assert {row[REASON] for row in kept} == {f"at cannot be read as {declared_type}"}


def test_a_list_of_times_that_no_reader_can_show_can_be_kept() -> None:
    times = pa.array([[2**63 - 1]], pa.list_(pa.int64())).cast(pa.list_(pa.timestamp("us")))
    _, rejects = recast_rows(pa.schema([("tags", pa.list_(pa.string()))]), pa.table({"tags": times}))
    [kept] = rejects.select(pl.struct(pl.all()).struct.json_encode()).to_series()
    assert json.loads(kept)["tags"] == [2**63 - 1]


def test_no_rows_are_cast_to_none() -> None:
    empty = pa.table({"likes": pa.array([], pa.string()), "tags": pa.array([], pa.string())})
    schema = pa.schema([("likes", pa.int64()), ("tags", pa.list_(pa.string()))])
    cast, rejects = recast_rows(schema, empty)
    assert cast.schema == schema
    assert cast.num_rows == rejects.height == 0


def test_a_damaged_time_zone_rejects_at_most_its_rows() -> None:
    """One bit of a Parquet file's schema turns UTC into TTC, which no time zone database has."""
    unknown = pa.timestamp("us", "TTC")
    schema = pa.schema([("posted_at", pa.timestamp("us", "UTC")), ("hashtags", pa.list_(pa.string()))])
    times = pa.array([1, None], pa.int64()).view(unknown)
    kept, rejects = recast_rows(schema, pa.table({"posted_at": times}))
    assert kept["posted_at"].cast(pa.int64()).to_pylist() == [1, None]
    assert rejects.is_empty()
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 1]), times.slice(0, 1), mask=pa.array([False, True]))
    kept, rejects = recast_rows(schema, pa.table({"hashtags": lists}))
    assert kept["hashtags"].to_pylist() == [None]
    assert rejects[REASON].to_list() == ["hashtags cannot be read as list<item: string>"]


def test_a_deletion_row_outlives_that_its_column_was_retyped() -> None:
    rows = pa.table({"id": ["a", "b"], "price": ["1.50", "3"], "size": pa.array([1 << 40, 2], pa.int64())})
    schema = pa.schema([("id", pa.string()), ("price", pa.int32()), ("size", pa.int32()), ("new", pa.bool_())])
    assert recast_table(schema, rows).to_pylist() == [
        {"id": "a", "price": None, "size": None, "new": None},
        {"id": "b", "price": 3, "size": 2, "new": None},
    ]
