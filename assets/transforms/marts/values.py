"""Which values marts count: a negative count, an impossible date and a sum beyond 64 bits are null.

`assets/transforms/marts/quality.py` lists them by the same expressions. The row of the lake stays as it is.
"""

from datetime import UTC, datetime, timedelta

import polars as pl

COUNTS = ("likes", "comments", "views", "shares")
ENGAGEMENT = ("likes", "comments", "shares")
"""Counts of a post that are something that people did, not saw."""
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""Earlier dates are impossible: no social network is older than the Web."""
TOLERANCE = timedelta(days=1)
"""A row may state times this much after its own change, because some sources write local times as UTC."""
TEXT_LIMIT = 2_000
"""Longest text of a mart, in characters."""


def is_negative(name: str) -> pl.Expr:
    """Return whether a count is below zero."""
    return (pl.col(name) < 0).fill_null(value=False)


def is_impossible(name: str) -> pl.Expr:
    """Return whether a time is before EARLIEST, or after the last change of its row."""
    late = pl.col(name) > pl.col("updated_at") + TOLERANCE
    return ((pl.col(name) < EARLIEST) | late).fill_null(value=False)


def counts(*names: str) -> list[pl.Expr]:
    """Return counts, null where they are negative."""
    return [pl.when(~is_negative(name)).then(pl.col(name)).alias(name) for name in names]


def times(*names: str) -> list[pl.Expr]:
    """Return times, null where they are impossible."""
    return [pl.when(~is_impossible(name)).then(pl.col(name)).alias(name) for name in names]


def short(name: str) -> pl.Expr:
    """Return a text column, cut to TEXT_LIMIT characters."""
    return pl.col(name).str.slice(0, TEXT_LIMIT)


def wide_sum(values: pl.Expr) -> pl.Expr:
    """Return an exact sum in 128 bits; null without any value."""
    return pl.when(values.count() > 0).then(values.cast(pl.Int128).sum())


def total(values: pl.Expr) -> pl.Expr:
    """Return an exact sum; null without any value, and beyond 64 bits."""
    return wide_sum(values).cast(pl.Int64, strict=False)


def percent(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """Return 100 × part / whole; null where the whole is 0 or unknown."""
    return pl.when(whole > 0).then(100.0 * part.cast(pl.Float64) / whole.cast(pl.Float64))


def engagement() -> pl.Expr:
    """Return the likes, comments and shares of a post; null if none was measured."""
    measured = pl.any_horizontal(pl.col(*ENGAGEMENT).is_not_null())
    return pl.when(measured).then(pl.sum_horizontal(pl.col(*ENGAGEMENT).cast(pl.Int128)))


def live(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows that the source has not deleted."""
    return rows.filter(pl.col("deleted_at").is_null())


def live_posts(posts: pl.LazyFrame, accounts: pl.LazyFrame) -> pl.LazyFrame:
    """Return the posts that marts count: not deleted, of known accounts that are not deleted."""
    return live(posts).join(live(accounts).select("account_id"), on="account_id", how="semi")


def measured_posts(posts: pl.LazyFrame, accounts: pl.LazyFrame) -> pl.LazyFrame:
    """Return the live posts with the values that count, and their ``engagement``."""
    return (
        live_posts(posts, accounts)
        .with_columns(*counts(*COUNTS), *times("posted_at"))
        .with_columns(engagement=engagement())
    )


def as_of(*tables: pl.LazyFrame) -> datetime | None:
    """Return the latest change of any row, deleted or not; None without rows. Windows end there."""
    latest: datetime | None = pl.concat([rows.select("updated_at") for rows in tables]).max().collect().item()
    return latest
