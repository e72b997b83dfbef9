"""The definitions: loadable by anyone, complete, and in one shape."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dagster import (
    AssetKey,
    AssetsDefinition,
    AssetSpec,
    DefaultScheduleStatus,
    DefaultSensorStatus,
    Definitions,
)
from typer.core import TyperGroup
from typer.main import get_command

from assets.landing import DROP_FOLDERS
from assets.stages import TABLES
from pipelines.automation.freshness import POLICIES
from pipelines.automation.sensors.drops import JUDGEMENTS, LABELS, REPORTS
from pipelines.cli.main import app
from pipelines.definitions import defs
from pipelines.jobs.asset_jobs import ACROSS_BUCKETS, AUDIENCE, BUCKET, EXTRACTION
from resources.raw.quarantine import PREFIX

SNAPSHOT = Path(__file__).parent / "definitions_snapshot.json"
"""Every asset with its group, owners, dependencies and checks; every sensor, schedule, job and command. To accept a
change, run `python -m tests.pipelines.test_definitions` and review the difference."""


def _commands(command: object, prefix: str = "") -> list[str]:
    if isinstance(command, TyperGroup):
        return [name for key, found in command.commands.items() for name in _commands(found, f"{prefix}{key} ")]
    return [prefix.strip()]


def described() -> dict[str, Any]:
    """Return the definitions and the commands as JSON values."""
    graph = defs.resolve_asset_graph()
    keys = sorted(graph.get_all_asset_keys())
    jobs = {job.name: job for job in defs.resolve_all_job_defs()}
    return {
        "assets": {
            key.to_user_string(): {
                "group": graph.get(key).group_name,
                "owners": sorted(graph.get(key).owners),
                "deps": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
                "checks": sorted(found.name for found in graph.asset_check_keys if found.asset_key == key),
            }
            for key in keys
        },
        "sensors": sorted(sensor.name for sensor in defs.sensors or []),
        "schedules": {schedule.name: schedule.cron_schedule for schedule in defs.schedules or []},  # type: ignore[union-attr]
        "jobs": {name: sorted(node.name for node in job.nodes) for name, job in sorted(jobs.items())},
        "commands": sorted(_commands(get_command(app))),
    }


@pytest.fixture(scope="module")
def graph():  # type: ignore[no-untyped-def]
    return defs.resolve_asset_graph()


def test_definitions_are_the_reviewed_ones() -> None:
    assert described() == json.loads(SNAPSHOT.read_text())


def test_every_asset_says_what_it_is(graph) -> None:  # type: ignore[no-untyped-def]
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.group_name == key.path[0], key
        assert len(node.description or "") > 20, key
        assert node.owners, key
        assert node.kinds, key


def test_every_materializable_asset_has_a_check(graph) -> None:  # type: ignore[no-untyped-def]
    checked = {key.asset_key for key in graph.asset_check_keys}
    assert checked == {key for key in graph.get_all_asset_keys() if graph.get(key).is_materializable}


def test_definitions_load_without_secrets_or_network(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A process whose sockets raise loads all definitions: with an empty environment, or production's names alone.

    It prints no warning, such as Dagster's of what is in beta.
    """
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise AssertionError('network')\n"
        "socket.socket.connect = socket.socket.connect_ex = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "from pipelines.definitions import defs\n"
        "defs.resolve_all_job_defs() if hasattr(defs, 'resolve_all_job_defs') else defs.get_repository_def()\n"
        "late = {'openai', 'qdrant_client'} & set(__import__('sys').modules)\n"
        "assert not late, f'{late}: seconds of imports that only endpoints and servers need'\n"
    )
    names = ("CIPPUS_S3_BUCKET", "QDRANT_URL", "CIPPUS_POSTGRES_SECRET_ID")
    for name, given in (("local", {}), ("production", dict.fromkeys(names, "set"))):
        environ = {"PATH": os.environ["PATH"], "CIPPUS_ENV": name, "CIPPUS_HOME": str(tmp_path), **given}
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []


