"""The figures that engines are compared by are the same in SQL and in polars, and show what differs."""

from datetime import UTC, date, datetime
from io import StringIO
from pathlib import Path

import duckdb
import polars as pl
import pytest
from rich.console import Console

from resources.errors import InputError
from tests.benchmarks import engines
from tests.benchmarks.engines_figures import Answer, Dialect, differences, in_polars, query

DUCKDB = Dialect('"', "epoch_us({0}) // 1000", "date_diff('day', date '1970-01-01', {0})", "len({0})")
ROWS = pl.DataFrame(
    {
        "kind": ["insert", "delete", "insert"],
        "text": ["a", "👍é", None],
        "column": [1, None, 1 << 62],
        "share": [0.1, 0.2, None],
        "is_new": [True, False, None],
        "day": [date(1969, 12, 31), date(2024, 2, 29), None],
        "at": [datetime(2024, 1, 2, 3, 4, 5, 678_901, UTC), datetime(1960, 1, 1, tzinfo=UTC), None],
        "items": [["x", None], [], None],
    }
)


def answer(rows: pl.DataFrame, by: tuple[str, ...] = ()) -> Answer:
    asked = query(DUCKDB, "rows", rows.schema, by)
    with duckdb.connect() as connection:
        connection.register("rows", rows.to_arrow())
        return [[str(value) for value in row] for row in connection.execute(asked).fetchall()]


@pytest.mark.parametrize("by", [(), ("kind",)])
def test_sql_and_polars_have_the_same_figures(by: tuple[str, ...]) -> None:
    assert differences(in_polars(ROWS, ROWS.schema, by), answer(ROWS, by)) == []
    assert differences(in_polars(ROWS.clear(), ROWS.schema), answer(ROWS.clear())) == []


@pytest.mark.parametrize(
    "changed",
    [
        pl.lit("b").alias("text"),
        (pl.col("column") + 1).alias("column"),
        (pl.col("share") + 1e-6).alias("share"),
        pl.lit(value=True).alias("is_new"),
        pl.col("day").dt.offset_by("1d"),
        pl.col("at").dt.offset_by("1ms"),
        pl.col("items").list.concat(pl.lit("y")),
        pl.lit("insert").alias("kind"),
    ],
)
def test_a_difference_is_found(changed: pl.Expr) -> None:
    assert differences(in_polars(ROWS, ROWS.schema), answer(ROWS.with_columns(changed))) != []


def test_the_bench_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.benchmarks.engines_spark.find_spec", lambda _: None)
    monkeypatch.setattr("tests.benchmarks.engines_trino._HOME", "")
    console = Console(record=True, file=StringIO())
    with pytest.raises(InputError, match="`make peers` installs pyspark"):
        engines.measure(Path(), console)
    assert "TRINO_HOME" in console.export_text()
