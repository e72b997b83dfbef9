"""Refreshing a stage's buckets, some at a time: what each did adds up, and one that fails leaves the others' work."""

import threading
from collections.abc import Mapping, Sequence

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest

from assets.framework.incremental import RunMetrics, Stage, refresh, refresh_table
from assets.partitions import BUCKETS
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, Contents, LakeResource, TableSpec

INPUT = TableSpec("in", pa.schema([("account_bucket", pa.int32()), ("key", pa.string())]), ("key",))
OUTPUT = TableSpec("out", pa.schema([("account_bucket", pa.int32()), ("key", pa.string())]), ("key",))
STAGE = Stage(OUTPUT.name, (INPUT,))
LAST = 3


def put(lake: LakeResource, spec: TableSpec, bucket: int, *keys: str) -> None:
    rows = pl.DataFrame({"account_bucket": bucket, "key": list(keys)}, schema=spec.polars_schema)
    lake.sync(spec, rows, bucket)


@pytest.fixture
def world(lake: LakeResource) -> tuple[LakeResource, LedgerResource]:
    for bucket in range(LAST + 1):
        put(lake, INPUT, bucket, f"{bucket}a", f"{bucket}b")
    return lake, LedgerResource(s3=lake.s3)


def refreshed(body: object) -> RunMetrics:
    """Run a body as the asset of four buckets would be."""
    done: list[RunMetrics] = []

    @dg.asset(partitions_def=BUCKETS, backfill_policy=dg.BackfillPolicy.single_run())
    def out(context: dg.AssetExecutionContext) -> None:
        done.append(body(context))  # type: ignore[operator]

    tags = {"dagster/asset_partition_range_start": "0", "dagster/asset_partition_range_end": str(LAST)}
    dg.materialize([out], tags=tags)
    return done[0]


def copied(lake: LakeResource, bucket: int) -> Changes:
    return lake.sync(OUTPUT, lake.scan(INPUT, bucket).collect(), bucket)


@pytest.mark.parametrize("threads", [1, 3])
def test_each_bucket_is_made_once_and_only_while_it_is_stale(
    world: tuple[LakeResource, LedgerResource], threads: int
) -> None:
    lake, ledger = world
    made: list[int] = []

    def make(bucket: int, tally: RunMetrics) -> Changes:
        made.append(bucket)
        tally.counts["looked at"] += 1
        return copied(lake, bucket)

    def run() -> RunMetrics:
        made.clear()
        contents = lambda _: lake.contents(OUTPUT)  # noqa: E731
        return refreshed(lambda context: refresh(context, lake, ledger, STAGE, contents, make, threads))

    first = run()
    assert sorted(made) == [0, 1, 2, 3]
    assert (first.rows, first.changes, first.counts["looked at"]) == (8, Changes(inserted=8), 4)
    again = run()
    assert made == []
    assert (again.rows, again.skipped, again.buckets_skipped, again.changes) == (8, 8, 4, Changes())
    put(lake, INPUT, 2, "2a", "2c")
    changed = run()
    assert made == [2]
    assert (changed.rows, changed.skipped, changed.buckets_skipped) == (8, 6, 3)
    assert changed.changes == Changes(inserted=1, deleted=1, unchanged=1)
    assert lake.scan(OUTPUT).collect().sort("key").equals(lake.scan(INPUT).collect().sort("key"))
    put(lake, OUTPUT, 7, "7a")
    last = run()
    assert (last.rows, last.table_rows) == (8, 9), "a bucket that the run did not look at has a row too"


def test_two_buckets_are_made_at_a_time(world: tuple[LakeResource, LedgerResource]) -> None:
    lake, ledger = world
    both = threading.Barrier(2, timeout=30)

    def make(bucket: int, _tally: RunMetrics) -> Changes:
        both.wait()  # breaks unless another bucket is on its way, too
        return copied(lake, bucket)

    def contents(_: Sequence[int]) -> Mapping[int, Contents]:
        return lake.contents(OUTPUT)

    assert refreshed(lambda context: refresh(context, lake, ledger, STAGE, contents, make, 2)).rows == 8


def test_a_bucket_that_fails_ends_the_stage_and_leaves_what_others_did(
    world: tuple[LakeResource, LedgerResource],
) -> None:
    lake, ledger = world
    fails = True

    def compute(bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
        if bucket == 1 and fails:
            raise ValueError("bucket 1 cannot be made")
        return lake.scan(INPUT, bucket).collect()

    def body(context: dg.AssetExecutionContext) -> object:
        return refresh_table(context, lake, ledger, STAGE, OUTPUT, compute)

    with pytest.raises(ValueError, match="bucket 1 cannot be made"):
        refreshed(body)
    recorded = ledger.entries(STAGE.name, range(LAST + 1))
    assert 0 in recorded
    assert 1 not in recorded
    assert recorded.keys() == lake.contents(OUTPUT).keys(), "what was written was recorded, too"
    fails = False
    refreshed(body)
    assert lake.scan(OUTPUT).collect().sort("key").equals(lake.scan(INPUT).collect().sort("key"))
