"""Whose data an erasure is about: the account, and everything that is its own by key."""

import io
from collections.abc import Iterator

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TABLES
from assets.transforms.source.schema import POSTS, SOURCE_TABLES, account_bucket
from resources.delta.table import BUCKET, LakeResource, TableSpec
from resources.erasure.tombstones import HANDLE, POST, TESTIMONIAL, ErasureResource, Subject
from resources.s3.client import S3Resource

_KIND_OF_TABLE = {"posts": POST, "testimonials": TESTIMONIAL}


def subject_of(
    s3: S3Resource, lake: LakeResource, erasures: ErasureResource, account_id: str, bucket_count: int
) -> Subject:
    """The account and what is its own now; what was its own at an earlier attempt, the tombstone says.

    A post that another account has now is that one's. Reads the keys of the account's bucket.
    """
    bucket = account_bucket(account_id, bucket_count)
    items = {(POST, key) for key in _standing_keys(lake, LAKE_POSTS, account_id, bucket, POSTS.key)}
    for name, kind in _KIND_OF_TABLE.items():
        key = SOURCE_TABLES[name].key
        once = _extracted_keys(s3, name, key, account_id, bucket)
        elsewhere = lake.scan(LAKE_TABLES[name]).filter(
            pl.col(key).is_in(pl.Series(sorted(once), dtype=pl.String).implode())
            & pl.col("account_id").ne_missing(account_id)
        )
        items |= {(kind, value) for value in once - set(elsewhere.select(key).collect()[key])}
    items |= {(HANDLE, handle) for handle in _own_handles(lake, account_id)}
    return erasures.subject(account_id, items, _of_others(lake, account_id, bucket_count))


def _of_others(lake: LakeResource, account_id: str, bucket_count: int) -> Iterator[tuple[str, str]]:
    """(kind, id) of everything that another account has now, a bucket at a time.

    Grows with the lake: what the tombstone names are hashes, which only the same id makes again. Read when an erasure
    is repeated, as the scan reads everything then.
    """
    for name, kind, key in (
        *((table, kind, SOURCE_TABLES[table].key) for table, kind in _KIND_OF_TABLE.items()),
        ("accounts", HANDLE, "handle"),
    ):
        for bucket in range(bucket_count):
            others = lake.scan(LAKE_TABLES[name], bucket).filter(pl.col("account_id") != account_id)
            yield from ((kind, value) for value in others.select(key).collect()[key].drop_nulls())


def _standing_keys(lake: LakeResource, spec: TableSpec, account_id: str, bucket: int, key: str) -> set[str]:
    owned = lake.scan(spec, bucket).filter(pl.col("account_id") == account_id)
    return set(owned.select(key).collect()[key])


def _extracted_keys(s3: S3Resource, table: str, key: str, account_id: str, bucket: int) -> set[str]:
    """Keys of a table that were extracted with this account, ever. Reads two columns of its bucket's files."""
    found: set[str] = set()
    for item in s3.list_objects(f"raw/{table}/"):
        if item.key.endswith(".parquet") and f"/{BUCKET}={bucket}/" in item.key:
            body = s3.get(item.key)
            rows = pq.ParquetFile(io.BytesIO(body or b"")).read([key, "account_id"])
            found |= set(rows.filter(pc.equal(rows["account_id"], account_id))[key].drop_null().to_pylist())
    return found


def _own_handles(lake: LakeResource, account_id: str) -> list[str]:
    """The account's handle, unless an account elsewhere has the same: then it tells nothing."""
    accounts = lake.scan(LAKE_ACCOUNTS)
    own = accounts.filter(pl.col("account_id") == account_id).select("handle").collect()["handle"].drop_nulls()
    others = accounts.filter(pl.col("account_id") != account_id).filter(pl.col("handle").is_in(own.implode()))
    return sorted(set(own) - set(others.select("handle").collect()["handle"]))
