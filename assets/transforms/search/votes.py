"""Judgements of readers: thumbs on accounts and posts for a query, as a person's file of a day and as grades."""

import datetime as dt
from typing import Any

import polars as pl
import pyarrow as pa

from assets.transforms.source.schema import TIMESTAMP

KINDS = ("post", "account")
GOOD, BAD = 1, 0
FILE_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("query", "item_kind", "item_id")),
        ("grade", pa.int64()),
        ("judge", pa.string()),
        ("judged_at", TIMESTAMP),
    ]
)
"""The columns of a file of judgements."""
_ABOUT = ["query", "item_kind", "item_id"]


def folded(query: str) -> str:
    """Return a query as judgements of it are found again: in lower case, with single spaces."""
    return " ".join(query.casefold().split())


def with_judgement(rows: pl.DataFrame, row: dict[str, Any], at: dt.datetime) -> pl.DataFrame:
    """Return a day's judgements with one more; one about the same query and item is replaced. Grade None deletes it."""
    same = pl.all_horizontal(pl.col(name) == row[name] for name in _ABOUT)
    others = rows.filter(~same)
    if row["grade"] is None:
        return others
    return pl.concat([others, pl.DataFrame([{**row, "judged_at": at}], schema=rows.schema)])


def with_reasons(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with a column ``reason``, null unless a value is missing or impossible."""
    needed = [*_ABOUT, "grade", "judge"]
    return rows.with_columns(
        reason=pl.when(pl.any_horizontal(pl.col(needed).is_null()) | (pl.col("query").str.strip_chars() == ""))
        .then(pl.lit("a column of the judgement is missing"))
        .when(~pl.col("item_kind").is_in(KINDS))
        .then(pl.lit("item_kind is neither post nor account"))
        .when(~pl.col("grade").is_in([GOOD, BAD]))
        .then(pl.lit("the grade is neither 0 nor 1"))
    )


def graded_accounts(judgements: pl.DataFrame, posts: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Return query → account id → 1 (relevant) or 0, for queries with at least one of each.

    ``judgements`` is search/judgements, ``posts`` the searchable (post_id, account_id). A person's newest
    judgement counts; then the majority, and an even split is none. An account's own judgement wins; without one, an
    account is relevant when any of its judged posts is. Accounts without a searchable post are left out.
    """
    newest = (
        judgements.with_columns(query=pl.col("query").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars())
        .sort("judged_at", "source_file", "row", nulls_last=False)
        .unique([*_ABOUT, "judge"], keep="last", maintain_order=True)
    )
    share = newest.group_by(_ABOUT).agg(share=pl.col("grade").mean()).filter(pl.col("share") != 0.5)
    agreed = share.with_columns(grade=(pl.col("share") > 0.5).cast(pl.Int64))
    of_posts = agreed.filter(pl.col("item_kind") == "post").join(posts, left_on="item_id", right_on="post_id")
    by_post = of_posts.group_by("query", "account_id").agg(by_post=pl.col("grade").max())
    own = agreed.filter(pl.col("item_kind") == "account").select("query", account_id="item_id", by_account="grade")
    searchable = own.join(posts.select("account_id").unique(), on="account_id", how="semi")
    judged = searchable.join(by_post, on=["query", "account_id"], how="full", coalesce=True)
    found: dict[str, dict[str, int]] = {}
    for query, account_id, grade in (
        judged.select("query", "account_id", pl.coalesce("by_account", "by_post"))
        .sort("query", "account_id")
        .iter_rows()
    ):
        found.setdefault(query, {})[account_id] = grade
    return {query: grades for query, grades in found.items() if 0 < sum(grades.values()) < len(grades)}
