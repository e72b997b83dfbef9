"""What a run reports to Dagster: figures and a data version per bucket, totals once, and the headline of a failure."""

import json
from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl
import pyarrow as pa
import pytest
from dagster import AssetExecutionContext, DagsterInstance, DataVersion

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, preview
from assets.framework.logs import logging_bucket
from assets.framework.reporting import last_timed, run_totals
from resources.delta.table import Changes, Column, Contents, TableSpec
from resources.errors import PermanentFailure, TransientFailure

TABLE = TableSpec("mart/things", pa.schema([("account_bucket", pa.int32()), ("key", pa.string())]), ("key",))
VERSION_TAG = "dagster/data_version"


def things(rows: Mapping[int, int], *, partitioned: bool = True) -> dg.AssetsDefinition:
    """An asset whose buckets have so many rows, and fingerprints that say so."""
    without: dict[str, Any] = {} if partitioned else {"partitions_def": None, "backfill_policy": None}

    @asset(table=TABLE, code_version="7", **without)
    def made(context: AssetExecutionContext) -> RunMetrics:
        metrics = RunMetrics(notes={"generation": 3}, table_rows=sum(rows.values()))
        for bucket in map(int, context.partition_keys) if partitioned else rows:
            of_bucket = RunMetrics(changes=Changes(inserted=rows[bucket]))
            of_bucket.counts["odd"] = bucket % 2
            of_bucket.hold(Contents(f"{rows[bucket]} rows", rows[bucket], 10))
            of_bucket.seconds = 0.0
            metrics += of_bucket
            metrics.buckets[bucket] = of_bucket
            with logging_bucket(bucket):
                context.log.info("bucket %s is done", bucket)
        return metrics

    return made


def run(instance: DagsterInstance, rows: Mapping[int, int], *buckets: int) -> dg.ExecuteInProcessResult:
    first, last = str(min(buckets)), str(max(buckets))
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    if len(buckets) == 1:
        return dg.materialize([things(rows)], instance=instance, partition_key=first)
    return dg.materialize([things(rows)], instance=instance, tags=tags)


def events(result: dg.ExecuteInProcessResult) -> dict[str, tuple[dict[str, Any], str]]:
    """Bucket → metadata values and data version of its event."""
    found = {}
    for event in result.get_asset_materialization_events():
        made = event.materialization
        values = {name: value.value for name, value in made.metadata.items()}
        found[made.partition or ""] = values, (made.tags or {})[VERSION_TAG]
    return found


def test_each_bucket_of_a_run_has_its_own_figures_and_the_run_has_the_totals() -> None:
    with DagsterInstance.ephemeral() as instance:
        result = run(instance, {0: 5, 1: 7, 2: 0}, 0, 1, 2)
    found = {bucket: metadata for bucket, (metadata, _) in events(result).items()}
    for name, values in {
        "rows": (5, 7, 0),
        "dagster/partition_row_count": (5, 7, 0),
        "dagster/row_count": (12, 12, 12),
        "inserted": (5, 7, 0),
        "odd": (0, 1, 0),
        "data_version": ("5 rows", "7 rows", "0 rows"),
    }.items():
        assert tuple(found[bucket][name] for bucket in "012") == values, name
    totals = {name: value.value for name, value in run_totals(result)["mart/things"].items()}
    assert (totals["rows"], totals["inserted"], totals["odd"], totals["generation"]) == (12, 12, 1, 3)
    assert totals["s3_requests"] == 0
    assert "s3_requests" not in found["0"]


def test_a_run_of_one_bucket_has_everything_in_its_materialization() -> None:
    with DagsterInstance.ephemeral() as instance:
        result = run(instance, {1: 7, 2: 5}, 1)
    assert result.get_asset_observation_events() == []
    [(metadata, version)] = events(result).values()
    assert (metadata["rows"], metadata["generation"], metadata["s3_requests"]) == (7, 3, 0)
    assert (metadata["dagster/row_count"], metadata["dagster/partition_row_count"]) == (12, 7)
    assert version == metadata["data_version"] == "7 rows"


def test_a_data_version_changes_exactly_when_the_rows_do() -> None:
    with DagsterInstance.ephemeral() as instance:
        first, again = (events(run(instance, {0: 5, 1: 7}, 0, 1)) for _ in range(2))
        changed = events(run(instance, {0: 5, 1: 8}, 0, 1))
        alone = [events(run(instance, {1: rows}, 1)) for rows in (8, 8, 9)]
    assert first == again
    versions = {found["1"][1] for found in (first, changed)}
    assert len(versions) == 2, "a run of several buckets has a version of all of them"
    assert changed["0"][0]["data_version"] == first["0"][0]["data_version"], "its neighbour changed, not the bucket"
    assert changed["1"][0]["data_version"] != first["1"][0]["data_version"]
    assert [found["1"][1] for found in alone] == ["8 rows", "8 rows", "9 rows"]


def test_a_bucket_that_a_run_did_not_find_has_no_rows() -> None:
    @asset(table=TABLE)
    def nothing(context: AssetExecutionContext) -> RunMetrics:
        return RunMetrics()

    tags = {"dagster/asset_partition_range_start": "0", "dagster/asset_partition_range_end": "1"}
    with DagsterInstance.ephemeral() as instance:
        found = events(dg.materialize([nothing], instance=instance, tags=tags))
    assert {(metadata["rows"], metadata["data_version"]) for metadata, _ in found.values()} == {(0, "absent")}


