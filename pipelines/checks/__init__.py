"""Asset checks: every promise of a stage, verified against the stored data.

Belongs here: reading and comparing. A check may read a whole table, because it trusts no stored count.
Not here: repair.
"""

from collections.abc import Callable, Mapping
from functools import partial, update_wrapper
from inspect import getdoc, signature
from typing import Any

import polars as pl
from dagster import AssetCheckResult, AssetChecksDefinition, AssetCheckSeverity, AssetKey, asset_check

from assets.transforms.source.schema import SOURCE_TABLES
from resources.plain_text import plain

Metadata = Mapping[str, int | float | str]
Promise = Callable[..., int | tuple[int, Metadata] | AssetCheckResult]
"""Takes resources and returns the number of problems, with or without metadata, or a result with its own severity."""


def check(asset: str, problem: str = "", *, name: str = "") -> Callable[[Promise], AssetChecksDefinition]:
    """Declare an asset check: an ERROR that states the number of problems, if the decorated function finds any.

    ``problem`` names what it counts. The function's docstring is the description, and its name that of the check.
    """

    def declare(promise: Promise) -> AssetChecksDefinition:
        def evaluate(**resources: Any) -> AssetCheckResult:
            answer = promise(**resources)
            if isinstance(answer, AssetCheckResult):
                return answer._replace(description=plain(answer.description))
            found, metadata = answer if isinstance(answer, tuple) else (answer, {})
            return AssetCheckResult(
                passed=found == 0,
                severity=AssetCheckSeverity.ERROR,
                description=f"{found:,} {problem}." if found else f"No {problem}.",
                metadata={"found": found, **metadata},
            )

        # Dagster reads the names of the resources from it. A partial function's own, without the bound table.
        evaluate.__signature__ = signature(promise, follow_wrapped=False)  # type: ignore[attr-defined]
        key = AssetKey(asset.split("/"))
        return asset_check(asset=key, name=name or promise.__name__, description=getdoc(promise))(evaluate)

    return declare


def check_tables(group: str, problem: str = "") -> Callable[[Promise], list[AssetChecksDefinition]]:
    """Declare a check of the asset of each source table in a group. The decorated function takes the table first."""

    def declare(promise: Promise) -> list[AssetChecksDefinition]:
        return [
            check(f"{group}/{table.name}", problem)(update_wrapper(partial(promise, table), promise))
            for table in SOURCE_TABLES.values()
        ]

    return declare


def differences(expected: pl.LazyFrame, found: pl.LazyFrame) -> int:
    """Return the number of rows that only one of two tables has, repeated rows included.

    They are compared by the columns of ``expected``.
    """
    columns = expected.collect_schema().names()
    signed = pl.concat([expected.with_columns(_rows=1), found.select(*columns, _rows=-1)], how="vertical_relaxed")
    counts = signed.group_by(columns).agg(pl.col("_rows").sum().abs())
    return int(counts.select(pl.col("_rows").sum()).collect(engine="streaming").item())


def deviation(expected: pl.LazyFrame, found: pl.LazyFrame) -> int:
    """Return the sum of the absolute differences between two rows of totals."""
    totals = zip(expected.collect().row(0), found.collect().row(0), strict=True)
    return sum(abs(due - stored) for due, stored in totals)


def count(rows: pl.LazyFrame) -> int:
    """Return the number of rows."""
    return int(rows.select(pl.len()).collect(engine="streaming").item())
