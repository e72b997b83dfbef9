"""The account to erase, with the keys of everything that it owns."""

import io
from collections.abc import Iterator

import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TABLES
from assets.transforms.source.schema import POSTS, SOURCE_TABLES, account_bucket
from resources.delta.table import BUCKET, LakeResource
from resources.erasure.tombstones import HANDLE, POST, TESTIMONIAL, ErasureResource, Subject
from resources.s3.client import S3Resource

_KIND_OF_TABLE = {"posts": POST, "testimonials": TESTIMONIAL}


def subject_of(
    s3: S3Resource, lake: LakeResource, erasures: ErasureResource, account_id: str, bucket_count: int
) -> Subject:
    """Return the account with its current items, and with those that its tombstone recorded at an earlier attempt.

    A post that moved to another account belongs to that account. Reads the keys of the account's bucket.
    """
    bucket = account_bucket(account_id, bucket_count)
    own_posts = lake.scan(LAKE_POSTS, bucket).filter(pl.col("account_id") == account_id).select(POSTS.key).collect()
    items = {(POST, key) for key in own_posts[POSTS.key]}
    for name, kind in _KIND_OF_TABLE.items():
        key = SOURCE_TABLES[name].key
        extracted = _extracted_keys(s3, name, key, account_id, bucket)
        moved = lake.scan(LAKE_TABLES[name]).filter(
            pl.col(key).is_in(pl.Series(sorted(extracted), dtype=pl.String).implode())
            & pl.col("account_id").ne_missing(account_id)
        )
        items |= {(kind, value) for value in extracted - set(moved.select(key).collect()[key])}
    items |= {(HANDLE, handle) for handle in _unshared_handles(lake, account_id)}
    return erasures.subject(account_id, items, _of_others(lake, account_id, bucket_count))


def _of_others(lake: LakeResource, account_id: str, bucket_count: int) -> Iterator[tuple[str, str]]:
    """Yield (kind, id) of every item of another account, bucket by bucket.

    The tombstone holds hashes, which only the same id reproduces. So a repeated erasure reads all keys of the lake.
    """
    for name, kind, key in (
        *((table, kind, SOURCE_TABLES[table].key) for table, kind in _KIND_OF_TABLE.items()),
        ("accounts", HANDLE, "handle"),
    ):
        for bucket in range(bucket_count):
            others = lake.scan(LAKE_TABLES[name], bucket).filter(pl.col("account_id") != account_id)
            yield from ((kind, value) for value in others.select(key).collect()[key].drop_nulls())


def _extracted_keys(s3: S3Resource, table: str, key: str, account_id: str, bucket: int) -> set[str]:
    """Return all keys that were ever extracted with this account. Reads two columns of its bucket's files."""
    found: set[str] = set()
    for item in s3.list_objects(f"raw/{table}/"):
        if item.key.endswith(".parquet") and f"/{BUCKET}={bucket}/" in item.key:
            body = s3.get(item.key)
            rows = pq.ParquetFile(io.BytesIO(body or b"")).read([key, "account_id"])
            found |= set(rows.filter(pc.equal(rows["account_id"], account_id))[key].drop_null().to_pylist())
    return found


def _unshared_handles(lake: LakeResource, account_id: str) -> list[str]:
    """Return the account's handle unless another account has the same one."""
    accounts = lake.scan(LAKE_ACCOUNTS)
    own = accounts.filter(pl.col("account_id") == account_id).select("handle").collect()["handle"].drop_nulls()
    others = accounts.filter(pl.col("account_id") != account_id).filter(pl.col("handle").is_in(own.implode()))
    return sorted(set(own) - set(others.select("handle").collect()["handle"]))
