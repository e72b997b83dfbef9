"""The check of the numbers of every mart: amounts are not negative, and numbers are numbers."""

from functools import partial, update_wrapper

import polars as pl

from assets.marts.tables import MARTS
from pipelines.checks.declaration import Check, count
from resources.delta.table import WHOLE, LakeResource, TableSpec


def values_possible(spec: TableSpec, bucket: int, lake: LakeResource) -> int:
    """No amount is negative, and every number is finite: what was never measured is null."""
    return count(lake.scan(spec, None if bucket == WHOLE else bucket).filter(_impossible(spec)))


def _impossible(spec: TableSpec) -> pl.Expr:
    """Return whether a row has a negative number where there is none, or a number that is none."""
    types = {name: column.type for name, column in spec.columns.items()}
    signed = {name for name in types if "growth" in name or "change" in name or name == "threshold"}
    reals = [name for name, dtype in spec.polars_schema.items() if dtype == pl.Float64]
    amounts = [name for name, dtype in spec.polars_schema.items() if dtype.is_numeric() and name not in signed]
    odd = [~pl.col(name).is_finite() for name in reals] + [pl.col(name) < 0 for name in amounts]
    return pl.any_horizontal(expr.fill_null(value=False) for expr in odd)


def _of(spec: TableSpec) -> Check:
    bound = partial(values_possible, spec) if spec.partitioned else partial(values_possible, spec, bucket=WHOLE)
    return Check(
        spec.name,
        "values_possible",
        update_wrapper(bound, values_possible),
        "rows with a negative amount, or with a number that is infinite or no number",
        reads=(spec,),
        by_bucket=spec.partitioned,
    )


CHECKS = [_of(spec) for spec in MARTS]
