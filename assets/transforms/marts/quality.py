"""Compute mart/data_quality: values that are missing or that marts do not count, and rejected rows, by day."""

from collections.abc import Callable, Iterator

import polars as pl

from assets.transforms.marts.values import COUNTS, is_impossible, is_negative, live, measured_posts, wide_sum
from assets.transforms.source.schema import ACCOUNTS, POSTS, TESTIMONIALS, SourceTable

MISSING, NEGATIVE = "missing", "negative count"
IMPOSSIBLE, BEYOND = "impossible date", "sum beyond 64 bits"
_COUNTED = {ACCOUNTS.name: ("followers",), POSTS.name: COUNTS, TESTIMONIALS.name: ()}
_DATED = {ACCOUNTS.name: "created_at", POSTS.name: "posted_at", TESTIMONIALS.name: "created_at"}
_PLACE = ("day", "source_table", "column", "reason")
_UPDATED = "%Y-%m-%d"
_LARGEST = 2**63 - 1


def data_quality(
    tables: dict[SourceTable, pl.LazyFrame], rejects: pl.DataFrame, bucket_of: Callable[[str], int], bucket: int
) -> pl.DataFrame:
    """Return the findings of one bucket in the columns of mart/data_quality.

    ``tables`` are its rows of the lake, ``rejects`` all rows of quarantine/rows. ``bucket_of`` returns the bucket of
    an owner's id; a reject without an owner is in bucket 0.
    """
    found = [part for table, rows in tables.items() for part in _of_table(table, live(rows))]
    by_name = {table.name: rows for table, rows in tables.items()}
    found += _of_sums(measured_posts(by_name[POSTS.name], by_name[ACCOUNTS.name]))
    found.append(_of_rejects(rejects, bucket_of, bucket).lazy())
    return (
        pl.concat(found, how="diagonal_relaxed")
        .filter(pl.col("rows") > 0)
        .with_columns(percent=100.0 * pl.col("rows") / pl.col("rows_checked"), account_bucket=pl.lit(bucket, pl.Int32))
        .collect()
    )


def _of_table(table: SourceTable, rows: pl.LazyFrame) -> Iterator[pl.LazyFrame]:
    """Yield the findings in one source table: the number of rows with each, by day of their last change."""
    reasons = findings(table)
    names = {f"{column}/{reason}": (column, reason) for column, reason in reasons}
    counted = (
        rows.group_by(day=pl.col("updated_at").dt.date())
        .agg(
            pl.len().cast(pl.Int64).alias("rows_checked"),
            pl.col("updated_at").max().alias("as_of"),
            *(expr.sum().cast(pl.Int64).alias(f"{column}/{reason}") for (column, reason), expr in reasons.items()),
        )
        .unpivot(on=list(names), index=["day", "rows_checked", "as_of"], variable_name="_name", value_name="rows")
    )
    split = pl.col("_name").str.splitn("/", 2).struct
    yield counted.select(
        "day",
        pl.lit(table.name).alias("source_table"),
        split.field("field_0").alias("column"),
        split.field("field_1").alias("reason"),
        "rows",
        "rows_checked",
        "as_of",
    )


def findings(table: SourceTable) -> dict[tuple[str, str], pl.Expr]:
    """Return (column, reason) → whether a row of a source table has the finding."""
    optional = [name for name in table.schema.names if name not in {*table.required, "deleted_at"}]
    dated = _DATED[table.name]
    return {
        **{(name, MISSING): pl.col(name).is_null() for name in optional},
        **{(name, NEGATIVE): is_negative(name) for name in _COUNTED[table.name]},
        (dated, IMPOSSIBLE): is_impossible(dated),
    }


def _of_sums(posts: pl.LazyFrame) -> Iterator[pl.LazyFrame]:
    """Yield the accounts whose sums are beyond 64 bits, by day of the latest change of their posts."""
    names = [*COUNTS, "engagement"]
    sums = posts.group_by("account_id").agg(pl.col("updated_at").max().alias("as_of"), *map(_named_sum, names))
    for name in names:
        yield (
            sums.group_by(day=pl.col("as_of").dt.date())
            .agg(
                pl.len().cast(pl.Int64).alias("rows_checked"),
                pl.col("as_of").max(),
                (pl.col(name) > _LARGEST).sum().cast(pl.Int64).alias("rows"),
            )
            .with_columns(
                source_table=pl.lit("mart/creators"), column=pl.lit(name, pl.String), reason=pl.lit(BEYOND, pl.String)
            )
        )


def _named_sum(name: str) -> pl.Expr:
    return wide_sum(pl.col(name)).alias(name)


def owned_rejects(rejects: pl.DataFrame, bucket_of: Callable[[str], int], bucket: int) -> pl.DataFrame:
    """Return the rejected rows of a bucket's owners. A row without an owner is in bucket 0."""
    owners = rejects.select(pl.coalesce(_stated("account_id"), "row_key")).to_series()
    buckets = [0 if owner is None else bucket_of(owner) for owner in owners]
    return rejects.filter(pl.Series(buckets, dtype=pl.Int64) == bucket)


def _stated(name: str) -> pl.Expr:
    return pl.col("row_json").str.json_path_match(f"$.{name}")


def _of_rejects(rejects: pl.DataFrame, bucket_of: Callable[[str], int], bucket: int) -> pl.DataFrame:
    """Return the rejected rows of a bucket's owners, by table, reason and the day that the row states."""
    return (
        owned_rejects(rejects, bucket_of, bucket)
        .group_by(
            day=_stated("updated_at").str.slice(0, 10).str.to_date(_UPDATED, strict=False),
            source_table=pl.col("source_table"),
            column=pl.lit(None, pl.String),
            reason=pl.col("reason"),
        )
        .agg(rows=pl.col("copies").sum().cast(pl.Int64))
        .with_columns(as_of=pl.col("day").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    )
