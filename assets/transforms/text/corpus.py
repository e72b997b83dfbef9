"""Decide which posts are in the corpus, and identify chunks."""

import hashlib
import math
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from enum import StrEnum

import polars as pl

from assets.transforms.text.boilerplate import without_boilerplate
from assets.transforms.text.cleaning import clean, clean_lines, with_hashtags
from assets.transforms.text.near_duplicates import near_duplicates

MAX_POSTS_PER_ACCOUNT = 20_000
COMPARED_PER_KEPT = 5
"""An account's posts that are compared as near-duplicates, as a multiple of its cap."""
RECENT_SHARE = 0.8
"""The part of the cap that goes to the newest posts, whatever their engagement."""
ENGAGEMENT_TIER = 4
KEPT = "kept"
DECISION_RULES = "12"
"""Part of a stage's version. Change it to have every decision made again."""
_NAMESPACE = uuid.UUID("5b0f4f0e-4a0c-5a54-9d7c-3f1f8f3a6c11")


class Dropped(StrEnum):
    """Why a post is not in the corpus. A post has the first reason that applies."""

    POST_DELETED = "post_deleted"
    ACCOUNT_UNKNOWN = "account_unknown"
    ACCOUNT_DELETED = "account_deleted"
    EMPTY = "empty"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    OVER_CAP = "over_cap"


DECISIONS_SCHEMA = {
    "account_bucket": pl.Int32,
    "account_id": pl.String,
    "post_id": pl.String,
    "text_hash": pl.String,
    "dropped_because": pl.String,
    "duplicate_of": pl.String,
}


def post_texts(posts: pl.DataFrame) -> list[str]:
    """Return the texts to search of rows with ``text`` and ``hashtags``: clean, with the hashtags that they lack."""
    return [with_hashtags(clean(text), tags) for text, tags in zip(posts["text"], _hashtags(posts), strict=True)]


def _hashtags(posts: pl.DataFrame) -> Sequence[Sequence[str | None] | None]:
    return posts["hashtags"].to_list() if "hashtags" in posts.columns else [None] * posts.height


def content_hash(text: str) -> str:
    """Return 128 bits of BLAKE2b of the UTF-8 text, in hexadecimal. A vector belongs to such a hash."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def point_id(post_id: str, chunk_no: int) -> str:
    """Return the UUIDv5 of a post's chunk. It never changes."""
    return str(uuid.uuid5(_NAMESPACE, f"{post_id}\x1f{chunk_no}"))


def has_words(text: str) -> bool:
    """Return whether a text has a letter, a digit or a symbol such as an emoji."""
    return any(unicodedata.category(character)[0] in "LNS" for character in text)


