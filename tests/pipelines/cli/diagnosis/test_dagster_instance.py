"""`cippus doctor` on the code location and Dagster's instance: planted misconfigurations are found, with their fix."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance

from pipelines.cli.diagnosis import code_location, dagster_instance
from pipelines.cli.diagnosis.code_location import repository
from pipelines.cli.diagnosis.registry import Finding, Parts, Status, examine, registered
from pipelines.cli.lineage import INSTANCE_SETTINGS, instance_folder
from resources.errors import InputError
from tests.worlds.dagster_faults import (
    EVERYTHING,
    POOL,
    SCHEDULE,
    SENSOR,
    a_cursor_that_never_moved,
    a_daemon_that_ended,
    a_part_with_an_error,
    a_place_held_by_a_run_that_ended,
    a_pool_that_lets_nothing_in,
    a_queue_without_a_daemon,
    a_run_that_waits_for_hours,
    a_schedule_that_fails,
    a_schedule_that_is_off,
    a_sensor_of_another_version,
    a_sensor_that_fails,
    a_sensor_that_is_off,
    a_silent_part,
    a_stale_cursor,
    heard,
    nothing_runs,
    turn_on,
)


@pytest.fixture(scope="module")
def empty_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an instance in which nothing ever ran. Its databases take a second to make."""
    home = tmp_path_factory.mktemp("home")
    DagsterInstance.from_config(str(instance_folder(home))).dispose()
    return home


@pytest.fixture
def folder(empty_instance: Path, home: Path) -> Path:
    """The folder of an instance of this test alone."""
    shutil.copytree(empty_instance / "dagster", home / "dagster")
    return instance_folder(home)


@pytest.fixture
def instance(folder: Path) -> Iterator[DagsterInstance]:
    with DagsterInstance.from_config(str(folder)) as opened:
        yield opened


def found_by(name: str) -> list[Finding]:
    return examine(Parts.of_environment(), [check for check in registered() if check.name == name], limit_seconds=60)


def bad(name: str = "Dagster") -> list[Finding]:
    return [finding for finding in found_by(name) if finding.status is not Status.OK]


ERROR, WARNING = Status.ERROR, Status.WARNING
PLANTED: list[tuple[Callable[[DagsterInstance], None], Status, str, str]] = [
    (nothing_runs, ERROR, "No Dagster daemon runs", "cippus dev"),
    (a_daemon_that_ended, ERROR, "No Dagster daemon runs", "cippus dev"),
    (a_queue_without_a_daemon, ERROR, "No Dagster daemon runs", "cippus dev"),
    (a_silent_part, ERROR, "part SCHEDULER has been silent for 4,0", "Restart the daemon"),
    (a_part_with_an_error, ERROR, "part SENSOR reports: Could not reach the code location.", "daemon's log"),
    (a_sensor_that_is_off, WARNING, f"sensors are off: {SENSOR}.", "Turn them on"),
    (a_schedule_that_is_off, WARNING, f"sensors are off: {SCHEDULE}.", "Turn them on"),
    (a_sensor_that_fails, ERROR, f"{SENSOR} failed: AccessDenied: no right to list.", "Correct the cause"),
    (a_schedule_that_fails, ERROR, f"{SCHEDULE} failed: AccessDenied", "Correct the cause"),
    (a_stale_cursor, ERROR, f"The cursor of {SENSOR} is stale: its last tick was 90,0", f"turn {SENSOR} off and on"),
    (a_cursor_that_never_moved, ERROR, f"The cursor of {SENSOR} is stale", f"turn {SENSOR} off and on"),
    (a_sensor_of_another_version, WARNING, "hourly_lineage is on, with its cursor", "Turn hourly_lineage off"),
    (a_run_that_waits_for_hours, WARNING, "of waiting has been queued for", "pools"),
    (a_pool_that_lets_nothing_in, ERROR, f"Pool {POOL} has the limit 0", f"instance concurrency set {POOL} 1"),
    (a_place_held_by_a_run_that_ended, ERROR, f"has ended and still holds a place in pool {POOL}", "Free its slots"),
]


