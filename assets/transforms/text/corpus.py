"""From posts to text worth embedding: cleaning, choosing, identifying."""

import hashlib
import html
import math
import re
import unicodedata
import uuid
from collections.abc import Callable
from enum import StrEnum

import polars as pl

from assets.transforms.text.near_duplicates import near_duplicates

MAX_POSTS_PER_ACCOUNT = 20_000
RECENT_SHARE = 0.8
"""The part of the cap that goes to the newest posts, whatever they earned."""
ENGAGEMENT_TIER = 4
KEPT = "kept"
ATTRIBUTE_RULES = "2"
"""Goes into what a stage remembers: another value means that what chunks are filtered by is made anew."""
DECISION_RULES = "7"
"""Goes into what a stage remembers: another value means that every decision is made anew."""
_NAMESPACE = uuid.UUID("5b0f4f0e-4a0c-5a54-9d7c-3f1f8f3a6c11")
# ASCII alone, since scripts without spaces go on right behind an address: what a person wrote is worth more than the
# rest of an address that is spelled with other letters.
_URL = re.compile(r"(?:https?://|www\.)[!-~]+", re.IGNORECASE)
# With the blanks that Unicode has among letters and symbols, with which people space out captions: Hangul's fillers,
# and the pattern of Braille without dots.
_SPACE = re.compile("[\\s\u115f\u1160\u2800\u3164\uffa0]+")
# Only what ends in ";": browsers also resolve "&not" in "rock&notroll", which nobody meant who wrote that.
_ENTITY = re.compile("&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Control characters, soft hyphens, marks and overrides of direction, byte order marks, the replacement character.
# Zero-width joiners stay: emoji sequences and several scripts are spelled with them.
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069"
    "\ufeff\ufffd]"
)
# Bold, script and double-struck letters, which people decorate posts with: to the encoder each word is unknown.
_SURROGATE = re.compile("[\ud800-\udfff]")
_STYLED = re.compile("[\U0001d400-\U0001d7ff]+")


class Dropped(StrEnum):
    """Why a post is not in the corpus; the first reason that holds is given."""

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


