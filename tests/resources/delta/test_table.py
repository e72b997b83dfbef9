"""Writes to Delta tables: only differences are written, and races corrupt nothing."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.delta.file_cache import FILE_CACHE
from resources.delta.table import Changes, CommitConflictError, LakeResource, TableSpec

SPEC = TableSpec(
    "stage/things",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            ("key", pa.string()),
            ("text", pa.string()),
            ("items", pa.list_(pa.string())),
            ("updated_at", pa.timestamp("us", tz="UTC")),
        ]
    ),
    ("key",),
    text_columns=("text",),
)
WHOLE_SPEC = TableSpec("stage/whole", pa.schema([("key", pa.string()), ("number", pa.int64())]), ("key",), False)
DECEMBER, JANUARY, FEBRUARY = (datetime(2023 + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in (11, 12, 13))


def things(*rows: tuple[Any, ...]) -> pl.DataFrame:
    """Return rows of (bucket, key, text, items, updated_at); missing values are null."""
    width = len(SPEC.schema.names)
    full = [(*row, *[None] * (width - len(row))) for row in rows]
    return pl.DataFrame(full, schema=SPEC.polars_schema, orient="row")


def held(lake: LakeResource, spec: TableSpec = SPEC) -> list[tuple[Any, ...]]:
    return lake.scan(spec).collect().select(spec.schema.names).sort(spec.key).rows()


def version(lake: LakeResource) -> int:
    table = lake.open(SPEC)
    assert table is not None
    return table.version()


def test_a_table_that_was_never_written_is_empty(lake: LakeResource) -> None:
    assert lake.open(SPEC) is None
    assert lake.contents(SPEC) == {}
    assert lake.applied(SPEC, ["app"]) == {}
    assert lake.scan(SPEC).collect().schema == pl.Schema(SPEC.polars_schema)
    lake.delete_where(SPEC, "key = 'a'")
    assert lake.sync(SPEC, SPEC.empty(), 0) == Changes()
    assert lake.open(SPEC) is None, "an empty write creates no table"


def test_sync_writes_only_what_differs(lake: LakeResource) -> None:
    assert lake.sync(SPEC, things((0, "a", "one"), (0, "b", "two"), (0, "c", "three")), 0) == Changes(inserted=3)
    before = version(lake)
    desired = things((0, "a", "one"), (0, "b", "changed"), (0, "d", "new"))
    assert lake.sync(SPEC, desired, 0) == Changes(inserted=1, updated=1, deleted=1, unchanged=1)
    assert version(lake) == before + 1, "one commit"
    assert [row[1:3] for row in held(lake)] == [("a", "one"), ("b", "changed"), ("d", "new")]
    assert lake.sync(SPEC, desired, 0) == Changes(unchanged=3)
    assert version(lake) == before + 1


def test_sync_sees_swapped_contents(lake: LakeResource) -> None:
    lake.sync(SPEC, things((0, "a", "one"), (0, "b", "two")), 0)
    assert lake.sync(SPEC, things((0, "a", "two"), (0, "b", "one")), 0) == Changes(updated=2)
    assert [row[2] for row in held(lake)] == ["two", "one"]


def test_sync_compares_lists_and_nulls(lake: LakeResource) -> None:
    rows = things((0, "a", None, ["x", None], None), (0, "b", "", [], JANUARY), (0, "c", "", None, JANUARY))
    lake.sync(SPEC, rows, 0)
    assert lake.sync(SPEC, rows, 0) == Changes(unchanged=3)
    changed = things((0, "a", None, ["x"], None), (0, "b", "", [], JANUARY), (0, "c", "", [], JANUARY))
    assert lake.sync(SPEC, changed, 0) == Changes(updated=2, unchanged=1)
    assert [row[3] for row in held(lake)] == [["x"], [], []]


def test_sync_of_a_bucket_leaves_the_others(lake: LakeResource) -> None:
    lake.sync(SPEC, things((0, "a", "one")), 0)
    before = lake.contents(SPEC)[0]
    lake.sync(SPEC, things((1, "b", "two")), 1)
    lake.sync(SPEC, SPEC.empty(), 1)
    assert lake.contents(SPEC) == {0: before}


@pytest.mark.parametrize("key", ["it's", "''", "' OR 1=1 --", '"', "\\", "%_", "ключ", "a\nb", " "])
def test_keys_with_quotes_are_updated_and_deleted(lake: LakeResource, key: str) -> None:
    lake.sync(SPEC, things((0, key, "one"), (0, "other", "kept")), 0)
    assert lake.sync(SPEC, things((0, key, "two"), (0, "other", "kept")), 0) == Changes(updated=1, unchanged=1)
    assert (0, key, "two", None, None) in held(lake)
    assert lake.sync(SPEC, things((0, "other", "kept")), 0) == Changes(deleted=1, unchanged=1)
    assert [row[1] for row in held(lake)] == ["other"]


def test_a_table_without_buckets_is_synced_whole(lake: LakeResource) -> None:
    rows = pl.DataFrame({"key": ["a", "b"], "number": [1, 2]})
    assert lake.sync(WHOLE_SPEC, rows) == Changes(inserted=2)
    assert lake.sync(WHOLE_SPEC, rows.with_columns(number=pl.lit(2))) == Changes(updated=1, unchanged=1)
    [contents] = lake.contents(WHOLE_SPEC).values()
    assert (contents.rows, list(lake.contents(WHOLE_SPEC))) == (2, [-1])


def test_many_keys_are_changed_in_one_commit(lake: LakeResource) -> None:
    rows = things(*((0, f"key {number}", "one") for number in range(1_500)))
    assert lake.sync(SPEC, rows, 0) == Changes(inserted=1_500)
    assert lake.sync(SPEC, rows.with_columns(text=pl.lit("two")), 0) == Changes(updated=1_500)
    assert {row[2] for row in held(lake)} == {"two"}


def test_equal_fingerprints_mean_equal_rows(lake: LakeResource) -> None:
    lake.sync(SPEC, things((0, "a", "one"), (1, "b", "two")))
    first = lake.contents(SPEC)
    assert {bucket: found.rows for bucket, found in first.items()} == {0: 1, 1: 1}
    lake.sync(SPEC, things((1, "b", "changed")), 1)
    second = lake.contents(SPEC)
    assert second[0] == first[0]
    assert second[1].fingerprint != first[1].fingerprint


def test_text_is_kept_out_of_the_log(lake: LakeResource) -> None:
    lake.sync(SPEC, things((0, "visible-key", "secret text")), 0)
    log = b"".join(lake.s3.get(item.key) or b"" for item in lake.s3.list_objects(f"{SPEC.name}/_delta_log/"))
    assert b"visible-key" in log
    assert b"secret text" not in log


def test_only_newer_rows_win(lake: LakeResource) -> None:
    rows = things((0, "a", "january", None, JANUARY), (0, "b", "february", None, FEBRUARY))
    assert lake.merge_newer(SPEC, rows, [0], {"app": 1}) == Changes(inserted=2)
    later = things((0, "a", "newer", None, FEBRUARY), (0, "b", "stale", None, JANUARY), (0, "c", "new", None, JANUARY))
    assert lake.merge_newer(SPEC, later, [0], {"app": 2}) == Changes(inserted=1, updated=1, unchanged=1)
    assert [row[2] for row in held(lake)] == ["newer", "february", "new"]


def test_a_replayed_window_changes_no_row(lake: LakeResource) -> None:
    rows = things((0, "a", "one", ["x"], JANUARY), (1, "b", "two", [], JANUARY))
    lake.merge_newer(SPEC, rows, [0, 1], {"app": 1})
    before = held(lake)
    assert lake.merge_newer(SPEC, rows, [0, 1], {"app": 1}) == Changes(unchanged=2)
    assert held(lake) == before


def test_applications_are_recorded_with_their_rows(lake: LakeResource) -> None:
    lake.merge_newer(SPEC, things((0, "a", "one", None, JANUARY)), [0, 1], {"posts/0": 3, "posts/1": 3})
    lake.merge_newer(SPEC, SPEC.empty(), [0], {"posts/0": 4})
    lake.merge_newer(SPEC, things((0, "a", "stale", None, DECEMBER)), [0], {"posts/0": 5})
    assert lake.applied(SPEC, ["posts/0", "posts/1", "posts/2"]) == {"posts/0": 5, "posts/1": 3}
    assert [row[2] for row in held(lake)] == ["one"]
    lake.merge_newer(SPEC, SPEC.empty(), [1], {"posts/1": 4})
    assert lake.applied(SPEC, ["posts/1"]) == {"posts/1": 4}, "also for an empty bucket"


def race(*writers: Any) -> Counter[str]:
    """Start all writers at once. Return how many succeeded and how many were refused."""
    barrier = Barrier(len(writers))

    def attempt(write: Any) -> str:
        barrier.wait()
        try:
            write()
        except CommitConflictError:
            return "refused"
        return "done"

    with ThreadPoolExecutor(len(writers)) as pool:
        return Counter(pool.map(attempt, writers))


def test_concurrent_merges_of_different_buckets_both_land(lake: LakeResource) -> None:
    seed = things(*((bucket, f"{bucket}-old", "old", None, JANUARY) for bucket in range(4)))
    lake.merge_newer(SPEC, seed, range(4), {f"app/{bucket}": 1 for bucket in range(4)})

    def writer(bucket: int) -> Any:
        rows = things(
            (bucket, f"{bucket}-old", "new", None, FEBRUARY), (bucket, f"{bucket}-more", "new", None, JANUARY)
        )
        return lambda: lake.merge_newer(SPEC, rows, [bucket], {f"app/{bucket}": 2})

    assert race(*(writer(bucket) for bucket in range(4))) == {"done": 4}
    assert {row[1]: row[2] for row in held(lake)} == {
        f"{bucket}-{name}": "new" for bucket in range(4) for name in ("old", "more")
    }
    assert set(lake.applied(SPEC, [f"app/{bucket}" for bucket in range(4)]).values()) == {2}


@pytest.mark.parametrize("is_seeded", [False, True])
def test_two_writers_of_one_bucket_never_repeat_a_row(lake: LakeResource, is_seeded: bool) -> None:
    lake.create(SPEC)
    if is_seeded:
        lake.merge_newer(SPEC, things((0, "a", "old", None, JANUARY)), [0], {"app": 1})
    window = things((0, "a", "new", None, FEBRUARY), (0, "b", "new", None, FEBRUARY))

    def merge() -> None:
        lake.merge_newer(SPEC, window, [0], {"app": 2})

    outcome = race(merge, merge, merge)
    assert outcome == {"done": 3}, "writers with a conflict tried again"
    assert [row[1:3] for row in held(lake)] == [("a", "new"), ("b", "new")]
    assert lake.applied(SPEC, ["app"]) == {"app": 2}


def test_a_stage_reads_a_bucket_whole_and_once(lake: LakeResource) -> None:
    lake.sync(SPEC, things((0, "a", "one", ["x"], JANUARY), (0, "b", None, None, None)), 0)
    lake.sync(SPEC, things((1, "c", "three")), 1)
    with lake.steady():
        for bucket in (0, 1, 2):
            by_query = lake.scan_cached(SPEC, bucket).collect()
            by_delta = lake.scan(SPEC).filter(pl.col("account_bucket") == bucket).collect()
            assert by_query.schema == by_delta.schema
            assert by_query.equals(by_delta)
    lake.s3.delete([item.key for item in lake.s3.list_objects("stage/things/account_bucket=0/")])
    with lake.steady():
        assert lake.scan_cached(SPEC, 0).select("key").collect().to_series().to_list() == ["a", "b"], "from memory"
    with pytest.raises(OSError, match=r"(?i)not.?found|no such"):
        lake.scan(SPEC, 0).collect()
    snapshot = lake.snapshot(SPEC)
    assert snapshot is not None
    assert lake.lookup(SPEC, snapshot).altered_files() == 1, "the check reads S3 and not the cache"


def test_a_bucket_that_is_too_large_is_not_read_whole(lake: LakeResource, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.sync(SPEC, things((0, "a", "one")), 0)
    monkeypatch.setattr("resources.delta.table.MOST_WHOLE_BYTES", 10)
    monkeypatch.setattr("resources.delta.snapshot.Lookup.query", None)
    with lake.steady():
        assert lake.scan_cached(SPEC, 0).collect()["text"].to_list() == ["one"]


def test_a_stage_reads_files_of_another_writer_as_everybody_does(lake: LakeResource) -> None:
    """For example files with milliseconds, in a table with microseconds."""
    lake.sync(SPEC, things((0, "a", "one", ["x"], JANUARY)), 0)
    table = lake.open(SPEC)
    assert table is not None
    action = pl.DataFrame(table.get_add_actions(flatten=True))["path"][0]
    key = f"{SPEC.name}/{action}"
    body = pq.read_table(pa.BufferReader(lake.s3.get(key)))
    column = body.schema.get_field_index("updated_at")
    other = body.set_column(column, "updated_at", body["updated_at"].cast(pa.timestamp("ms", tz="UTC")))
    made = pa.BufferOutputStream()
    pq.write_table(other, made)
    lake.s3.put(key, made.getvalue().to_pybytes())
    FILE_CACHE.keep(key, made.getvalue().to_pybytes())
    with lake.steady():
        assert lake.scan_cached(SPEC, 0).collect().equals(things((0, "a", "one", ["x"], JANUARY)))
