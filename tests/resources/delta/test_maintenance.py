"""Maintenance: fragmentation is measured from the log, and compaction changes no row and no fingerprint."""

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from dagster import AssetKey, DagsterInstance
from deltalake import DeltaTable, WriterProperties, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.stages import TABLES
from pipelines.definitions import defs
from pipelines.jobs.lake_maintenance import lake_maintenance
from resources.delta.maintenance import (
    MOST_OVERLAP,
    MOST_SMALL_FILES,
    Fragmentation,
    LakeMaintenance,
    chosen_files,
    fragmentation,
    merged,
)
from resources.delta.snapshot import Snapshot
from resources.delta.table import LakeResource, TableSpec
from resources.local_stack import EmbeddedStack
from tests.worlds.lineage import World
from tests.worlds.loaded import loaded_world, world_name

SPEC = TableSpec(
    "lake/scattered",
    pa.schema(
        [
            ("account_bucket", pa.int32()),
            ("key", pa.string()),
            ("number", pa.int64()),
            ("updated_at", pa.timestamp("us", tz="UTC")),
        ]
    ),
    ("key",),
    feeds=True,
)
DAY = datetime(2024, 1, 1, tzinfo=UTC)


def rows(*keys: str, bucket: int = 0, number: int = 0) -> pl.DataFrame:
    return pl.DataFrame([(bucket, key, number, DAY) for key in keys], schema=SPEC.polars_schema, orient="row")


def snapshot_of(*files: tuple[int, int, str | None, str | None]) -> Snapshot:
    """Return a snapshot of files, given as (bucket, bytes, least, greatest)."""
    listed = [(number, f"f{number}", size, 1, *rest, 0) for number, (bucket, size, *rest0) in enumerate(files)
              for rest in [(bucket, *rest0)]]  # fmt: skip
    schema = {
        "_file": pl.UInt32, "path": pl.String, "size_bytes": pl.Int64, "rows": pl.Int64, "bucket": pl.Int64,
        "least": pl.String, "greatest": pl.String, "nulls": pl.Int64,
    }  # fmt: skip
    return Snapshot(1, pl.DataFrame(listed, schema=schema, orient="row"), SPEC.schema, True)


LARGE, SMALL = SPEC.target_bytes, 1_000


def test_fragmentation_is_measured_by_bucket() -> None:
    found = fragmentation(
        snapshot_of(
            (0, LARGE, "a", "c"), (0, LARGE, "c", "e"), (0, LARGE, "f", "g"), (0, SMALL, "a", "z"),
            (1, SMALL, "a", "b"), (1, SMALL, "c", "d"), (2, LARGE, None, None), (2, LARGE, "a", "b"),
        ),
        SPEC,
    )  # fmt: skip
    assert found == [Fragmentation(0, 4, 1, 2), Fragmentation(1, 2, 2, 0), Fragmentation(2, 2, 0, 2)]
    assert not any(it.is_due for it in found)


@pytest.mark.parametrize(("small", "overlap", "is_due"), [
    (MOST_SMALL_FILES, MOST_OVERLAP, False), (MOST_SMALL_FILES + 1, 0, True), (0, MOST_OVERLAP + 1, True),
])  # fmt: skip
def test_thresholds(small: int, overlap: int, is_due: bool) -> None:
    files = [(0, SMALL, "a", "b")] * small + [(0, LARGE, "a", "b")] * overlap
    [found] = fragmentation(snapshot_of(*files), SPEC)
    assert (found.small_files, found.overlap) == (small, overlap)
    assert found.is_due is is_due


def test_the_longest_runs_stay() -> None:
    long_run = [(0, LARGE, letter, letter) for letter in "abcdefghij"]
    wide = [(0, LARGE, "a", "z")] * MOST_OVERLAP
    snapshot = snapshot_of(*long_run, *wide, (0, SMALL, "b", "b"), (1, SMALL, "b", "b"))
    chosen = [file.path for file in chosen_files(snapshot, SPEC, 0)]
    assert len(chosen) == 1 + MOST_OVERLAP + 1 - MOST_OVERLAP // 2
    assert not set(chosen) & {f"f{number}" for number in range(len(long_run))}
    few = snapshot_of(*long_run, (0, SMALL, "b", "b"), (0, SMALL, "c", "c"))
    assert [file.path for file in chosen_files(few, SPEC, 0)] == ["f10", "f11"], "small files only"


streams = st.lists(
    st.lists(st.lists(st.none() | st.sampled_from("abcd"), min_size=1, max_size=4), max_size=3), max_size=4
)


@settings(max_examples=50, deadline=None)
@given(streams)
def test_sorted_streams_are_merged_in_order_and_whole(found: list[list[list[str | None]]]) -> None:
    order: Any = lambda key: (key is not None, key or "")  # noqa: E731
    sources = []
    for source in found:
        keys = iter(sorted((key for batch in source for key in batch), key=order))
        sources.append(
            [pl.DataFrame({"key": [next(keys) for _ in batch]}, schema={"key": pl.String}) for batch in source]
        )
    given_keys = [key for source in sources for batch in source for key in batch["key"]]
    batches = list(merged(["key"], [iter(source) for source in sources]))
    assert [key for batch in batches for key in batch["key"]] == sorted(given_keys, key=order)


def test_merging_streams_holds_a_batch_of_each() -> None:
    taken = [0, 0]

    def source(number: int) -> Iterator[pl.DataFrame]:
        for batch in range(50):
            taken[number] += 1
            yield pl.DataFrame({"key": [batch * 10 + number, batch * 10 + 5 + number]})

    for at, _ in enumerate(merged(["key"], [source(0), source(1)])):
        assert max(taken) <= at + 2, "no stream is read ahead"
    assert taken == [50, 50]