def clean(text: str | None) -> str:
    """The text as it is embedded: entities resolved, NFC, plain letters, no URLs, nothing invisible, single spaces.

    Lone surrogates, which no encoding of Unicode holds, are left out.
    """
    if not text:
        return ""
    text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
    text = _STYLED.sub(lambda found: unicodedata.normalize("NFKC", found[0]), _SURROGATE.sub("", text))
    text = unicodedata.normalize("NFC", _INVISIBLE.sub("", text))
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

    ``posts`` and ``accounts`` are lake rows of one bucket. Of equal texts of an account, and of nearly equal ones, the
    oldest stays (ties: the smaller post_id); ``duplicate_of`` names it. Of more posts than the cap, four fifths of it
    go to the newest, and the rest of it to the most engaging of the others (``_over_cap``); a post that others repeat
    is as new as the newest of those. Returns the columns of DECISIONS_SCHEMA.
    """
    known = accounts.select("account_id", account_deleted=pl.col("deleted_at").is_not_null())
    cleaned = [clean(text) for text in posts["text"]]
    rows = posts.with_columns(
        pl.Series("_clean", cleaned, dtype=pl.String),
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
    different = _mark(unique, _near_repeats, Dropped.NEAR_DUPLICATE)
    dated = _with_last_said(different)
    capped = _mark(dated, lambda rest: _over_cap(rest, max_posts_per_account), Dropped.OVER_CAP)
    return capped.select(pl.col(name).cast(dtype) for name, dtype in DECISIONS_SCHEMA.items())


def imprints(posts: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """(account_id, post_id, imprint): 64 bits of all that the decisions of an account's posts depend on, by post.

    Another version of polars may hash differently; decisions are then made once more.
    """
    known = accounts.select("account_id", _account_deleted=pl.col("deleted_at").is_not_null())
    of_post = posts.join(known, on="account_id", how="left", maintain_order="left").select(
        "account_id",
        "post_id",
        rules=pl.lit(DECISION_RULES),
        deleted=pl.col("deleted_at").is_not_null(),
        of_deleted="_account_deleted",
        posted_at="posted_at",
        text="text",
        tier=_tier(),
    )
    parts = [pl.col(name).hash(number) for number, name in enumerate(of_post.columns)]
    return of_post.select("account_id", "post_id", imprint=pl.sum_horizontal(parts).reinterpret(signed=True))


def undecided(now: pl.DataFrame, held: pl.DataFrame) -> pl.Series:
    """The accounts of which a post came, went or changed since decisions were made: of posts that are decided together.

    Both have (account_id, post_id, imprint).
    """
    on = ["account_id", "post_id", "imprint"]
    came = now.join(held, on=on, how="anti", nulls_equal=True)["account_id"]
    went = held.join(now, on=on, how="anti", nulls_equal=True)["account_id"]
    return pl.concat([came, went]).unique()


def count_decisions(decided: pl.DataFrame) -> pl.DataFrame:
    """How many posts of each bucket are in the corpus and how many each reason keeps out.

    (account_bucket, dropped_because, posts); posts that are in count under KEPT.
    """
    return decided.group_by("account_bucket", pl.col("dropped_because").fill_null(KEPT)).agg(
        pl.len().cast(pl.Int64).alias("posts")
    )


def _mark(rows: pl.DataFrame, select: Callable[[pl.DataFrame], pl.DataFrame], reason: Dropped) -> pl.DataFrame:
    """Give a reason to those still undropped rows that ``select`` picks: (post_id, and what each repeats or null)."""
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
    found: list[tuple[str, str]] = []
    ordered = rows.sort("account_id", "posted_at", "post_id", nulls_last=True)
    for of_account in ordered.partition_by("account_id", maintain_order=True):
        posts = of_account["post_id"].to_list()
        earlier = near_duplicates(of_account["_clean"].to_list())
        found += [(post, posts[of]) for post, of in zip(posts, earlier, strict=True) if of is not None]
    return pl.DataFrame(found, schema={"post_id": pl.String, "_repeats": pl.String}, orient="row")


def _with_last_said(rows: pl.DataFrame) -> pl.DataFrame:
    """With ``_last_said``: when a post's text was posted last, by itself or by one that repeats it.

    What a post repeats may be a near-duplicate, and what that repeats is kept: there are two steps at most.
    """
    repeated = rows.select(duplicate_of="post_id", _kept="duplicate_of").drop_nulls()
    ends = rows.join(repeated, on="duplicate_of", how="left", maintain_order="left")
    stands_for = pl.coalesce("_kept", "duplicate_of", "post_id")
    return ends.with_columns(_last_said=pl.col("posted_at").max().over(stands_for)).drop("_kept")


def _over_cap(rows: pl.DataFrame, cap: int) -> pl.DataFrame:
    """The posts that are too many of their account.

    The newest by ``_last_said`` (post_id decides between equal times) fill RECENT_SHARE of the cap: by its own date, an
    old text that is posted again and again would be in the corpus nowhere. What is left of it goes to the most
    engaging of the others, by tiers of a factor of four, because likes move all day and a post that comes and goes
    is embedded and deleted for nothing; within a tier to the newer.
    """
    place = pl.int_range(pl.len()).over("account_id")
    newest_first = rows.sort("_last_said", "post_id", descending=[True, False], nulls_last=True)
    ranked = newest_first.with_columns(_newest=place, _tier=_tier()).with_columns(
        _tier=pl.when(pl.col("_newest") < math.ceil(cap * RECENT_SHARE)).then(math.inf).otherwise("_tier")
    )
    best_first = ranked.sort("_tier", "_newest", descending=[True, False])
    return best_first.filter(place >= cap).select("post_id", pl.lit(None, pl.String).alias("_repeats"))


def _tier() -> pl.Expr:
    counted = (pl.col(name).fill_null(0).cast(pl.Int64) for name in ("likes", "comments", "shares"))
    return (pl.sum_horizontal(counted).clip(0) + 1).log(ENGAGEMENT_TIER).floor()


def attributes(posts: pl.DataFrame, accounts: pl.DataFrame) -> pl.DataFrame:
    """What a chunk is filtered and shown by: (post_id, account_id, handle, network, language, country, posted_at).

    The language is the account's own statement; a text whose language is known has its own. Each is in one spelling.
    """
    owners = accounts.select("account_id", "handle", *(spelled(name) for name in ("language", "country")))
    return posts.select("post_id", "account_id", "account_bucket", spelled("network"), "posted_at").join(
        owners, on="account_id", how="left"
    )


def spelled(name: str) -> pl.Expr:
    """A language, country or network in the one spelling that points and filters have; null for a blank.

    ``en`` for "en-US" and "EN", ``DE`` for "de", ``youtube`` for "YouTube".
    """
    stated = pl.col(name).cast(pl.String).str.strip_chars()
    one = stated.str.to_uppercase() if name == "country" else stated.str.to_lowercase()
    one = one.str.extract("^([^-_]+)") if name == "language" else one
    return pl.when(one != "").then(one).alias(name)