def test_workspace_loads_the_definitions() -> None:
    assert isinstance(defs, Definitions)
    assert all(isinstance(asset, AssetsDefinition | AssetSpec) for asset in defs.assets or [])
    assert AssetKey(["rds", "posts"]) in defs.resolve_asset_graph().external_asset_keys


def test_every_derived_asset_is_in_the_job_of_its_kind(graph) -> None:  # type: ignore[no-untyped-def]
    """An asset with buckets is in a bucket's run, one without in a run across buckets or of what is dropped."""
    derived = {key for key in graph.get_all_asset_keys() if key.path[0] not in {"rds", "raw", "lake"}}
    with_buckets = {key for key in derived if graph.get(key).is_partitioned}
    jobs = {job.name: job.selection.resolve(graph) for job in (BUCKET, ACROSS_BUCKETS, AUDIENCE, EXTRACTION)}
    assert jobs["bucket"] == with_buckets
    assert (jobs["across_buckets"] | jobs["audience"]) - with_buckets == derived - with_buckets
    assert {key.path[0] for key in jobs["extraction"]} == {"raw", "lake"}


def test_sensors_and_schedules_are_off_until_somebody_turns_them_on() -> None:
    assert {sensor.default_status for sensor in defs.sensors or []} == {DefaultSensorStatus.STOPPED}
    assert {getattr(found, "default_status", None) for found in defs.schedules or []} == {DefaultScheduleStatus.STOPPED}
    assert all((sensor.minimum_interval_seconds or 0) >= 30 for sensor in defs.sensors or [])


def test_every_asset_of_a_group_with_a_policy_is_to_be_fresh(graph) -> None:  # type: ignore[no-untyped-def]
    fresh = {key.path[0] for key in graph.get_all_asset_keys() if graph.get(key).freshness_policy_or_from_metadata}
    assert fresh == set(POLICIES) == {"raw", "lake", "qdrant", "mart", "quicksight"}
    of = {key: graph.get(key).freshness_policy_or_from_metadata for key in graph.get_all_asset_keys()}
    assert all(policy == POLICIES.get(key.path[0]) for key, policy in of.items())


def test_one_run_at_a_time_writes_a_table_without_buckets(graph) -> None:  # type: ignore[no-untyped-def]
    """Also a run from the UI, which has no tag of a sensor's."""
    pools = {key: assets.op.pool for assets in defs.assets or [] for key in getattr(assets, "keys", ())}  # type: ignore[union-attr]
    shared = {key for key, pool in pools.items() if pool is None}
    assert {key for key in shared if not graph.get(key).is_partitioned} == set()
    assert {key.path[0] for key in shared} == {
        "corpus",
        "embedding",
        "label",
        "vertical",
        "summary",
        "audience",
        "mart",
    }
    own = {key: pool for key, pool in pools.items() if pool not in (None, "qdrant")}
    assert own == {key: key.to_user_string() for key in own}


def test_every_landing_prefix_has_a_sensor() -> None:
    prefixes = {
        LABELS.prefix: "label_drops",
        JUDGEMENTS.prefix: "judgement_drops",
        REPORTS.prefix: "audience_drops",
        PREFIX: "quarantine_drops",
    }
    assert {folder.prefix for folder in DROP_FOLDERS} == prefixes.keys()
    assert {sensor.name for sensor in defs.sensors or []} >= {*prefixes.values(), "rds_exports"}


def test_every_delta_table_is_known_to_maintenance_and_erasure(graph) -> None:  # type: ignore[no-untyped-def]
    declared = {key.to_user_string() for key in graph.materializable_asset_keys
                if graph.get(key).metadata.get("dagster/storage_kind") == "delta"}  # fmt: skip
    assert declared == {spec.name for spec in TABLES}


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(described(), indent=1) + "\n")
