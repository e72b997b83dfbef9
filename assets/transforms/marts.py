"""The tables that analysts see: flat types, short texts, no surprises."""

import re

import polars as pl

TEXT_LIMIT = 2_000
"""QuickSight's text fields are at risk above 2,047 characters."""


def short(name: str) -> pl.Expr:
    """A text column, cut to TEXT_LIMIT characters."""
    return pl.col(name).str.slice(0, TEXT_LIMIT)


def creators(accounts: pl.DataFrame, posts: pl.DataFrame, tags: pl.DataFrame, summaries: pl.DataFrame) -> pl.DataFrame:
    """One row a live account: who, how large, what about, in its own words."""
    activity = posts.group_by("account_id").agg(
        posts=pl.len().cast(pl.Int64),
        last_posted_at=pl.col("posted_at").max(),
        **{name: pl.col(name).sum() for name in ("likes", "comments", "views", "shares")},
    )
    of_accounts = tags.filter(pl.col("item_kind") == "account").sort("score", "vertical", descending=[True, False])
    tagged = of_accounts.group_by("account_id").agg(
        verticals=pl.col("vertical").sort().str.join(", "),
        top_vertical=pl.col("vertical").first(),
        top_vertical_score=pl.col("score").first(),
    )
    counted = ["posts", "likes", "comments", "views", "shares"]
    return (
        accounts.filter(pl.col("deleted_at").is_null())
        .join(activity, on="account_id", how="left")
        .join(tagged, on="account_id", how="left")
        .join(summaries.select("account_id", "summary"), on="account_id", how="left")
        .with_columns(*(pl.col(name).fill_null(0) for name in counted), bio=short("bio"), summary=short("summary"))
    )


def live_posts(posts: pl.LazyFrame, accounts: pl.LazyFrame) -> pl.LazyFrame:
    """Posts that are not deleted, of accounts that are known and not deleted: what every mart counts."""
    live = accounts.filter(pl.col("deleted_at").is_null()).select("account_id")
    return posts.filter(pl.col("deleted_at").is_null()).join(live, on="account_id", how="semi")


def posts_by_day(posts: pl.LazyFrame) -> pl.LazyFrame:
    """One row a day (UTC) and network: posts and what they earned. Posts without a date have a null day."""
    return posts.group_by(pl.col("posted_at").dt.date().alias("day"), "network").agg(
        posts=pl.len().cast(pl.Int64),
        accounts=pl.col("account_id").n_unique().cast(pl.Int64),
        **{name: pl.col(name).sum() for name in ("likes", "comments", "views", "shares")},
    )


def vertical_coverage(tags: pl.LazyFrame, thresholds: pl.DataFrame, titles: dict[str, str]) -> pl.DataFrame:
    """One row per vertical and item kind: how many are tagged, at what threshold, and how good the tag is."""
    counted = tags.group_by("item_kind", "vertical").agg(tagged=pl.len().cast(pl.Int64)).collect()
    named = pl.DataFrame({"vertical": list(titles), "title": list(titles.values())})
    return (
        thresholds.join(counted, on=["item_kind", "vertical"], how="left")
        .join(named, on="vertical", how="left")
        .with_columns(pl.col("tagged").fill_null(0))
    )


def testimonials(rows: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """One row a live testimonial, with the handle of its account where it has one that is live."""
    live = accounts.filter(pl.col("deleted_at").is_null()).select("account_id", "handle")
    return (
        rows.filter(pl.col("deleted_at").is_null()).join(live, on="account_id", how="left").with_columns(short("text"))
    )


_LINE_BREAKS = r"[\r\n]+"
_LINE_BREAK_SHOWN = " ¶ "


def one_line(text: str) -> str:
    """A text as it stands in a CSV: in one line, with what broke it shown."""
    return re.sub(_LINE_BREAKS, _LINE_BREAK_SHOWN, text)


def as_csv(rows: pl.DataFrame) -> bytes:
    """Rows as QuickSight reads them: UTF-8 without BOM, a header, UTC times, 0 and 1, one line a row."""
    flat = rows.with_columns(
        pl.col(pl.Boolean).cast(pl.Int8),
        pl.col(pl.String).str.replace_all(_LINE_BREAKS, _LINE_BREAK_SHOWN),
        pl.col(pl.Datetime("us", "UTC")).dt.strftime("%Y-%m-%d %H:%M:%S"),
    )
    return flat.write_csv(quote_style="non_numeric").encode()


def quicksight_manifest(prefix: str) -> dict[str, object]:
    """A manifest for the CSV files under an s3:// prefix."""
    return {
        "fileLocations": [{"URIPrefixes": [prefix]}],
        "globalUploadSettings": {
            "format": "CSV",
            "delimiter": ",",
            "textqualifier": '"',
            "containsHeader": "true",
        },
    }