def decide(
    posts: pl.DataFrame, accounts: pl.DataFrame, max_posts_per_account: int = MAX_POSTS_PER_ACCOUNT
) -> pl.DataFrame:
    """Return one row per post, in the columns of DECISIONS_SCHEMA: in the corpus, or the reason why not.

    ``posts`` and ``accounts`` are lake rows of one bucket. Among equal and nearly equal texts of an account the oldest
    is kept (ties: the smaller post_id), and ``duplicate_of`` names it. ``_over_cap`` applies the cap. A post that
    others repeat is as new as the newest of them. Of an account with more than COMPARED_PER_KEPT times the cap, the
    posts beyond are not compared: they are over the cap.
    """
    known = accounts.select("account_id", account_deleted=pl.col("deleted_at").is_not_null())
    lines = [clean_lines(text) for text in posts["text"]]
    cleaned = [with_hashtags(" ".join(own), tags) for own, tags in zip(lines, _hashtags(posts), strict=True)]
    rows = posts.with_columns(
        pl.Series("_lines", lines, dtype=pl.List(pl.String)),
        text_hash=pl.Series([content_hash(text) for text in cleaned], dtype=pl.String),
        _empty=pl.Series([not has_words(text) for text in cleaned], dtype=pl.Boolean),
        duplicate_of=pl.lit(None, pl.String),
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
    most = COMPARED_PER_KEPT * max_posts_per_account
    compared = _mark(_with_last_posted(unique), lambda rest: _over_cap(rest, most), Dropped.OVER_CAP)
    different = _mark(compared.drop("_last_posted"), _near_repeats, Dropped.NEAR_DUPLICATE)
    dated = _with_last_posted(different)
    capped = _mark(dated, lambda rest: _over_cap(rest, max_posts_per_account), Dropped.OVER_CAP)
    return capped.select(pl.col(name).cast(dtype) for name, dtype in DECISIONS_SCHEMA.items())


def input_hashes(posts: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """Return (account_id, post_id, imprint): per post a 64-bit hash of its decision's inputs.

    Another version of polars may hash differently; decisions are then made once more.
    """
    known = accounts.select("account_id", _account_deleted=pl.col("deleted_at").is_not_null())
    inputs = [
        *(pl.col("account_id"), pl.col("post_id"), pl.lit(DECISION_RULES), pl.col("deleted_at").is_not_null()),
        *(pl.col("_account_deleted"), pl.col("posted_at"), pl.col("text"), _tier()),
    ]
    if "hashtags" in posts.columns:
        inputs.append(pl.col("hashtags").cast(pl.List(pl.String)).list.join("\n", ignore_nulls=True))
    parts = [column.hash(number) for number, column in enumerate(inputs)]
    joined = posts.join(known, on="account_id", how="left", maintain_order="left")
    return joined.select("account_id", "post_id", imprint=pl.sum_horizontal(parts).reinterpret(signed=True))


def undecided(now: pl.DataFrame, stored: pl.DataFrame) -> pl.Series:
    """Return the accounts of which a post came, went or changed. The posts of an account are decided together.

    ``now`` and ``stored`` have (account_id, post_id, imprint).
    """
    on = ["account_id", "post_id", "imprint"]
    came = now.join(stored, on=on, how="anti", nulls_equal=True)["account_id"]
    went = stored.join(now, on=on, how="anti", nulls_equal=True)["account_id"]
    return pl.concat([came, went]).unique()


def count_decisions(decided: pl.DataFrame) -> pl.DataFrame:
    """Return (account_bucket, dropped_because, posts). Posts in the corpus have the reason KEPT."""
    reasons = decided.group_by("account_bucket", pl.col("dropped_because").fill_null(KEPT))
    return reasons.agg(posts=pl.len().cast(pl.Int64))


def _mark(rows: pl.DataFrame, select: Callable[[pl.DataFrame], pl.DataFrame], reason: Dropped) -> pl.DataFrame:
    """Give a reason to the rows without one that ``select`` returns as (post_id, _repeats: a post_id or null)."""
    picked = select(rows.filter(pl.col("dropped_because").is_null()))
    marked = rows.join(picked.with_columns(_picked=True), on="post_id", how="left", maintain_order="left")
    return marked.with_columns(
        dropped_because=pl.when("_picked").then(pl.lit(reason)).otherwise("dropped_because"),
        duplicate_of=pl.coalesce("duplicate_of", "_repeats"),
    ).drop("_picked", "_repeats")


def _repeats(rows: pl.DataFrame) -> pl.DataFrame:
    oldest = pl.col("post_id").first().over("account_id", "text_hash")
    ordered = rows.sort("posted_at", "post_id", nulls_last=True).with_columns(_repeats=oldest)
    return ordered.filter(pl.col("post_id") != pl.col("_repeats")).select("post_id", "_repeats")


def _near_repeats(rows: pl.DataFrame) -> pl.DataFrame:
    ordered = rows.sort("account_id", "posted_at", "post_id", nulls_last=True)
    parts = [
        of_account.select(
            "post_id",
            _repeats=pl.col("post_id").gather(
                pl.Series(near_duplicates(without_boilerplate(of_account["_lines"].to_list())), dtype=pl.UInt32)
            ),
        )
        for of_account in ordered.partition_by("account_id", maintain_order=True)
    ]
    return pl.concat([ordered.select("post_id", _repeats="post_id").clear(), *parts]).drop_nulls()


def _with_last_posted(rows: pl.DataFrame) -> pl.DataFrame:
    """Add ``_last_posted``: when a post's text was posted last, by the post itself or by a post that repeats it.

    A post may repeat a near-duplicate, which repeats a kept post: there are two steps at most.
    """
    repeated = rows.select(duplicate_of="post_id", _kept="duplicate_of").drop_nulls()
    ends = rows.join(repeated, on="duplicate_of", how="left", maintain_order="left")
    stands_for = pl.coalesce("_kept", "duplicate_of", "post_id")
    return ends.with_columns(_last_posted=pl.col("posted_at").max().over(stands_for)).drop("_kept")


def _over_cap(rows: pl.DataFrame, cap: int) -> pl.DataFrame:
    """Return the posts beyond the cap of their account.

    The newest posts by ``_last_posted`` (ties: post_id) get RECENT_SHARE of the cap. With their own dates, a text that
    is posted again and again would drop out. The most engaging of the others get the rest, by tiers of a factor of
    four; within a tier the newer. Tiers keep posts from coming and going as likes change, which costs embeddings.
    """
    place = pl.int_range(pl.len()).over("account_id")
    newest_first = rows.sort("_last_posted", "post_id", descending=[True, False], nulls_last=True)
    ranked = newest_first.with_columns(_newest=place, _tier=_tier()).with_columns(
        _tier=pl.when(pl.col("_newest") < math.ceil(cap * RECENT_SHARE)).then(math.inf).otherwise("_tier")
    )
    best_first = ranked.sort("_tier", "_newest", descending=[True, False])
    return best_first.filter(place >= cap).select("post_id", pl.lit(None, pl.String).alias("_repeats"))


def _tier() -> pl.Expr:
    counted = (pl.col(name).fill_null(0).cast(pl.Int64) for name in ("likes", "comments", "shares"))
    return (pl.sum_horizontal(counted).clip(0) + 1).log(ENGAGEMENT_TIER).floor()
