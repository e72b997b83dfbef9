"""The contract with the source: tables, columns, Arrow types and keys."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

TIMESTAMP = pa.timestamp("us", tz="UTC")
REASON = "_reason"
"""The column of rejected source rows that says why: a source may have one that is named `reason`."""


class Policy(StrEnum):
    """What happens when the source's columns are not the declared ones.

    Evolve: added columns travel along. Discard: they are left out. Both: a column that is gone is null, and one of
    another type is cast value by value. Freeze: nothing is read until a person has decided.
    """

    EVOLVE = "evolve"
    DISCARD = "discard"
    FREEZE = "freeze"


@dataclass(frozen=True)
class SourceTable:
    """One table of the source database: its Arrow schema, its key, and the columns that decide its bucket.

    ``owner_columns`` are tried in order; the first that is not null is hashed (a brand's testimonial has no account).
    """

    name: str
    schema: pa.Schema
    key: str
    owner_columns: tuple[str, ...] = ("account_id",)
    required: tuple[str, ...] = ()
    policy: Policy = Policy.FREEZE


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


_text, _long, _moment = pa.string(), pa.int64(), TIMESTAMP

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
        created_at=_moment,
        updated_at=_moment,
        deleted_at=_moment,
    ),
    key="account_id",
    required=("account_id", "network", "updated_at"),
    policy=Policy.DISCARD,  # what is added to people's accounts may be personal: it comes in when somebody declares it
)
POSTS = SourceTable(
    "posts",
    _schema(
        post_id=_text,
        account_id=_text,
        network=_text,
        posted_at=_moment,
        text=_text,
        hashtags=pa.list_(_text),
        media_url=_text,
        media_type=_text,
        likes=_long,
        comments=_long,
        views=_long,
        shares=_long,
        updated_at=_moment,
        deleted_at=_moment,
    ),
    key="post_id",
    required=("post_id", "account_id", "network", "updated_at"),
    policy=Policy.EVOLVE,  # networks add figures all the time, and a post's are public
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
        created_at=_moment,
        updated_at=_moment,
        deleted_at=_moment,
    ),
    key="testimonial_id",
    owner_columns=("account_id", "brand"),
    required=("testimonial_id", "updated_at"),
    policy=Policy.FREEZE,  # small, hand-written, quoted to customers: a change of it is somebody's decision
)
SOURCE_TABLES = {table.name: table for table in (ACCOUNTS, POSTS, TESTIMONIALS)}

LABELS_SCHEMA = _schema(item_kind=_text, item_id=_text, vertical=_text, is_member=pa.bool_(), annotator=_text)


def account_bucket(owner: str, bucket_count: int) -> int:
    """The bucket of an owner id: the top bits of md5, so that SQL, Python and a later split agree.

    ``bucket_count`` is a power of two. Doubling it splits each bucket b into 2b and 2b+1. In Postgres:
    ``('x' || substr(md5(owner), 1, 8))::bit(32)::bigint * bucket_count >> 32``.
    """
    head = int.from_bytes(hashlib.md5(owner.encode(), usedforsecurity=False).digest()[:4], "big")
    return head * bucket_count >> 32


def with_bucket(table: SourceTable, rows: pa.Table, bucket_count: int) -> pa.Table:
    """The rows with a column ``account_bucket`` (int32). A row without any owner falls into bucket 0."""
    owners = pc.coalesce(*(rows[name] for name in table.owner_columns)).combine_chunks()
    known, buckets = _buckets_of(owners, bucket_count)
    found = pc.take(buckets, pc.index_in(owners, value_set=known))
    return rows.append_column("account_bucket", pc.fill_null(found, 0))


_known: dict[int, tuple[pa.Array, pa.Array]] = {}
"""Bucket count → owners that were seen lately and their buckets: most posts are of an account that posted before."""
_MOST_KNOWN = 100_000


def _buckets_of(owners: pa.Array, bucket_count: int) -> tuple[pa.Array, pa.Array]:
    """Owners, among them all of these, with their buckets."""
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
    """The columns of a source table in the lake: its own, and the bucket."""
    return table.schema.append(pa.field("account_bucket", pa.int32()))


def newest_usable(table: SourceTable, rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The newest version of each usable row, and the rows that cannot be used, with a column REASON.

    A row is unusable when a required column is null or blank, or when a rating lies outside 1 to 5.
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
