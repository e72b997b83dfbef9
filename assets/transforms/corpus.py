"""From posts to text worth embedding: cleaning, choosing, identifying.

Belongs here: which posts enter the corpus, why the others do not, and what identifies a chunk. Not here: where a long
text is cut (chunking.py).
"""

import hashlib
import html
import re
import unicodedata
import uuid
from enum import StrEnum

import polars as pl

MAX_POSTS_PER_ACCOUNT = 20_000
_NAMESPACE = uuid.UUID("5b0f4f0e-4a0c-5a54-9d7c-3f1f8f3a6c11")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
# Zero-width joiners stay: emoji sequences and several scripts are spelled with them.
_INVISIBLE = re.compile("[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u200b\u2060\ufeff\ufffd]")


class Dropped(StrEnum):
    """Why a post is not in the corpus; the first reason that holds is given."""

    POST_DELETED = "post_deleted"
    ACCOUNT_UNKNOWN = "account_unknown"
    ACCOUNT_DELETED = "account_deleted"
    EMPTY = "empty"
    DUPLICATE = "duplicate"
    OVER_CAP = "over_cap"


DECISIONS_SCHEMA = {
    "account_bucket": pl.Int32,
    "account_id": pl.String,
    "post_id": pl.String,
    "text_hash": pl.String,
    "dropped_because": pl.String,
}


def clean(text: str | None) -> str:
    """The text as it is embedded: entities resolved, NFC, no URLs or control characters, single spaces."""
    if not text:
        return ""
    text = html.unescape(text) if "&" in text else text
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text))
    return _SPACE.sub(" ", _URL.sub(" ", text)).strip()


def content_hash(text: str) -> str:
    """128 bits of BLAKE2b over the UTF-8 text, in hexadecimal: what a vector belongs to."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def point_id(post_id: str, chunk_no: int) -> str:
    """UUIDv5 of a post's chunk: the same wherever and whenever it is computed."""
    return str(uuid.uuid5(_NAMESPACE, f"{post_id}\x1f{chunk_no}"))


def has_words(text: str) -> bool:
    """Whether there is a letter, a digit or a symbol such as an emoji: something to embed beyond punctuation."""
    return any(unicodedata.category(character)[0] in "LNS" for character in text)


def decide(
    posts: pl.DataFrame, accounts: pl.DataFrame, max_posts_per_account: int = MAX_POSTS_PER_ACCOUNT
) -> pl.DataFrame:
    """One row a post: whether it enters the corpus, and if not, why.

    ``posts`` and ``accounts`` are lake rows of one bucket. Of equal texts of an account the oldest stays (ties: the
    smaller post_id). Of more posts than the cap the newest stay; ties go to more likes and comments, then post_id.
    Returns the columns of DECISIONS_SCHEMA.
    """
    known = accounts.select("account_id", account_deleted=pl.col("deleted_at").is_not_null())
    cleaned = [clean(text) for text in posts["text"]]
    rows = posts.with_columns(
        text_hash=pl.Series([content_hash(text) for text in cleaned], dtype=pl.String),
        _empty=pl.Series([not has_words(text) for text in cleaned], dtype=pl.Boolean),
    ).join(known, on="account_id", how="left")
    eligible = rows.with_columns(
        dropped_because=pl.when(pl.col("deleted_at").is_not_null())
        .then(pl.lit(Dropped.POST_DELETED))
        .when(pl.col("account_deleted").is_null())
        .then(pl.lit(Dropped.ACCOUNT_UNKNOWN))
        .when("account_deleted")
        .then(pl.lit(Dropped.ACCOUNT_DELETED))
        .when("_empty")
        .then(pl.lit(Dropped.EMPTY))
    )
    unique = _mark(eligible, _repeats, Dropped.DUPLICATE)
    capped = _mark(unique, lambda rest: rest.filter(_recency_rank() > max_posts_per_account), Dropped.OVER_CAP)
    return capped.select(pl.col(name).cast(dtype) for name, dtype in DECISIONS_SCHEMA.items())


def _mark(rows: pl.DataFrame, select, reason: Dropped) -> pl.DataFrame:  # type: ignore[no-untyped-def]
    """Give a reason to those still undropped rows that ``select`` picks."""
    picked = select(rows.filter(pl.col("dropped_because").is_null()))["post_id"]
    return rows.with_columns(
        dropped_because=pl.when(pl.col("post_id").is_in(picked.implode()))
        .then(pl.lit(reason))
        .otherwise("dropped_because")
    )


def _repeats(rows: pl.DataFrame) -> pl.DataFrame:
    ordered = rows.sort("posted_at", "post_id", nulls_last=True)
    return ordered.filter(~pl.struct("account_id", "text_hash").is_first_distinct())


def _recency_rank() -> pl.Expr:
    engagement = pl.col("likes").fill_null(0) + pl.col("comments").fill_null(0)
    newest_first = pl.struct(-pl.col("posted_at").dt.epoch("us").fill_null(0), -engagement, "post_id")
    return newest_first.rank("ordinal").over("account_id")


def attributes(posts: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """What a chunk is filtered and shown by: (post_id, account_id, handle, network, language, country, posted_at)."""
    owners = accounts.select("account_id", "handle", "language", "country")
    return posts.select("post_id", "account_id", "account_bucket", "network", "posted_at", "text").join(
        owners, on="account_id", how="left"
    )
