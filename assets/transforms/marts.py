"""Compute the marts, their CSV and their QuickSight manifest."""

import re

import polars as pl

_QUOTED_CELL = re.compile(r'"(?:[^"]|"")*"')
TEXT_LIMIT = 2_000
"""Longest text of a mart, in characters."""
WRITTEN_LIMIT = 2_047
"""QuickSight's longest text. A cell of the CSV is at most this long as it is written, with all of its quotes."""


def short(name: str) -> pl.Expr:
    """Return a text column, cut to TEXT_LIMIT characters."""
    return pl.col(name).str.slice(0, TEXT_LIMIT)


def creators(accounts: pl.DataFrame, posts: pl.DataFrame, tags: pl.DataFrame, summaries: pl.DataFrame) -> pl.DataFrame:
    """Return one row per live account: its columns, activity, verticals and summary."""
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
    """Return the posts that marts count: not deleted, of known accounts that are not deleted."""
    live = accounts.filter(pl.col("deleted_at").is_null()).select("account_id")
    return posts.filter(pl.col("deleted_at").is_null()).join(live, on="account_id", how="semi")


def posts_by_day(posts: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row per day (UTC) and network: posts and engagement. Posts without a date have a null day."""
    return posts.group_by(pl.col("posted_at").dt.date().alias("day"), "network").agg(
        posts=pl.len().cast(pl.Int64),
        accounts=pl.col("account_id").n_unique().cast(pl.Int64),
        **{name: pl.col(name).sum() for name in ("likes", "comments", "views", "shares")},
    )


def vertical_coverage(tags: pl.LazyFrame, thresholds: pl.DataFrame, titles: dict[str, str]) -> pl.DataFrame:
    """Return one row per vertical and item kind: tagged items, threshold and F1."""
    counted = tags.group_by("item_kind", "vertical").agg(tagged=pl.len().cast(pl.Int64)).collect()
    named = pl.DataFrame({"vertical": list(titles), "title": list(titles.values())})
    return (
        thresholds.join(counted, on=["item_kind", "vertical"], how="left")
        .join(named, on="vertical", how="left")
        .with_columns(pl.col("tagged").fill_null(0))
    )


def testimonials(rows: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Return one row per live testimonial, with the handle of its account if that is live."""
    live = accounts.filter(pl.col("deleted_at").is_null()).select("account_id", "handle")
    return (
        rows.filter(pl.col("deleted_at").is_null()).join(live, on="account_id", how="left").with_columns(short("text"))
    )


def as_csv(rows: pl.DataFrame) -> bytes:
    """Return rows in the CSV that QuickSight reads: UTF-8, no BOM, a header, UTC times, 0 and 1, one line per row.

    Every text is cut so that its cell has at most WRITTEN_LIMIT characters. A text that a spreadsheet would compute
    (it begins with =, +, - or @) gets an apostrophe before it. Tabs become spaces; other controls are left out.
    """
    flat = rows.with_columns(
        pl.col(pl.Boolean).cast(pl.Int8),
        _written(_as_text(pl.col(pl.String))),
        pl.col(pl.Datetime("us", "UTC")).dt.strftime("%Y-%m-%d %H:%M:%S"),
    )
    return flat.write_csv(quote_style="non_numeric").encode()


def _as_text(text: pl.Expr) -> pl.Expr:
    """Return texts in one line, without control characters, that no spreadsheet takes for a formula."""
    in_one_line = text.str.replace_all(r"[\r\n\x{85}\x{2028}\x{2029}]+", " ¶ ").str.replace_all("\t", " ", literal=True)
    return in_one_line.str.replace_all(r"\p{Cc}", "").str.replace(r"^(\s*[=+\-@＝＋－＠])", "'${1}")


def _written(text: pl.Expr) -> pl.Expr:
    """Return texts whose cells fit: the writer doubles each quote, and puts two around the text."""
    doubled = text.str.replace_all('"', '""', literal=True).str.slice(0, WRITTEN_LIMIT - 2)
    halved = doubled.str.extract(r'("+)$', 1).str.len_bytes().fill_null(0) % 2 == 1  # the cut divides a pair
    whole = pl.when(halved).then(doubled.str.head(-1)).otherwise(doubled)
    return whole.str.replace_all('""', '"', literal=True)


def longest_cell(body: bytes) -> int:
    """Return the number of characters of the longest quoted cell of a CSV file, as it is written."""
    return max(map(len, _QUOTED_CELL.findall(body.decode())), default=0)


def quicksight_manifest(prefix: str) -> dict[str, object]:
    """Return the manifest of the CSV files under an s3:// prefix."""
    return {
        "fileLocations": [{"URIPrefixes": [prefix]}],
        "globalUploadSettings": {
            "format": "CSV",
            "delimiter": ",",
            "textqualifier": '"',
            "containsHeader": "true",
        },
    }
