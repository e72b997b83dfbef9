"""Compute mart/testimonials and mart/testimonials_by_brand."""

import polars as pl

from assets.transforms.marts.values import as_of, live, short, times

RECENT_DAYS = 90


def testimonials(rows: pl.LazyFrame, accounts: pl.LazyFrame) -> pl.DataFrame:
    """Return one row per live testimonial, with the handle of its account if that is live."""
    handles = live(accounts).select("account_id", "handle")
    found = live(rows).join(handles, on="account_id", how="left")
    return found.with_columns(short("text"), *times("created_at"), as_of=pl.col("updated_at")).collect()


def testimonials_by_brand(rows: pl.LazyFrame) -> pl.DataFrame:
    """Return one row per brand: its ratings, and those of the last days against those before."""
    end = pl.lit(as_of(rows), pl.Datetime("us", "UTC"))
    created, rating = pl.col("created_at"), pl.col("rating").cast(pl.Float64)
    start = end - pl.duration(days=RECENT_DAYS)
    is_recent = (created > start) & (created <= end)
    return (
        live(rows)
        .with_columns(*times("created_at"))
        .group_by("brand")
        .agg(
            testimonials=pl.len().cast(pl.Int64),
            rated=rating.count().cast(pl.Int64),
            average_rating=rating.mean(),
            testimonials_90d=is_recent.sum().cast(pl.Int64),
            average_rating_90d=rating.filter(is_recent).mean(),
            average_rating_before=rating.filter(created <= start).mean(),
            creators=pl.col("account_id").drop_nulls().n_unique().cast(pl.Int64),
            last_testimonial_at=created.max(),
        )
        .with_columns(
            rating_change_90d=pl.col("average_rating_90d") - pl.col("average_rating_before"),
            as_of=end,
        )
        .collect()
    )
