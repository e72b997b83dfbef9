"""`cippus dev` ends with a sentence when its UI cannot be served, and prints none of Dagster's own warnings."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipelines.cli import user_interface
from pipelines.cli.user_interface import DAGSTER_DEV, serve
from pipelines.local.server_process import ServerError, free_ports

DEAF = "import time; time.sleep(600)"
"""As Dagster's webserver is when it cannot bind its port."""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
PROGRAMS = {
    "that ends": "import sys; sys.exit(3)",
    "that serves and ends": """
import socket, sys, time
served = socket.create_server(('127.0.0.1', int(sys.argv[1])))
time.sleep(0.5); sys.exit(3)""",
    "whose child serves and ends": """
import subprocess, sys
serve = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(0.5)"
subprocess.run([sys.executable, '-c', serve, sys.argv[1]]); sys.exit(3)""",
}


@pytest.fixture(autouse=True)
def _polling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_interface, "_POLL_SECONDS", 0.05)


def _running_children() -> list[psutil.Process]:
    """Processes of this one. Those that other tests killed may wait to be reaped."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("host", ["127.0.0.1", ""], ids=["loopback", "every address"])
@pytest.mark.parametrize("program", [[DEAF], [PARENT, DEAF]], ids=["child", "grandchild"])
def test_a_port_that_is_taken_meanwhile_ends_everything(program: list[str], host: str) -> None:
    with socket.create_server((host, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"^Another program took port {port} of 127.0.0.1 meanwhile"):
            serve([sys.executable, "-c", *program], port, os.environ)
    assert not any("time.sleep(600)" in word for child in _running_children() for word in child.cmdline())


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_the_exit_code_is_the_program_s(program: str) -> None:
    [port] = free_ports(1)
    assert serve([sys.executable, "-c", program, str(port)], port, os.environ) == 3


def test_a_listener_without_an_owner_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened between the look at processes and the look at sockets, it belongs to nobody that can be seen."""
    looks = iter([{None}, set(), {None}, {None}])
    monkeypatch.setattr(user_interface, "_listeners", lambda _port: next(looks))
    with pytest.raises(ServerError, match=r"^Another program took port 1 "):
        serve([sys.executable, "-c", DEAF], 1, os.environ)
    assert next(looks, None) is None


def test_dagster_s_command_prints_no_warning_of_its_own(tmp_path: Path) -> None:
    """The warning comes before the instance is opened, which has no folder."""
    given = {**os.environ, "DAGSTER_HOME": str(tmp_path / "none")}
    command = [*DAGSTER_DEV, "--empty-workspace"]
    ended = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "is not a directory or does not exist" in ended.stderr
    assert "Warning" not in ended.stdout + ended.stderr
