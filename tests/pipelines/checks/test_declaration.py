"""Declarations of checks: what they ask for and are called with, and the counts that promises are made of."""

import polars as pl
import pyarrow as pa
import pytest
from dagster import AssetKey

from assets.transforms.source.schema import SOURCE_TABLES, SourceTable
from pipelines.checks.declaration import Check, check, check_tables, count, deviation, differences
from resources.delta.table import TableSpec


def _promise(bucket: int, lake: object, instance: object) -> int:
    """Every row is there."""
    return 0


def test_a_check_asks_for_the_resources_of_all_its_functions() -> None:
    found = Check("raw/posts", "whole", _promise, version=lambda s3: "", ledger_name=lambda ledger: "")
    assert [*found.resources] == ["lake", "s3", "ledger"]
    assert [*Check("raw/posts", "whole", _promise).resources] == ["lake"]


def test_a_function_is_called_with_what_it_asks_for() -> None:
    found = Check("raw/posts", "whole", _promise)
    given = {"lake": "lake", "s3": "s3"}
    assert found.call(lambda lake, bucket: (lake, bucket), given, bucket=3, instance="instance") == ("lake", 3)


@pytest.mark.parametrize("guards", [False, True])
def test_dagster_shows_the_promise_and_blocks_on_a_guard(guards: bool) -> None:
    spec = Check("raw/posts", "whole", _promise, guards=guards).spec
    assert (spec.name, spec.asset_key) == ("whole", AssetKey(["raw", "posts"]))
    assert (spec.description, spec.blocking) == ("Every row is there.", guards)


def test_a_check_has_the_name_of_its_function_unless_it_is_given_one() -> None:
    made = check("raw/posts", "rows")(_promise)
    assert made == Check("raw/posts", "_promise", _promise, "rows")
    assert (made.reads, made.version, made.ledger_name, made.via) == ((), None, None, ())
    assert not any((made.by_bucket, made.guards, made.advises, made.daily))
    assert check("raw/posts", name="whole", daily=True)(_promise) == Check("raw/posts", "whole", _promise, daily=True)


def test_a_check_of_the_source_tables_is_one_of_each() -> None:
    def whole(table: SourceTable, lake: str) -> int:
        """Every row is there."""
        return len(f"{table.name}{lake}")

    schema = pa.schema([("key", pa.string())])
    specs = {name: TableSpec(f"lake/{name}", schema, ("key",), partitioned=False) for name in SOURCE_TABLES}
    made = check_tables("lake", "rows", specs=specs, version=lambda table, s3: f"{table.name} {s3}", guards=True)(whole)
    assert [found.asset for found in made] == [f"lake/{name}" for name in SOURCE_TABLES]
    for found, (name, spec) in zip(made, specs.items(), strict=True):
        assert (found.name, found.problem, found.reads, found.guards) == ("whole", "rows", (spec,), True)
        assert [*found.resources] == ["lake", "s3"]
        assert found.call(found.promise, {"lake": "!", "s3": "?"}) == len(name) + 1
        assert found.version is not None
        assert found.call(found.version, {"lake": "!", "s3": "?"}) == f"{name} ?"
        assert found.spec.description == "Every row is there."
    plain = check_tables("lake")(whole)
    assert [(found.problem, found.reads, found.version) for found in plain] == [("", (), None)] * len(SOURCE_TABLES)


def test_differences_are_rows_that_only_one_table_has_repeated_ones_included() -> None:
    expected = pl.LazyFrame({"key": ["a", "a", "b", None], "n": [1, 1, 2, None]})
    assert differences(expected, expected.reverse()) == 0
    other = pl.LazyFrame({"key": ["a", "b", "b", "c", None], "more": 0, "n": [1, 2, 2, 3, None]})
    assert differences(expected, other.with_columns(pl.col("n").cast(pl.Int32))) == 3
    assert differences(expected.clear(), expected) == 4
    assert differences(expected, expected.clear()) == 4


def test_a_deviation_is_the_sum_of_all_differences_of_two_rows() -> None:
    expected = pl.LazyFrame({"a": [3], "b": [None], "c": [5], "d": [7]}, schema_overrides={"b": pl.Int64})
    found = pl.LazyFrame({"a": [4], "b": [2], "c": [None], "d": [7]}, schema_overrides={"c": pl.Int64})
    assert deviation(expected, found) == 1 + 2 + 5
    assert deviation(expected, expected) == 0
    with pytest.raises(ValueError, match="shorter"):
        deviation(expected, found.drop("d"))


def test_rows_are_counted() -> None:
    assert count(pl.LazyFrame({"a": [1, None, 3]})) == 3
