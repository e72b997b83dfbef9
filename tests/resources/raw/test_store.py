"""Extraction windows: bounded files, complete only with a manifest, taken once."""

from dataclasses import asdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from resources.raw.store import BucketCountError, Manifest, RawStoreResource, WindowTakenError, parse_timestamp
from resources.raw.writer import WindowFile, WindowWriter
from resources.s3.client import S3Resource

SOURCE, TABLE = "postgres", "posts"


@pytest.fixture
def store(s3: S3Resource) -> RawStoreResource:
    return RawStoreResource(s3=s3)


def batch(first: int, count: int, buckets: int = 4) -> pa.Table:
    """Rows numbered from ``first``, each in the bucket number % buckets, of some 100 bytes each."""
    numbers = range(first, first + count)
    return pa.table(
        {
            "number": pa.array(numbers, pa.int64()),
            "text": pa.array([f"{number:0>90}" for number in numbers]),
            "account_bucket": pa.array([number % buckets for number in numbers], pa.int32()),
        }
    )


def write(store: RawStoreResource, number: int, *batches: pa.Table) -> tuple[WindowFile, ...]:
    with store.writer(SOURCE, TABLE, number, 4) as writer:
        for rows in batches:
            writer.add(rows)
        return writer.finish()


def manifest(number: int, lower: str | None, upper: str, files: tuple[WindowFile, ...]) -> Manifest:
    return Manifest(SOURCE, TABLE, number, lower, upper, 4, files)


def test_there_is_nothing_before_the_first_window(store: RawStoreResource) -> None:
    assert store.newest(SOURCE, TABLE) is None
    assert list(store.manifests(SOURCE, TABLE)) == []


def test_many_small_batches_become_a_file_a_bucket(store: RawStoreResource) -> None:
    files = write(store, 1, *(batch(first, 10) for first in range(0, 400, 10)))
    assert [(file.bucket, file.rows) for file in files] == [(0, 100), (1, 100), (2, 100), (3, 100)]
    read = store.read(files)
    assert sorted(read["number"]) == list(range(400))
    assert {number % 4 for number in store.read(files[1:2])["number"]} == {1}


def test_memory_is_bounded_by_rows_and_by_files(s3: S3Resource) -> None:
    held: list[int] = []
    with WindowWriter(s3, "raw/bounded", 4, rows_bytes=5_000, files_bytes=16_000) as writer:
        for first in range(0, 4_000, 10):
            writer.add(batch(first, 10))
            held.append(writer.held_bytes)
        files = writer.finish()
    # Rows gathered, waiting and encoded, and files of all buckets with one row group too many each.
    assert max(held) <= 3 * 6_200 + 2 * 16_000
    assert len(files) > 8, "files end when they are large enough"
    read = pa.concat_tables(pq.read_table(f"{s3.bucket}/{file.key}", filesystem=s3.arrow_filesystem) for file in files)
    assert sorted(read["number"].to_pylist()) == list(range(4_000))
    sizes = {item.key: item.size_bytes for item in s3.list_objects("raw/bounded/")}
    assert {file.key: file.size_bytes for file in files} == sizes


def test_an_upload_that_fails_fails_the_writing(s3: S3Resource) -> None:
    refused = S3Resource(**{**s3.model_dump(), "access_key_id": "nobody", "secret_access_key": "nothing"})
    with WindowWriter(refused, "raw/lost", 4) as writer:
        writer.add(batch(0, 10))
        with pytest.raises(ClientError, match="InvalidAccessKeyId"):
            writer.finish()


def test_a_window_without_rows_has_no_files(store: RawStoreResource) -> None:
    assert write(store, 1, batch(0, 0)) == ()


def test_windows_come_back_in_order_as_they_were(store: RawStoreResource) -> None:
    made = []
    for number in (1, 2, 10):
        files = write(store, number, batch(number * 100, 8))
        made.append(manifest(number, None if number == 1 else f"2024-01-0{number % 9}", "2024-02-01", files))
        store.complete(made[-1])
    assert list(store.manifests(SOURCE, TABLE)) == made
    assert list(store.manifests(SOURCE, TABLE, after=1)) == made[1:]
    assert store.newest(SOURCE, TABLE) == made[-1]
    assert made[0].rows == 8
    assert Manifest.from_json(asdict(made[0])) == made[0]
    assert list(store.manifests(SOURCE, "accounts")) == list(store.manifests("redshift", TABLE)) == []


def test_a_window_is_taken_once(store: RawStoreResource) -> None:
    written = [write(store, 1, batch(first * 100, 4)) for first in range(2)]
    mine, other = (manifest(1, None, "2024-01-01T00:00:00+00:00", files) for files in written)
    store.complete(mine)
    with pytest.raises(WindowTakenError, match="Window 1 of postgres/posts"):
        store.complete(other)
    assert store.newest(SOURCE, TABLE) == mine
    assert sorted(store.read(mine.files)["number"]) == [0, 1, 2, 3]


def test_files_of_a_crashed_attempt_do_not_count(s3: S3Resource, store: RawStoreResource) -> None:
    orphans = {file.key for file in write(store, 1, batch(500, 4))}
    assert store.newest(SOURCE, TABLE) is None
    store.complete(manifest(1, None, "2024-01-01T00:00:00+00:00", write(store, 1, batch(0, 4))))
    [found] = store.manifests(SOURCE, TABLE)
    assert not orphans & {file.key for file in found.files}
    assert orphans < {item.key for item in s3.list_objects("raw/")}, "they stand beside it, unread"
    assert sorted(store.read(found.files)["number"]) == [0, 1, 2, 3]


def test_bounds_are_moments_with_a_time_zone() -> None:
    assert parse_timestamp(None) is None
    read = parse_timestamp("2024-01-01T00:00:00.123456+00:00")
    assert read is not None
    assert (read.isoformat(), read.tzinfo is not None) == ("2024-01-01T00:00:00.123456+00:00", True)


def test_another_number_of_buckets_is_refused_before_anything_is_written(store: RawStoreResource) -> None:
    store.require_bucket_count("posts", 8)
    store.complete(Manifest("redshift", "posts", 1, None, "2026-01-01T00:00:00+00:00", bucket_count=8))
    store.require_bucket_count("posts", 8)
    store.require_bucket_count("accounts", 4)
    with pytest.raises(BucketCountError, match="for 8 buckets, but CIPPUS_BUCKETS is 4: set it to 8"):
        store.require_bucket_count("posts", 4)


def test_sources_are_those_with_windows(store: RawStoreResource) -> None:
    assert (store.sources("posts"), store.was_extracted("posts")) == ([], False)
    write(store, 1, batch(0, 4))
    assert (store.sources("posts"), store.was_extracted("posts")) == (["postgres"], False)
    store.complete(Manifest("redshift", "posts", 1, None, "2026-01-01T00:00:00+00:00", bucket_count=8))
    assert (store.sources("posts"), store.was_extracted("posts")) == (["postgres", "redshift"], True)
    assert store.sources("accounts") == []
