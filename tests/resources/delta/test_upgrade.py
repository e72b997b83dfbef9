"""A table of an older release is read and written by a release with more columns."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Barrier
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake.table import TableAlterer

from resources.delta.table import LakeResource, TableSpec, in_columns

OLD = TableSpec("corpus/some", pa.schema([("account_bucket", pa.int32()), ("key", pa.string())]), ("key",))
NEW = TableSpec("corpus/some", OLD.schema.append(pa.field("added", pa.string())), ("key",))


def test_new_columns_are_null_until_they_are_written(lake: LakeResource) -> None:
    lake.append(OLD, pl.DataFrame({"account_bucket": [0, 0], "key": ["a", "b"]}))
    assert sorted(lake.scan(NEW, 0).select("key", "added").collect().rows()) == [("a", None), ("b", None)]
    desired = pl.DataFrame({"account_bucket": [0, 0, 0], "key": ["a", "b", "c"], "added": ["x", None, "y"]})
    changes = lake.sync(NEW, desired, 0)
    assert (changes.inserted, changes.updated, changes.unchanged) == (1, 1, 1)
    assert sorted(lake.scan(NEW).select(NEW.schema.names).collect().rows()) == sorted(desired.rows())
    assert lake.sync(NEW, desired, 0).written == 0


def test_rows_are_appended_to_an_older_table(lake: LakeResource) -> None:
    lake.append(OLD, pl.DataFrame({"account_bucket": [0], "key": ["a"]}))
    lake.append(NEW, pl.DataFrame({"account_bucket": [0], "key": ["b"], "added": ["y"]}))
    assert sorted(lake.scan(NEW).select("key", "added").collect().rows()) == [("a", None), ("b", "y")]


def test_two_buckets_of_an_older_table_are_brought_up_to_date_at_a_time(lake: LakeResource) -> None:
    buckets, both = range(4), Barrier(4, timeout=30)
    for bucket in buckets:
        lake.append(OLD, pl.DataFrame({"account_bucket": [bucket], "key": [f"{bucket}"]}))

    def bring_up_to_date(bucket: int) -> None:
        current = lake.bucket_rows(NEW, bucket)
        held = in_columns(NEW, current)
        assert held.select("key", "added").rows() == [(f"{bucket}", None)]
        both.wait()
        lake.sync(NEW, held.with_columns(added=pl.lit("x")), bucket, current)

    with lake.steady(), ThreadPoolExecutor(4) as pool:
        list(pool.map(bring_up_to_date, buckets))
    assert sorted(lake.scan(NEW).select("key", "added").collect().rows()) == [(f"{bucket}", "x") for bucket in buckets]


def test_two_processes_add_columns_to_an_older_table_at_a_time(lake: LakeResource) -> None:
    lake.append(OLD, pl.DataFrame({"account_bucket": [0], "key": ["a"]}))
    stale = LakeResource(s3=lake.s3).open(OLD)
    assert stale is not None
    lake.append(NEW, pl.DataFrame({"account_bucket": [0], "key": ["b"], "added": ["y"]}))
    wider = NEW.schema.append(pa.field("more", pa.string()))
    assert [field.name for field in lake.with_columns(stale, wider).schema().fields] == wider.names
    assert sorted(lake.scan(NEW).select("key", "added").collect().rows()) == [("a", None), ("b", "y")]


@pytest.mark.parametrize("is_committed", [True, False])
def test_columns_whose_commit_has_no_answer_are_added_once(
    lake: LakeResource, monkeypatch: pytest.MonkeyPatch, *, is_committed: bool
) -> None:
    lake.append(OLD, pl.DataFrame({"account_bucket": [0], "key": ["a"]}))
    add, calls = TableAlterer.add_columns, list[int]()

    def unanswered(self: TableAlterer, *arguments: Any) -> None:
        calls.append(1)
        if is_committed:
            add(self, *arguments)
        message = "Generic S3 error: connection reset by peer"
        raise OSError(message)

    monkeypatch.setattr(TableAlterer, "add_columns", unanswered)
    with nullcontext() if is_committed else pytest.raises(OSError, match="reset by peer"):
        table = lake.with_columns(lake.create(OLD), NEW.schema)
        assert [field.name for field in table.schema().fields] == NEW.schema.names
    assert len(calls) == 1
