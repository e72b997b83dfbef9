"""Every check is started by a schedule or sensor, and a guarding check stops what is downstream of its asset."""

import warnings
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from dagster import (
    AssetCheckKey,
    AssetsDefinition,
    AssetSelection,
    DagsterInstance,
    Definitions,
    ExecuteInProcessResult,
    MaterializeResult,
    asset,
    define_asset_job,
    in_process_executor,
)

from assets.corpus import DECISION_COUNTS as COUNTS
from assets.corpus import DECISIONS, decision_counts
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from pipelines.checks.catalogue import CHECKS
from pipelines.checks.declaration import Check
from pipelines.checks.evaluation import definition
from pipelines.definitions import defs
from pipelines.jobs.asset_jobs import JOBS, LINEAGE, bucket_range
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource

GUARDS = [check for check in CHECKS if check.guards]


def _started() -> set[str]:
    jobs = {schedule.job_name for schedule in defs.schedules or []}  # type: ignore[union-attr]
    return jobs | {target.job_name for sensor in defs.sensors or [] for target in sensor.targets}


def test_every_check_is_in_a_job_that_a_schedule_or_sensor_starts() -> None:
    graph, started = defs.resolve_asset_graph(), _started()
    reached: set[AssetCheckKey] = set()
    for job in JOBS:
        reached |= job.selection.resolve_checks(graph) if job.name in started else set()
    assert graph.asset_check_keys - reached == set()


def test_a_run_that_makes_an_asset_evaluates_the_checks_that_are_not_daily() -> None:
    graph, daily = defs.resolve_asset_graph(), {check.spec.key for check in CHECKS if check.daily}
    for job in JOBS:
        made = job.selection.resolve(graph)
        expected = {key for key in graph.asset_check_keys if key.asset_key in made} - daily
        assert not made or job.selection.resolve_checks(graph) == expected, job.name


def test_what_others_see_is_guarded() -> None:
    kinds = {f"{check.asset.partition('/')[0]}:{check.name}" for check in GUARDS}
    assert kinds >= {
        *("raw:contract_holds", "lake:keys_unique", "embedding:vectors_unit_length"),
        *("embedding:every_chunk_has_vector", "qdrant:points_match_chunks", "mart:totals_match_lake"),
        "mart:totals_match_tags",
    }
    assert not any(check.daily for check in GUARDS), "a daily check comes too late to stop anything"


@pytest.mark.parametrize("check", GUARDS, ids=lambda check: f"{check.asset}:{check.name}")
def test_what_is_downstream_waits_for_the_guard(check: Check) -> None:
    job, graph = defs.resolve_job_def(LINEAGE.name), defs.resolve_asset_graph()
    name = check.spec.get_python_identifier()
    for child in graph.get(check.spec.asset_key).child_keys:
        inputs = job.graph.dependency_structure.input_to_upstream_outputs_for_node("__".join(child.path))
        waits = {output.output_name for outputs in inputs.values() for output in outputs}
        assert name in waits, child


def _stand_in(name: str, *, by_bucket: bool) -> AssetsDefinition:
    partitions: dict[str, Any] = {"partitions_def": BUCKETS, "backfill_policy": ALL_IN_ONE_RUN} if by_bucket else {}

    def made() -> MaterializeResult[None]:
        return MaterializeResult()

    found: AssetsDefinition = asset(key=name.split("/"), **partitions)(made)
    return found


def _run(s3: S3Resource, check: Check, assets: list[AssetsDefinition], buckets: range) -> ExecuteInProcessResult:
    unused = S3Resource(**s3.model_dump())
    job = define_asset_job("job", AssetSelection.all())
    made = Definitions(
        assets=assets,
        asset_checks=[definition(check.asset, [check], "checks")],
        jobs=[job],
        resources={"s3": unused, "lake": LakeResource(s3=unused), "ledger": LedgerResource(s3=unused)},
        executor=in_process_executor,
    )
    quiet: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    tags, resolved = dict(bucket_range(buckets)), made.resolve_job_def("job")
    with DagsterInstance.ephemeral() as instance, warnings.catch_warnings():
        # Dagster 1.13.27 calls its own deprecated property for nested resources.
        warnings.filterwarnings("ignore", "InitResourceContext.dagster_run is deprecated", DeprecationWarning)
        return resolved.execute_in_process(instance=instance, run_config=quiet, tags=tags, raise_on_error=False)


def _with_decisions(lake: LakeResource) -> None:
    rows = [{"account_bucket": bucket, "post_id": f"post-{bucket}"} for bucket in (0, 1)]
    blank = dict.fromkeys(DECISIONS.schema.names)
    lake.append(DECISIONS, pl.DataFrame([{**blank, **row} for row in rows], schema=DECISIONS.polars_schema))


def _check(promise: Callable[[int], int]) -> Check:
    return Check("corpus/decisions", "guard", promise, "problems", reads=(DECISIONS,), by_bucket=True, guards=True)


def _made(result: ExecuteInProcessResult) -> set[str]:
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}


def test_one_bad_bucket_is_held_back_and_the_others_go_on(s3: S3Resource, lake: LakeResource) -> None:
    _with_decisions(lake)
    assets = [_stand_in("corpus/decisions", by_bucket=True), decision_counts]
    result = _run(s3, _check(lambda bucket: int(bucket == 0)), assets, range(3))
    assert result.success
    [evaluated] = result.get_asset_check_evaluations()
    assert not evaluated.passed
    assert evaluated.severity.value == "ERROR"
    assert lake.scan(COUNTS).collect()["account_bucket"].to_list() == [1]
    # Another run, without the check, computes nothing from the bad bucket either.
    lone = Check("corpus/decision_counts", "other", lambda: 0)
    later = _run(s3, lone, [decision_counts], range(3))
    assert later.success, [event.step_failure_data.error for event in later.get_step_failure_events()]
    assert lake.scan(COUNTS).collect()["account_bucket"].to_list() == [1]
    assert _run(s3, _check(lambda bucket: 0), assets, range(3)).success
    assert sorted(lake.scan(COUNTS).collect()["account_bucket"]) == [0, 1]


def test_a_run_whose_buckets_are_all_bad_stops(s3: S3Resource, lake: LakeResource) -> None:
    _with_decisions(lake)
    assets = [_stand_in("corpus/decisions", by_bucket=True), decision_counts]
    result = _run(s3, _check(lambda bucket: 1), assets, range(1, 2))
    assert not result.success
    assert _made(result) == {"corpus/decisions"}


@pytest.mark.parametrize(("problems", "made"), [(0, {"label/gold", "vertical/thresholds"}), (2, {"label/gold"})])
def test_a_check_of_a_whole_table_stops_its_run(s3: S3Resource, problems: int, made: set[str]) -> None:
    check = Check("label/gold", "guard", lambda: problems, "problems", guards=True)

    @asset(key=["vertical", "thresholds"], deps=[["label", "gold"]])
    def downstream() -> MaterializeResult[None]:
        return MaterializeResult()

    result = _run(s3, check, [_stand_in("label/gold", by_bucket=False), downstream], range(1))
    assert _made(result) == made
    assert result.success is (problems == 0)


def test_a_check_that_cannot_run_is_no_pass(s3: S3Resource) -> None:
    def broken() -> int:
        raise RuntimeError("no service")

    check = Check("label/gold", "guard", broken, guards=True)
    result = _run(s3, check, [_stand_in("label/gold", by_bucket=False)], range(1))
    assert not result.success
    assert [*result.get_asset_check_evaluations()] == []
