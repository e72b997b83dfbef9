"""Rows of hostile sizes: an account with many posts, a long text, many hashtags."""

import io
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from assets.transforms.source.contract import compare, landed_schema, recast_rows
from assets.transforms.source.schema import POSTS

_NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
_TYPES = {
    "account_id": "text", "network": "text", "text": "text", "media_url": "text", "media_type": "text",
    "post_id": "text", "hashtags": "ARRAY", "likes": "bigint", "comments": "bigint", "views": "bigint",
    "shares": "bigint", "posted_at": "timestamp with time zone", "updated_at": "timestamp with time zone",
    "deleted_at": "timestamp with time zone",
}  # fmt: skip


def account_of(posts: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the posts of one account, each with a text of its own, and the account."""
    numbers = pl.int_range(posts, eager=True)
    rows = pl.DataFrame({"post_id": numbers.cast(pl.String), "_number": numbers}).with_columns(
        *(pl.lit(0, pl.Int64).alias(name) for name in ("likes", "comments", "shares")),
        account_bucket=pl.lit(0),
        account_id=pl.lit("a"),
        text=pl.format("post {} about {}", "_number", pl.col("_number") % 997),
        posted_at=pl.lit(_NOON).cast(pl.Datetime("us", "UTC")) + pl.duration(seconds=pl.col("_number")),
        deleted_at=pl.lit(None, pl.Datetime("us", "UTC")),
    )
    accounts = pl.DataFrame(
        {"account_id": ["a"], "deleted_at": [None]}, schema_overrides={"deleted_at": pl.Datetime("us", "UTC")}
    )
    return rows.drop("_number"), accounts


def text_of(size_bytes: int) -> str:
    """Return a text of words, marks, addresses and entities of about a size in UTF-8."""
    part = "e\u0301lan vital, https://x.y/z &amp; 𝗯𝗼𝗹𝗱 \u200b 今日は #tag "
    return part * (size_bytes // len(part.encode()) + 1)


def hashtags_of(number: int) -> pa.Table:
    """Return one post with many hashtags, as a source gives it."""
    row = dict.fromkeys(POSTS.schema.names) | {
        "post_id": "p", "account_id": "a", "network": "x", "updated_at": _NOON,
        "hashtags": [f"tag{n}" for n in range(number)],
    }  # fmt: skip
    return pa.Table.from_pylist([row], POSTS.schema)


def landed(rows: pa.Table) -> int:
    """Recast rows of a source and write them as Parquet, as extraction does. Return the bytes; nothing is rejected."""
    schema = landed_schema(compare(POSTS, _TYPES))
    found, rejects = recast_rows(schema, rows)
    assert rejects.is_empty()
    buffer = io.BytesIO()
    pq.write_table(found, buffer, compression="zstd")
    return buffer.getbuffer().nbytes
