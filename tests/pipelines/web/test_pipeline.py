"""The view Pipeline: how old every stage is, and the checks that failed when they last had something to check."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dagster import (
    AssetCheckEvaluation,
    AssetCheckKey,
    AssetCheckSeverity,
    AssetCheckSpec,
    AssetKey,
    AssetMaterialization,
    AssetSelection,
    DagsterEventType,
    DagsterInstance,
    Definitions,
    Output,
    define_asset_job,
    multi_asset_check,
)

from pipelines.automation.problems import problems
from pipelines.web.views.pipeline import stage_states
from tests.pipelines.web.conftest import Open
from tests.worlds.small_site import HOSTILE, THEN

CHECK = AssetCheckKey(AssetKey(["lake", "posts"]), "reconciles_with_raw")


def report(instance: DagsterInstance, *, passed: bool) -> None:
    instance.report_runless_asset_event(
        AssetCheckEvaluation(
            asset_key=CHECK.asset_key, check_name=CHECK.name, passed=passed, metadata={},
            severity=AssetCheckSeverity.ERROR, description=HOSTILE,
        )
    )  # fmt: skip


def run_with_nothing_to_check(instance: DagsterInstance) -> None:
    spec = AssetCheckSpec(CHECK.name, asset=CHECK.asset_key)

    @multi_asset_check(specs=[spec])
    def looks_at_nothing() -> Iterator[Any]:
        yield Output(None, output_name=spec.get_python_identifier())

    job = define_asset_job("checks", selection=AssetSelection.all_asset_checks())
    definitions = Definitions(asset_checks=[looks_at_nothing], jobs=[job])
    assert definitions.resolve_job_def("checks").execute_in_process(instance=instance).success
    record = instance.get_latest_asset_check_evaluation_record(CHECK)
    assert record is not None
    assert record.event is not None
    assert record.event.dagster_event_type is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED


def test_it_shows_age_and_failed_checks(page: Open, instance: DagsterInstance) -> None:
    instance.report_runless_asset_event(AssetMaterialization(AssetKey(["mart", "creators"])))
    text = page(dagster=instance, dagster_url="http://127.0.0.1:3000").get("/pipeline").text
    assert "No check has run" in text
    assert "fresh, 12 never written" in text
    assert 'href="http://127.0.0.1:3000"' in text
    late = {state.group: state.state for state in stage_states(instance, THEN.replace(year=2999))}
    assert (late["mart"], late["lake"]) == ("too old", "never written")
    for passed in (False, True):
        report(instance, passed=passed)
        text = page(dagster=instance).get("/pipeline").text
        assert ("reconciles_with_raw" in text) is not passed
        assert ("All 1 checks passed" in text) is passed
        assert HOSTILE not in text


def test_a_check_that_a_run_planned_and_had_nothing_to_look_at_is_no_defect(
    page: Open, instance: DagsterInstance
) -> None:
    run_with_nothing_to_check(instance)
    assert "No check has run" in page(dagster=instance).get("/pipeline").text
    assert "cippus_checks_evaluated 0" in page(dagster=instance).get("/metrics").text


@pytest.mark.parametrize("passed", [False, True])
def test_what_a_check_found_stays_when_there_is_nothing_to_look_at(
    passed: bool, page: Open, instance: DagsterInstance
) -> None:
    report(instance, passed=passed)
    run_with_nothing_to_check(instance)
    text = page(dagster=instance).get("/pipeline").text
    assert ("reconciles_with_raw" in text) is not passed
    assert f"cippus_checks_failed {int(not passed)}" in page(dagster=instance).get("/metrics").text
    alerted = problems(instance, [CHECK], {}, timedelta(hours=6), datetime.now(UTC)).found
    assert list(alerted) == ([] if passed else [f"check {CHECK.to_user_string()}"])