def test_an_asset_without_buckets_has_the_version_of_all_its_rows() -> None:
    with DagsterInstance.ephemeral() as instance:
        made = [dg.materialize([things(rows, partitioned=False)], instance=instance) for rows in ({0: 1, 1: 2}, {0: 1})]
    versions = [version for result in made for _, version in events(result).values()]
    assert versions[0] != versions[1] == DataVersion("1 rows").value


def test_messages_are_lines_of_json_with_run_asset_and_bucket(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CIPPUS_LOG_FORMAT", "json")
    with DagsterInstance.ephemeral() as instance:
        result = run(instance, {0: 5, 1: 7}, 0, 1)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    found = [line for line in lines if line["message"].endswith("is done")]
    assert [(line["bucket"], line["message"]) for line in found] == [(0, "bucket 0 is done"), (1, "bucket 1 is done")]
    assert {(line["run_id"], line["asset"], line["level"]) for line in found} == {
        (result.run_id, "mart/things", "INFO")
    }


def test_text_is_the_default_of_logs(capfd: pytest.CaptureFixture[str]) -> None:
    with DagsterInstance.ephemeral() as instance:
        run(instance, {0: 5}, 0)
    assert not [line for line in capfd.readouterr().err.splitlines() if line.startswith("{")]


PERSONAL = TableSpec.of(
    "mart/people",
    {
        "network": Column(pa.string(), "Network."),
        "posts": Column(pa.int64(), "Posts."),
        "account_id": Column(pa.string(), "Id.", personal="id"),
        "handle": Column(pa.string(), "Name.", personal="name"),
        "bio": Column(pa.string(), "Text.", personal="text"),
        "country": Column(pa.string(), "Country.", personal="attribute"),
        "terms": Column(pa.list_(pa.int64()), "Terms."),
    },
    ("account_id",),
)


def people(count: int, network: str = "youtube") -> pl.DataFrame:
    rows = {"network": [network] * count, "posts": [*range(count)], "terms": [[1]] * count}
    secret = dict.fromkeys(("account_id", "handle", "bio", "country"), ["secret"] * count)
    return pl.DataFrame({**rows, **secret})


def test_a_preview_has_at_most_ten_rows_and_no_personal_data() -> None:
    shown = preview(PERSONAL, people(11)).splitlines()
    assert shown[0] == "| network | posts |"
    assert len(shown) == 2 + 10
    assert shown[-1] == "| youtube | 9 |"
    assert preview(PERSONAL, people(0)) == ""
    assert preview(TABLE, pl.DataFrame({"account_bucket": [0], "key": ["not described, so maybe personal"]})) == ""


@pytest.mark.parametrize("text", ["a | b", "<b>", "![x](http://x)", "`code`", "line\nbreak", "x" * 500, "&lt;", "*_~$"])
def test_no_text_of_a_preview_is_markup(text: str) -> None:
    [line] = preview(PERSONAL, people(1, text)).splitlines()[2:]
    assert line.count("|") == 3
    assert not set(line) & set("<>`[]*_~$!")
    assert len(line) < 600


def test_a_preview_is_in_the_metadata_of_its_bucket() -> None:
    @asset(table=TABLE)
    def shown(context: AssetExecutionContext) -> RunMetrics:
        return RunMetrics(buckets={0: RunMetrics(preview="of bucket 0"), 1: RunMetrics()})

    tags = {"dagster/asset_partition_range_start": "0", "dagster/asset_partition_range_end": "1"}
    with DagsterInstance.ephemeral() as instance:
        found = events(dg.materialize([shown], instance=instance, tags=tags))
    assert {bucket: metadata.get("preview") for bucket, (metadata, _) in found.items()} == {
        "0": "of bucket 0",
        "1": None,
    }


@pytest.mark.parametrize("error", [PermanentFailure("Set it to 16."), TransientFailure("The server restarts.")])
def test_the_headline_of_a_failed_step_is_the_sentence_even_after_retries(error: Exception) -> None:
    @asset(key=["raw", "failing"], retry_policy=dg.RetryPolicy(max_retries=1))
    def failing(context: AssetExecutionContext) -> RunMetrics:
        raise error

    result = dg.materialize([failing], raise_on_error=False)
    [failed] = result.get_step_failure_events()
    assert failed.step_failure_data.error
    assert failed.step_failure_data.error.message == f"Failed: {error}\n"
    assert failed.step_failure_data.user_failure_data
    assert failed.step_failure_data.user_failure_data.description == str(error)


def test_the_last_timed_run_is_the_newest_that_was_long_enough() -> None:
    key, asked = dg.AssetKey(["vertical", "scores"]), ("vertical", "scores")
    with DagsterInstance.ephemeral() as instance:

        def timed() -> tuple[int, float] | None:
            return last_timed(instance, asked, "posts_scored", 500)

        assert timed() is None
        for figures in ({"posts_scored": 900, "seconds": 3.0}, {"posts_scored": 499, "seconds": 1.0}, {"seconds": 1.0}):
            instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=figures))
        assert timed() == (900, 3.0)
        instance.report_runless_asset_event(
            dg.AssetObservation(key, metadata={"posts_scored": 5_000, "seconds": 4.0, "generation": 3})
        )
        instance.report_runless_asset_event(
            dg.AssetMaterialization(key, partition="0", metadata={"posts_scored": 700, "seconds": 9.0})
        )
        assert timed() == (5_000, 4.0)
