"""The Kubernetes Jobs that the launcher constructs for runs: what a pod really gets, whatever the files say."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from dagster import DagsterInstance, in_process_executor, job, op, reconstructable
from dagster_k8s import K8sRunLauncher

from pipelines.definitions import defs
from pipelines.jobs.asset_jobs import BUCKET

DEPLOY = Path(__file__).parents[3] / "pipelines" / "deploy"
IMAGE = "registry.example.com/cippus:0.1.0"
NAMESPACE = "cippus"
RENAMED = {
    "containerConfig": "container_config",
    "podSpecConfig": "pod_spec_config",
    "podTemplateSpecMetadata": "pod_template_spec_metadata",
}


@op
def look() -> None: ...


@job
def looking() -> None:
    look()


def _yaml(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load((DEPLOY / name).read_text()))


def _of_chart() -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The launcher's settings, and what the code location adds to each run, as the chart's templates write them."""
    values = _yaml("values.yaml")
    own = values["runLauncher"]["config"]["k8sRunLauncher"]
    [server] = values["dagster-user-deployments"]["deployments"]
    account = values["global"]["serviceAccountName"]
    launcher = {
        "job_namespace": NAMESPACE,
        "image_pull_policy": own["imagePullPolicy"],
        "service_account_name": account,
        "dagster_home": "/opt/dagster/dagster_home",
        "instance_config_map": "cippus-dagster-instance",
        "postgres_password_secret": values["global"]["postgresqlSecretName"],
        "env_config_maps": [each["name"] for each in own.get("envConfigMaps", [])],
        "env_secrets": [each["name"] for each in own.get("envSecrets", [])],
        "resources": own["resources"],
        "security_context": own.get("securityContext"),
        "run_k8s_config": {RENAMED[name]: of for name, of in own["runK8sConfig"].items()},
    }
    if not server["includeConfigInLaunchedRuns"]["enabled"]:
        return launcher, None
    of_server = {
        "image_pull_policy": server["image"]["pullPolicy"],
        "env_config_maps": ["cippus-dagster-cippus-user-env", *(each["name"] for each in server["envConfigMaps"])],
        "env_secrets": [each["name"] for each in server["envSecrets"]],
        "resources": server["resources"],
        "namespace": NAMESPACE,
        "service_account_name": account,
        "env": server.get("env", []),
    }
    return launcher, {"k8s": of_server}


def _of_instance() -> tuple[dict[str, Any], None]:
    own = _yaml("dagster.yaml")["run_launcher"]["config"]
    return {**own, "job_namespace": NAMESPACE}, None


KUBECONFIG = {
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "users": [{"name": "none", "user": {}}],
    "current-context": "none",
}
"""The address of a cluster that is never called."""


class Cluster:
    """Keeps the Jobs that are created in it."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []

    def create_namespaced_job(self, namespace: str, body: Any, **_: object) -> Any:
        assert namespace == NAMESPACE
        self.jobs.append(body)
        return body


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path_factory.mktemp("dagster"))) as opened:
        yield opened


Launch = Callable[[Mapping[str, str]], dict[str, Any]]


@pytest.fixture(scope="module", params=[_of_chart, _of_instance], ids=["chart", "instance"])
def launch(
    request: pytest.FixtureRequest, instance: DagsterInstance, tmp_path_factory: pytest.TempPathFactory
) -> Launch:
    """A function that launches a run with tags, and returns its Job as Kubernetes gets it."""
    settings, of_code_location = request.param()
    kubeconfig, cluster = tmp_path_factory.mktemp("kubernetes") / "config", Cluster()
    kubeconfig.write_text(json.dumps(KUBECONFIG))
    launcher = K8sRunLauncher(
        **{**settings, "load_incluster_config": False, "kubeconfig_file": str(kubeconfig)},
        k8s_client_batch_api=cluster,
        k8s_client_core_api=cluster,
    )
    launcher.register_instance(instance)
    origin = reconstructable(looking).get_python_origin()
    repository = origin.repository_origin._replace(container_image=IMAGE, container_context=of_code_location)

    def launched(tags: Mapping[str, str]) -> dict[str, Any]:
        run = instance.create_run_for_job(
            looking, tags=dict(tags), job_code_origin=origin._replace(repository_origin=repository)
        )
        launcher.launch_run(cast("Any", SimpleNamespace(dagster_run=run)))
        return cast("dict[str, Any]", cluster.jobs.pop().to_dict())

    return launched


@pytest.fixture(scope="module")
def launched(launch: Launch) -> dict[str, Any]:
    """The Job of a run without tags."""
    return launch({})


def _pod(made: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod's specification, and that of its only container."""
    spec = made["spec"]["template"]["spec"]
    [container] = spec["containers"]
    return spec, container


def test_a_run_s_pod_gets_the_launcher_s_resources_and_image(launched: dict[str, Any]) -> None:
    _, container = _pod(launched)
    assert container["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "4Gi"}, "claims": None,
    }  # fmt: skip
    assert container["image"] == IMAGE
    assert "execute_run" in container["args"]


def test_a_run_s_pod_is_not_root_and_cannot_become_it(launched: dict[str, Any]) -> None:
    spec, container = _pod(launched)
    pod = {name: value for name, value in spec["security_context"].items() if value is not None}
    assert pod.pop("seccomp_profile")["type"] == "RuntimeDefault"
    assert pod == {"run_as_non_root": True, "run_as_user": 10001, "fs_group": 10001}
    own = {name: value for name, value in container["security_context"].items() if value is not None}
    assert own.pop("capabilities")["drop"] == ["ALL"]
    assert own == {"allow_privilege_escalation": False}
    assert spec["service_account_name"] == "cippus"


def test_a_run_s_pod_has_the_variables_of_the_code_location(launched: dict[str, Any]) -> None:
    _, container = _pod(launched)
    [server] = _yaml("values.yaml")["dagster-user-deployments"]["deployments"]
    assert server.get("env", []) == [], "run pods would not get them"
    maps = [each["config_map_ref"]["name"] for each in container["env_from"] if each["config_map_ref"]]
    secrets = [each["secret_ref"]["name"] for each in container["env_from"] if each["secret_ref"]]
    assert maps == [each["name"] for each in server["envConfigMaps"]] == [_yaml("configmap.yaml")["metadata"]["name"]]
    assert secrets == [each["name"] for each in server["envSecrets"]]


def test_a_run_s_pod_is_not_evicted(launched: dict[str, Any]) -> None:
    annotations = launched["spec"]["template"]["metadata"]["annotations"]
    assert annotations == {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}


def test_a_run_that_needs_more_says_so_in_its_tags(launch: Launch) -> None:
    comment = (DEPLOY / "values.yaml").read_text().partition("#   dagster-k8s/config: ")[2].splitlines()[0]
    spec, container = _pod(launch({"dagster-k8s/config": comment}))
    found = container["resources"]
    assert (found["requests"], found["limits"]) == ({"cpu": "8", "memory": "8Gi"}, {"memory": "8Gi"})
    assert spec["security_context"]["run_as_user"] == 10001


def test_a_run_is_one_process_whatever_its_number_of_steps() -> None:
    found = defs.resolve_job_def(BUCKET.name)
    assert len(found.nodes) > 10
    assert found.executor_def.name == in_process_executor.name
