"""A server process: started, ended, found by its pid file, on a free port."""

import signal
import socket
from pathlib import Path

import pytest

from pipelines.local import server_process
from pipelines.local.server_process import ServerError, ServerProcess, becomes_free, free_ports


def test_a_server_that_does_not_start_is_named_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "_START_SECONDS", 0.3)
    server = ServerProcess("Postgres", tmp_path / "pid", tmp_path / "log", "marker")
    with pytest.raises(ServerError, match=f"The embedded Postgres did not start; {tmp_path}/log ends with: .*no disk"):
        server.start(["sh", "-c", "echo no disk; exit 1", "marker"], tmp_path, {}, lambda: False)
    assert server.pid() is None


def test_a_server_that_does_not_become_ready_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "_START_SECONDS", 0.3)
    server = ServerProcess("S3", tmp_path / "pid", tmp_path / "log", "601")
    with pytest.raises(ServerError, match="The embedded S3 did not start"):
        server.start(["sleep", "601"], tmp_path, {}, lambda: False)
    assert server.pid() is None


def test_a_server_that_does_not_listen_to_signals_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
    server = ServerProcess("S3", tmp_path / "pid", tmp_path / "log", script)
    server.start(["sh", "-c", script], tmp_path, {}, lambda: "deaf" in (tmp_path / "log").read_text())
    pid = server.pid()
    server.stop(signal.SIGTERM, patience_seconds=0.1)
    assert not Path(f"/proc/{pid}").exists()
    assert server.pid() is None


@pytest.mark.parametrize("recorded", ["", "none", "-1", str(2**31), "1"])
def test_a_pid_file_that_names_no_server_of_ours_is_none(tmp_path: Path, recorded: str) -> None:
    (tmp_path / "pid").write_text(recorded)
    assert ServerProcess("S3", tmp_path / "pid", tmp_path / "log", "marker").pid() is None


def test_a_port_is_free_until_somebody_listens() -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        assert [becomes_free(port, patience_seconds=0.0) for port in ports] == [False, True, True]