@pytest.mark.parametrize(("plant", "status", "text", "fix"), PLANTED, ids=[found[0].__name__ for found in PLANTED])
def test_a_planted_misconfiguration_is_found_alone_and_names_its_fix(
    instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[DagsterInstance], None],
    status: Status,
    text: str,
    fix: str,
) -> None:
    if plant is a_run_that_waits_for_hours:
        monkeypatch.setattr(dagster_instance, "QUEUED_SECONDS", -1)
    plant(instance)
    [found] = bad()
    assert found.status is status
    assert text in found.text
    assert fix in found.fix


def test_a_pool_without_a_limit_is_found(folder: Path) -> None:
    (folder / "dagster.yaml").write_text(yaml.safe_dump({"telemetry": INSTANCE_SETTINGS["telemetry"]}))
    found = bad()
    assert f"Pool {POOL} has no limit, so runs may write the same data at the same time." in {one.text for one in found}
    assert {one.fix for one in found} == {"Set concurrency.pools.default_limit to 1 in dagster.yaml."}


@pytest.mark.parametrize(
    "settings", ["run_retry: {}", "storage: {postgres: 1}", "a: [", "scheduler: {module: no_such, class: A}"]
)
def test_an_instance_that_does_not_open_is_one_sentence(home: Path, settings: str) -> None:
    (home / "dagster").mkdir()
    (home / "dagster" / "dagster.yaml").write_text(settings)
    [found] = bad()
    assert found.status is ERROR
    assert found.text.startswith(f"The Dagster instance of {home / 'dagster'} does not open: ")
    assert "\n" not in found.text
    assert "dagster.yaml" in found.fix


def test_a_healthy_instance_has_nothing_to_mend(instance: DagsterInstance) -> None:
    heard(instance)
    turn_on(instance, *EVERYTHING)
    assert bad() == []
    assert any("pools have a limit" in found.text for found in found_by("Dagster"))


def test_an_instance_that_nobody_uses_yet_is_well(folder: Path) -> None:
    assert folder.is_dir()
    assert bad() == []


def test_production_needs_the_instance_s_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name in ("CIPPUS_S3_BUCKET", "QDRANT_URL", "CIPPUS_POSTGRES_SECRET_ID"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("CIPPUS_ENV", "production")
    for place in (None, tmp_path_factory.mktemp("empty")):
        monkeypatch.setenv("DAGSTER_HOME", str(place)) if place else monkeypatch.delenv("DAGSTER_HOME", raising=False)
        [found] = bad()
        assert found.text.startswith("There is no dagster.yaml here")
        assert "DAGSTER_HOME" in found.fix
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    texts = [found.text for found in bad()]
    assert texts[0].startswith("No Dagster daemon runs")
    assert texts[1] == f"These schedules and sensors are off: {', '.join(sorted(EVERYTHING))}."


BROKEN = {
    "import no_such_module": "does not load: ModuleNotFoundError: No module named 'no_such_module'",
    "defs = 1 / 0": "does not load: ZeroDivisionError: division by zero",
    "other = 1": "does not load: AttributeError",
    "from dagster import *\ndefs = Definitions(jobs=[define_asset_job('a', AssetSelection.assets('none'))])":
        "does not load: Dagster",
    "from resources.errors import InputError\nraise InputError('CIPPUS_BUCKETS is 12; it must be a power of two.')":
        "CIPPUS_BUCKETS is 12; it must be a power of two.",
}  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_a_code_location_that_does_not_load_is_one_finding(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    name = f"broken_definitions_{[*BROKEN].index(text)}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(code_location, "MODULE", name)
    repository.cache_clear()
    try:
        both = [check for check in registered() if check.name in ("code location", "Dagster")]
        found = [one for one in examine(Parts.of_environment(), both, 60) if one.status is not Status.OK]
    finally:
        repository.cache_clear()
    assert folder.is_dir()
    assert {one.text for one in found} == {found[0].text}
    assert BROKEN[text] in found[0].text
    assert "dg check defs" in found[0].fix


def test_production_without_its_variables_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPPUS_ENV", "production")
    monkeypatch.delenv("QDRANT_URL", raising=False)
    assert home.is_dir()
    with pytest.raises(InputError, match=r"these variables must be set: .*QDRANT_URL"):
        Parts.of_environment()
