"""The UI of a home: served once, on a free port, and runs that were killed are closed."""

import socket
from pathlib import Path

import pytest
from dagster import DagsterInstance, DagsterRunStatus, RunsFilter, job

from pipelines.cli.lineage import _PID_TAG, _close_abandoned, instance_folder, serving_ui
from pipelines.local.run_lock import RunInProgressError, only_run, only_ui
from tests.worlds.command_line import Call


def test_a_used_port_of_the_ui_is_refused_before_anything_is_started(call: Call, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        refused = call(tmp_path / "none", "dev", "--port", str(port), code=2).stderr
    assert refused == (
        f"cippus: Port {port} of 127.0.0.1 cannot be used: Address already in use. "
        f"Choose another: cippus dev --port {port + 1}\n"
    )
    for port in (0, 65536):
        assert "--port" in call(tmp_path / "none", "dev", "--port", str(port), code=2).stderr
    assert not (tmp_path / "none").exists()


def test_a_second_ui_of_a_home_is_refused(tmp_path: Path) -> None:
    with only_ui(tmp_path), pytest.raises(RunInProgressError, match="Another `cippus dev` serves"):
        serving_ui(tmp_path).__enter__()


@job
def killed_run() -> None: ...


def test_a_killed_run_gives_its_place_in_a_pool_back(tmp_path: Path) -> None:
    with DagsterInstance.from_config(str(instance_folder(tmp_path))) as instance:
        killed = instance.create_run_for_job(killed_run, status=DagsterRunStatus.STARTED, tags={_PID_TAG: "1"})
        pools = instance.event_log_storage
        pools.initialize_concurrency_limit_to_default("qdrant")
        assert pools.claim_concurrency_slot("qdrant", killed.run_id, "step").is_claimed
        assert not pools.claim_concurrency_slot("qdrant", "next", "step").is_claimed
        _close_abandoned(instance, of_commands=True)
        assert [run.status for run in instance.get_runs()] == [DagsterRunStatus.FAILURE]
        assert pools.claim_concurrency_slot("qdrant", "next", "step").is_claimed


def test_the_ui_closes_runs_that_were_killed_but_not_those_of_a_command_at_work(tmp_path: Path) -> None:
    with DagsterInstance.from_config(str(instance_folder(tmp_path))) as instance:
        tags = {"of a command": {_PID_TAG: "1"}, "of the UI": {}}
        runs = {
            name: instance.create_run_for_job(killed_run, status=DagsterRunStatus.STARTED, tags=tag).run_id
            for name, tag in tags.items()
        }

        def active() -> set[str]:
            found = {run.run_id for run in instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))}
            return {name for name, run in runs.items() if run in found}

        with only_run(tmp_path), serving_ui(tmp_path):
            assert active() == {"of a command"}
        with serving_ui(tmp_path):
            assert active() == set()
