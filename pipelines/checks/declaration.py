"""Declare asset checks: what each promises, what it reads, when it runs, and whether it guards what is downstream."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, update_wrapper
from inspect import Parameter, getdoc, signature
from typing import Any

import polars as pl
from dagster import AssetCheckResult, AssetCheckSpec, AssetKey

from assets.transforms.source.schema import SOURCE_TABLES, SourceTable
from resources.delta.table import TableSpec

Metadata = Mapping[str, int | float | str]
Answer = int | tuple[int, Metadata] | AssetCheckResult | None
Promise = Callable[..., Answer]
"""Takes resources, after the bucket of a check by bucket. Returns the number of problems, with or without metadata, or
a result with its own severity. None: there is nothing to check, which is not a pass."""
Reads = tuple[TableSpec, ...]
NOT_RESOURCES = ("bucket", "instance")
"""Parameters of a promise that the evaluation gives, beside resources: the bucket, and the Dagster instance."""


@dataclass(frozen=True)
class Check:
    """One asset check.

    ``reads``: the tables that decide the answer. While they are unchanged, a pass counts and nothing is read again.
    Without them, the check reads every time.
    ``version``: takes resources, and the bucket if it asks for it, and returns what else decides the answer.
    ``by_bucket``: the promise takes a bucket and reads that bucket only.
    ``guards``: a failure stops what is downstream.
    ``advises``: problems are a WARN, because the data is right as far as it goes.
    ``daily``: runs once a day, because it costs much or nothing downstream depends on it.
    ``ledger_name``: takes resources and returns the name of the asset's ledger entries; None: the asset's own.
    ``via``: tables between those that the check reads and its asset. While a bucket of one of them lags behind its own
    inputs, as one does that is held back, the asset rightly lacks what the check would look for.
    """

    asset: str
    name: str
    promise: Promise
    problem: str = ""
    reads: Reads = ()
    version: Callable[..., str] | None = None
    by_bucket: bool = False
    guards: bool = False
    advises: bool = False
    daily: bool = False
    ledger_name: Callable[..., str] | None = None
    via: Reads = ()

    @property
    def spec(self) -> AssetCheckSpec:
        """Return what Dagster knows of the check. The promise's docstring is the description."""
        key = AssetKey(self.asset.split("/"))
        return AssetCheckSpec(self.name, asset=key, description=getdoc(self.promise), blocking=self.guards)

    @property
    def resources(self) -> dict[str, Parameter]:
        """Return the parameters that are resources."""
        asked = [called for called in (self.promise, self.version, self.ledger_name) if called is not None]
        # A partial function's own parameters, without the bound table.
        found = {
            name: parameter
            for called in asked
            for name, parameter in signature(called, follow_wrapped=False).parameters.items()
        }
        return {name: parameter for name, parameter in found.items() if name not in NOT_RESOURCES}

    def call(self, called: Callable[..., Any], resources: Mapping[str, object], **more: object) -> Any:
        """Call one of the functions of this check with the resources that it asks for."""
        wanted = signature(called, follow_wrapped=False).parameters
        return called(**{name: value for name, value in {**resources, **more}.items() if name in wanted})


def check(asset: str, problem: str = "", *, name: str = "", **how: Any) -> Callable[[Promise], Check]:
    """Declare a check of an asset. ``problem`` names what the promise counts; ``how`` are fields of `Check`.

    The function's name is that of the check. Problems are an ERROR.
    """

    def declare(promise: Promise) -> Check:
        return Check(asset, name or promise.__name__, promise, problem, **how)

    return declare


def check_tables(
    group: str,
    problem: str = "",
    *,
    specs: Mapping[str, TableSpec] | None = None,
    version: Callable[..., str] | None = None,
    **how: Any,
) -> Callable[[Promise], list[Check]]:
    """Declare a check of the asset of each source table in a group. The promise and ``version`` take the table first.

    ``specs``: source table → the table that the check reads.
    """

    def declare(promise: Promise) -> list[Check]:
        def of(table: SourceTable) -> Check:
            bound = update_wrapper(partial(promise, table), promise)
            reads = (specs[table.name],) if specs else ()
            of_table = None if version is None else partial(version, table)
            return Check(f"{group}/{table.name}", promise.__name__, bound, problem, reads, of_table, **how)

        return [of(table) for table in SOURCE_TABLES.values()]

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
    return sum(abs((due or 0) - (stored or 0)) for due, stored in totals)


def count(rows: pl.LazyFrame) -> int:
    """Return the number of rows."""
    return int(rows.select(pl.len()).collect(engine="streaming").item())
