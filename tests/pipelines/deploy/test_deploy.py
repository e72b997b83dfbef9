"""The deployment files: they parse, Dagster accepts them, and they agree with each other and with pyproject.toml."""

import importlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from dagster import DagsterInstance, DagsterInvalidConfigError, job, op, validate_run_config

from pipelines.jobs.asset_jobs import WRITES_TAG
from resources.s3.governor.rate_control import RateSettings
from resources.settings import variables
from tests.worlds.deployment import DEPLOY, ROOT, deployment_file

INSTANCE_VARIABLES = {
    "AWS_REGION": "eu-west-1",
    "CIPPUS_S3_BUCKET": "cippus-lake",
    "DAGSTER_K8S_NAMESPACE": "cippus",
    "DAGSTER_PG_DB": "dagster",
    "DAGSTER_PG_HOST": "localhost",
    "DAGSTER_PG_PASSWORD": "secret",
    "DAGSTER_PG_USERNAME": "dagster",
}


def _variables(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if set(value) == {"env"}:
            yield value["env"]
        for part in value.values():
            yield from _variables(part)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def pinned(project: dict[str, Any]) -> Mapping[str, str]:
    """Dependency → the version that pyproject.toml pins exactly."""
    found = (text.partition("==") for text in project["project"]["dependencies"])
    return {name: version for name, pin, version in found if pin}


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    for name, value in INSTANCE_VARIABLES.items():
        monkeypatch.setenv(name, value)
    return deployment_file("dagster.yaml")


def _without_cluster(instance: dict[str, Any]) -> dict[str, Any]:
    """The settings that need neither Kubernetes, S3 nor Postgres."""
    return {name: of for name, of in instance.items() if name not in ("storage", "compute_logs", "run_launcher")}


def test_dagster_accepts_the_instance(instance: dict[str, Any], tmp_path: Path) -> None:
    settings = tmp_path / "dagster.yaml"
    settings.write_text(yaml.safe_dump(instance))
    # Settings are checked before the storage is loaded, and dagster-postgres is in the image only.
    with pytest.raises(Exception, match="dagster_postgres"):
        DagsterInstance.from_config(str(tmp_path))
    misspelt_settings: tuple[dict[str, Any], ...] = (
        {"storage": {"postgres": {"postgres_db": {"hostnam": "a"}}}},
        {"run_retry": {}},
    )
    for misspelt in misspelt_settings:
        settings.write_text(yaml.safe_dump({**instance, **misspelt}))
        with pytest.raises(DagsterInvalidConfigError):
            DagsterInstance.from_config(str(tmp_path))


@pytest.mark.parametrize("part", ["compute_logs", "run_launcher"])
def test_instance_classes_exist_and_take_their_settings(instance: dict[str, Any], part: str) -> None:
    settings = instance[part]
    found = getattr(importlib.import_module(settings["module"]), settings["class"])

    @op(config_schema=found.config_type())
    def configured() -> None: ...

    @job
    def configuring() -> None:
        configured()

    assert validate_run_config(configuring, {"ops": {"configured": {"config": settings["config"]}}})
    with pytest.raises(DagsterInvalidConfigError):
        validate_run_config(configuring, {"ops": {"configured": {"config": {**settings["config"], "no_such": 1}}}})


def test_runs_are_queued(instance: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(_without_cluster(instance)))
    with DagsterInstance.from_config(str(tmp_path)) as opened:
        assert type(opened.run_coordinator).__name__ == "QueuedRunCoordinator"
    assert deployment_file("values.yaml")["dagsterDaemon"]["runCoordinator"]["type"] == "QueuedRunCoordinator"


def test_instance_reads_only_the_declared_variables(instance: dict[str, Any]) -> None:
    assert set(_variables(instance)) == set(INSTANCE_VARIABLES)


def test_chart_and_instance_say_the_same(instance: dict[str, Any]) -> None:
    values = deployment_file("values.yaml")
    daemon, extra = values["dagsterDaemon"], values["additionalInstanceConfig"]
    logs, launcher = (
        values["computeLogManager"]["config"]["s3ComputeLogManager"],
        values["runLauncher"]["config"]["k8sRunLauncher"],
    )
    own = instance["run_launcher"]["config"]
    assert extra["run_retries"] == instance["run_retries"]
    assert extra["nux"] == instance["nux"]
    assert values["telemetry"] == instance["telemetry"] == {"enabled": False}
    assert extra["run_monitoring"] == instance["run_monitoring"]
    assert daemon["runMonitoring"] == daemon["runRetries"] == {"enabled": False}, "the chart would write them twice"
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert queue["maxConcurrentRuns"] == instance["concurrency"]["runs"]["max_concurrent_runs"]
    assert queue["tagConcurrencyLimits"] == instance["concurrency"]["runs"]["tag_concurrency_limits"]
    assert [limit["key"] for limit in queue["tagConcurrencyLimits"]] == [WRITES_TAG]
    assert (logs["prefix"], logs["skipEmptyFiles"], logs["uploadInterval"]) == (
        instance["compute_logs"]["config"]["prefix"],
        instance["compute_logs"]["config"]["skip_empty_files"],
        instance["compute_logs"]["config"]["upload_interval"],
    )
    assert launcher["resources"] == own["resources"]
    assert [each["name"] for each in launcher["envConfigMaps"]] == own["env_config_maps"]
    assert [each["name"] for each in launcher["envSecrets"]] == own["env_secrets"]
    assert launcher["runK8sConfig"]["podTemplateSpecMetadata"] == own["run_k8s_config"]["pod_template_spec_metadata"]
    assert values["global"]["serviceAccountName"] == own["service_account_name"]
    assert values["global"]["postgresqlSecretName"] == own["postgres_password_secret"]


def _chart_instance() -> dict[str, Any]:
    """What of the chart's dagster.yaml limits runs and steps, as its templates write it."""
    values = deployment_file("values.yaml")
    queue = values["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    config = {
        "max_concurrent_runs": queue["maxConcurrentRuns"],
        "tag_concurrency_limits": queue["tagConcurrencyLimits"],
    }
    coordinator = {"module": "dagster.core.run_coordinator", "class": "QueuedRunCoordinator", "config": config}
    return {"run_coordinator": coordinator, **values["additionalInstanceConfig"]}


@pytest.mark.parametrize("chart", [True, False])
def test_one_step_at_a_time_is_in_a_pool_and_a_lost_pod_leaves_it(
    instance: dict[str, Any], tmp_path: Path, chart: bool
) -> None:
    settings = _chart_instance() if chart else _without_cluster(instance)
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with DagsterInstance.from_config(str(tmp_path)) as opened:
        found = opened.get_concurrency_config()
        assert found.pool_config.default_pool_limit == 1
        granularity = found.pool_config.pool_granularity
        assert granularity is None or granularity.value == "op"  # by steps is Dagster's default
        assert found.run_queue_config
        assert found.run_queue_config.max_concurrent_runs == 10
        assert found.run_queue_config.tag_concurrency_limits
        assert opened.run_monitoring_enabled
        assert opened.run_monitoring_settings["free_slots_after_run_end_seconds"] == 60


def test_run_pods_ask_for_resources_and_are_not_evicted(instance: dict[str, Any]) -> None:
    own = instance["run_launcher"]["config"]
    assert set(own["resources"]["requests"]) == {"cpu", "memory"}
    annotations = own["run_k8s_config"]["pod_template_spec_metadata"]["annotations"]
    assert annotations == {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def test_chart_versions_are_the_projects(project: dict[str, Any], pinned: Mapping[str, str]) -> None:
    values, text = deployment_file("values.yaml"), (DEPLOY / "values.yaml").read_text()
    [server] = values["dagster-user-deployments"]["deployments"]
    assert server["image"]["tag"] == project["project"]["version"]
    assert values["dagsterWebserver"]["image"]["tag"] == values["dagsterDaemon"]["image"]["tag"] == pinned["dagster"]
    assert re.findall(r"--version (\S+)", text) == [pinned["dagster"]]


def test_code_location_gets_known_variables_the_definitions_and_a_role() -> None:
    values = deployment_file("values.yaml")
    [server] = values["dagster-user-deployments"]["deployments"]
    given = deployment_file("configmap.yaml")["data"]
    assert set(given) <= {variable.name for variable in variables()}
    assert given["CIPPUS_ENV"] == "production"
    assert given["CIPPUS_S3_BUCKET"] == values["computeLogManager"]["config"]["s3ComputeLogManager"]["bucket"]
    assert all(isinstance(value, str) for value in given.values())
    assert importlib.import_module(server["codeServerArgs"][-1]).defs
    assert "eks.amazonaws.com/role-arn" in values["serviceAccount"]["annotations"]


def test_pods_together_stay_within_what_s3_grants_a_prefix() -> None:
    values, granted = deployment_file("values.yaml"), RateSettings()
    given = deployment_file("configmap.yaml")["data"]
    runs = values["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]["maxConcurrentRuns"]
    assert runs * float(given["CIPPUS_S3_MAX_WRITES"]) <= granted.write_ceiling == 3_500
    assert runs * float(given["CIPPUS_S3_MAX_READS"]) <= granted.read_ceiling == 5_500
    assert given.get("CIPPUS_S3_GOVERNOR", "on") == "on"


def _copied() -> list[str]:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from=" not in line]
    return [path for paths in copies for path in paths]


def test_image_copies_what_exists_and_is_not_ignored() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    assert ignore[0] == "*"
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    assert {path.split("/")[0] for path in _copied()} == allowed
    assert all((ROOT / path).exists() for path in _copied())


def test_image_is_locked_offline_of_the_embedded_stack_and_not_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    syncs = [line for line in lines if "uv sync" in line]
    assert syncs
    assert all("--locked" in line and "--no-dev" in line and "extra" not in line for line in syncs)
    assert all("--require-hashes" in line for line in lines if "pip install" in line)
    users = [line for line in lines if line.startswith("USER ")]
    assert users == ["USER 10001"]
    [server] = deployment_file("values.yaml")["dagster-user-deployments"]["deployments"]
    assert server["podSecurityContext"]["runAsUser"] == 10001


def test_image_serves_the_chart_port_and_module() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    [server] = deployment_file("values.yaml")["dagster-user-deployments"]["deployments"]
    command = json.loads(text.rpartition("CMD ")[2])
    assert command[-4:] == ["--port", str(server["port"]), *server["codeServerArgs"]]


def test_pinned_requirements_are_the_projects(pinned: Mapping[str, str]) -> None:
    storage = (DEPLOY / "requirements.txt").read_text()
    assert f"\ndagster-postgres=={pinned['dagster-k8s']} \\" in storage
    locked = {package["name"]: package for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    uv = (ROOT / ".uv-requirements.txt").read_text()
    assert f"\nuv=={locked['uv']['version']} \\" in uv
    hashes = {file["hash"] for file in [*locked["uv"]["wheels"], locked["uv"]["sdist"]]}
    assert set(re.findall(r"--hash=(\S+)", uv)) == hashes
