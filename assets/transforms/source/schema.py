"""Declare the source tables: columns, Arrow types, keys, and policies for changes."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

TIMESTAMP = pa.timestamp("us", tz="UTC")
REASON = "_reason"
"""Column of rejected source rows with the reason; a source table may have a column `reason` of its own."""


class Policy(StrEnum):
    """What to do when the source's columns differ from the declared columns.

    Evolve: land added columns too. Discard: leave added columns out. With both, a dropped column is null, and a column
    of another type is cast value by value. Freeze: read nothing until a person declares the change.
    """

    EVOLVE = "evolve"
    DISCARD = "discard"
    FREEZE = "freeze"


@dataclass(frozen=True)
class SourceTable:
    """One table of the source database: its Arrow schema, its key, and the columns that determine its bucket.

    The first of ``owner_columns`` that is not null is hashed: a brand's testimonial has no account.
    """

    name: str
    schema: pa.Schema
    key: str
    owner_columns: tuple[str, ...] = ("account_id",)
    required: tuple[str, ...] = ()
    policy: Policy = Policy.FREEZE
    about: Mapping[str, tuple[str, str]] = field(default_factory=dict, compare=False, repr=False)
    """Column → what it holds, and the kind of personal data in it, or blank."""


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


_text, _long = pa.string(), pa.int64()

_UPDATED = ("Last change of the row, by the application's clock. Extraction reads along it.", "")
_DELETED = ("When the application deleted the row; null for a live row.", "")
_ACCOUNT = ("Id of the creator's account.", "id")
_NETWORK = ("Social network, such as youtube.", "")

ACCOUNTS = SourceTable(
    "accounts",
    _schema(
        account_id=_text,
        network=_text,
        handle=_text,
        display_name=_text,
        bio=_text,
        followers=_long,
        country=_text,
        language=_text,
        created_at=TIMESTAMP,
        updated_at=TIMESTAMP,
        deleted_at=TIMESTAMP,
    ),
    key="account_id",
    required=("account_id", "network", "updated_at"),
    policy=Policy.DISCARD,  # an added column may hold personal data, so a person must declare it
    about={
        "account_id": _ACCOUNT,
        "network": _NETWORK,
        "handle": ("Public name of the account on its network.", "name"),
        "display_name": ("Name that the account shows.", "name"),
        "bio": ("What the creator says about the account.", "text"),
        "followers": ("Number of followers.", "attribute"),
        "country": ("Country of the creator, as stated.", "attribute"),
        "language": ("Language of the creator, as stated.", "attribute"),
        "created_at": ("When the account was created.", "attribute"),
        "updated_at": _UPDATED,
        "deleted_at": _DELETED,
    },
)
POSTS = SourceTable(
    "posts",
    _schema(
        post_id=_text,
        account_id=_text,
        network=_text,
        posted_at=TIMESTAMP,
        text=_text,
        hashtags=pa.list_(_text),
        media_url=_text,
        media_type=_text,
        likes=_long,
        comments=_long,
        views=_long,
        shares=_long,
        updated_at=TIMESTAMP,
        deleted_at=TIMESTAMP,
    ),
    key="post_id",
    required=("post_id", "account_id", "network", "updated_at"),
    policy=Policy.EVOLVE,  # networks often add figures, and those of a post are public
    about={
        "post_id": ("Id of the post.", "id"),
        "account_id": ("Id of the account that posted.", "id"),
        "network": _NETWORK,
        "posted_at": ("When it was posted.", ""),
        "text": ("Text of the post.", "text"),
        "hashtags": ("Hashtags of the post.", "text"),
        "media_url": ("Address of the image or video.", "text"),
        "media_type": ("Kind of media, such as image.", ""),
        "likes": ("Number of likes.", ""),
        "comments": ("Number of comments.", ""),
        "views": ("Number of views.", ""),
        "shares": ("Number of shares.", ""),
        "updated_at": _UPDATED,
        "deleted_at": _DELETED,
    },
)
TESTIMONIALS = SourceTable(
    "testimonials",
    _schema(
        testimonial_id=_text,
        brand=_text,
        campaign=_text,
        account_id=_text,
        author_role=_text,
        text=_text,
        rating=pa.int16(),
        created_at=TIMESTAMP,
        updated_at=TIMESTAMP,
        deleted_at=TIMESTAMP,
    ),
    key="testimonial_id",
    owner_columns=("account_id", "brand"),
    required=("testimonial_id", "updated_at"),
    policy=Policy.FREEZE,  # small, written by hand and quoted to customers, so a person decides on changes
    about={
        "testimonial_id": ("Id of the testimonial.", "id"),
        "brand": ("Brand that speaks.", ""),
        "campaign": ("Campaign that it is about.", ""),
        "account_id": ("Id of the account that it is about; null if it is about no account.", "id"),
        "author_role": ("Role of its author at the brand.", "attribute"),
        "text": ("Text of the testimonial.", "text"),
        "rating": ("Rating from 1 to 5; null if none was given.", ""),
        "created_at": ("When it was written.", ""),
        "updated_at": _UPDATED,
        "deleted_at": _DELETED,
    },
)
SOURCE_TABLES = {table.name: table for table in (ACCOUNTS, POSTS, TESTIMONIALS)}

LABELS_SCHEMA = _schema(
    item_kind=_text,
    item_id=_text,
    vertical=_text,
    is_member=pa.bool_(),
    annotator=_text,
    labelled_at=TIMESTAMP,
    is_review=pa.bool_(),
)
OPTIONAL_LABEL_COLUMNS = frozenset({"annotator", "labelled_at", "is_review"})


def account_bucket(owner: str, bucket_count: int) -> int:
    """Return the bucket of an owner id: the top bits of its md5, which SQL can compute too.

    ``bucket_count`` is a power of two. Doubling it splits bucket b into 2b and 2b+1. In Postgres:
    ``('x' || substr(md5(owner), 1, 8))::bit(32)::bigint * bucket_count >> 32``.
    """
    head = int.from_bytes(hashlib.md5(owner.encode(), usedforsecurity=False).digest()[:4], "big")
    return head * bucket_count >> 32


def with_bucket(table: SourceTable, rows: pa.Table, bucket_count: int) -> pa.Table:
    """Append the column ``account_bucket`` (int32). A row without an owner gets bucket 0."""
    owners = pc.coalesce(*(rows[name] for name in table.owner_columns)).combine_chunks()
    known, buckets = _buckets_of(owners, bucket_count)
    found = pc.take(buckets, pc.index_in(owners, value_set=known))
    return rows.append_column("account_bucket", pc.fill_null(found, 0))


_known: dict[int, tuple[pa.Array, pa.Array]] = {}
"""Bucket count → recent owners and their buckets, a cache: most posts are of an account that posted before."""
_MOST_KNOWN = 100_000


def _buckets_of(owners: pa.Array, bucket_count: int) -> tuple[pa.Array, pa.Array]:
    """Return an array of owners that includes ``owners``, and an array of their buckets."""
    nobody = pa.array([], pa.string()), pa.array([], pa.int32())
    known, buckets = _known.get(bucket_count, nobody)
    new = pc.unique(owners.filter(pc.is_null(pc.index_in(owners, value_set=known)))).drop_null()
    if not len(new):
        return known, buckets
    if len(known) + len(new) > _MOST_KNOWN:
        (known, buckets), new = nobody, pc.unique(owners).drop_null()
    found = pa.array([account_bucket(owner, bucket_count) for owner in new.to_pylist()], pa.int32())
    _known[bucket_count] = pa.concat_arrays([known, new]), pa.concat_arrays([buckets, found])
    return _known[bucket_count]


def lake_schema(table: SourceTable) -> pa.Schema:
    """Return the columns of a source table in the lake: its own and ``account_bucket``."""
    return table.schema.append(pa.field("account_bucket", pa.int32()))


def newest_usable(table: SourceTable, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the newest version of each usable row, and the unusable rows with a column REASON.

    A row is unusable if a required column is null or blank, or if a rating is outside 1 to 5.
    """
    reason = pl.coalesce(
        *(pl.when(_missing(rows, name)).then(pl.lit(f"{name} is missing")) for name in table.required),
        *(
            [pl.when(~pl.col("rating").is_between(1, 5)).then(pl.lit("rating is outside 1 to 5"))]
            if "rating" in rows.columns
            else []
        ),
    )
    judged = rows.with_columns(reason.alias(REASON))
    usable = judged.filter(pl.col(REASON).is_null()).drop(REASON)
    newest = usable.sort("updated_at", descending=True, maintain_order=True).unique(
        table.key, keep="first", maintain_order=True
    )
    return newest, judged.filter(pl.col(REASON).is_not_null())


def _missing(rows: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    return column.is_null() | (column.str.strip_chars() == "") if rows[name].dtype == pl.String else column.is_null()