@pytest.fixture
def scattered(lake: LakeResource) -> LakeResource:
    """A table whose bucket 0 is over the threshold; bucket 1 is not."""
    lake.append(SPEC, rows("x", bucket=1))
    for number in range(MOST_SMALL_FILES + 1):
        lake.append(SPEC, rows(f"k{number:02d}", f"l{number:02d}", number=number))
    return lake


def test_only_due_buckets_are_put_in_order_and_nothing_changes(scattered: LakeResource) -> None:
    lake = scattered
    before, held = lake.contents(SPEC), lake.scan(SPEC).collect().sort("key")
    files = {item.key for item in lake.s3.list_objects(f"{SPEC.name}/account_bucket=1")}
    done = LakeMaintenance(lake).compact(SPEC)
    assert (done.buckets, done.files_before, done.files_after) == (1, MOST_SMALL_FILES + 1, 1)
    after = lake.contents(SPEC)
    assert {bucket: (it.fingerprint, it.rows) for bucket, it in after.items()} == {
        bucket: (it.fingerprint, it.rows) for bucket, it in before.items()
    }
    assert lake.scan(SPEC).collect().sort("key").equals(held)
    assert {item.key for item in lake.s3.list_objects(f"{SPEC.name}/account_bucket=1")} == files
    table = lake.create(SPEC)
    feed = table.load_cdf(starting_version=table.version(), ending_version=table.version()).read_all()
    assert feed.num_rows == 0, "the change feed has no change"
    version = table.version()
    assert LakeMaintenance(lake).compact(SPEC).buckets == 0
    assert lake.create(SPEC).version() == version
    lake.sync(SPEC, rows("x", bucket=1, number=7), 1)
    assert lake.contents(SPEC)[1].fingerprint != before[1].fingerprint


def test_a_foreign_file_that_is_not_sorted_is_put_in_order(scattered: LakeResource) -> None:
    lake = scattered
    in_pairs = WriterProperties(max_row_group_size=2)
    write_deltalake(lake.create(SPEC), rows("y", "z", "a", "m"), mode="append", writer_properties=in_pairs)
    assert LakeMaintenance(lake).compact(SPEC).buckets == 1
    [path] = [file for file in lake.create(SPEC).file_uris() if "account_bucket=0" in file]
    body = lake.s3.get(path.removeprefix(lake.s3.uri(""))) or b""
    assert pl.read_parquet(body)["key"].is_sorted()
    assert lake.contents(SPEC)[0].rows == 2 * (MOST_SMALL_FILES + 1) + 4


def test_files_and_log_stay_for_the_retention(scattered: LakeResource) -> None:
    lake = scattered
    reader = DeltaTable(lake.s3.uri(SPEC.name), storage_options=lake.s3.storage_options)
    LakeMaintenance(lake).compact(SPEC)
    assert LakeMaintenance(lake).clean(SPEC) == 0
    assert reader.to_pyarrow_table().num_rows == 2 * (MOST_SMALL_FILES + 1) + 1, (
        "a reader that began before can continue"
    )
    strict = LakeMaintenance(LakeResource(s3=lake.s3, retention_hours=0))
    assert strict.clean(SPEC) >= MOST_SMALL_FILES + 1
    assert lake.scan(SPEC).collect().height == 2 * (MOST_SMALL_FILES + 1) + 1
    found = {item.key.rsplit("/", 1)[1] for item in lake.s3.list_objects(f"{SPEC.name}/_delta_log/")}
    assert any(name.endswith(".checkpoint.parquet") for name in found)


def test_the_job_tidies_every_table_and_downstream_sees_no_change(stack: EmbeddedStack, tmp_path: Any) -> None:
    world: World = loaded_world(stack).clone(world_name("tidied"), tmp_path)
    assert {spec.name for spec in TABLES} >= set(world.versions())
    with DagsterInstance.ephemeral() as instance, warnings.catch_warnings():
        # Dagster 1.13.27 calls its own deprecated property for nested resources.
        warnings.filterwarnings("ignore", "InitResourceContext.dagster_run is deprecated", DeprecationWarning)
        lake = world.unused_resources()["lake"]
        assert lake_maintenance.execute_in_process(instance=instance, resources={"lake": lake}).success
    report = world.run_well("corpus", "embedding", "summary", "mart")
    assert not world.embedded_texts
    for name, counts in report.assets.items():
        assert counts["inserted"] == counts["updated"] == counts["deleted"] == 0, name


def test_every_table_says_what_the_page_says_and_has_statistics_where_people_filter(stack: EmbeddedStack) -> None:
    world, graph = loaded_world(stack), defs.resolve_asset_graph()
    written = {spec: table for spec in TABLES if (table := world.lake.open(spec)) is not None}
    assert len(written) > 30
    for spec, table in written.items():
        assert table.metadata().description == graph.get(AssetKey(spec.name.split("/"))).description
        said = {field.name: field.metadata.get("comment") for field in table.schema().fields}
        assert said == {name: column.description for name, column in spec.columns.items()}, spec.name
        assert table.metadata().configuration["delta.dataSkippingStatsColumns"].split(",") == spec.measured
        if spec.name.startswith(("lake/", "mart/")) or spec.name == "corpus/cippus_text":
            words = {"network", "country", "language", "vertical", "brand"}
            filtered = {of.name for of in spec.schema if of.name in words or pa.types.is_temporal(of.type)}
            assert filtered <= {*spec.measured}, spec.name
