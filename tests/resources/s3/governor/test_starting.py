"""A governor as a process: found again, started once, recognised when stale, stopped by its pid alone."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread

import pytest

from resources.s3.governor.process import (
    Governor,
    GovernorStartError,
    find,
    find_or_start,
    folder_name,
    running,
    stop_all,
)
from resources.s3.governor.settings import GovernorSettingError, GovernorSettings

ROOT = Path(__file__).parents[4]
UPSTREAM = GovernorSettings("http://127.0.0.1:9", deadline=60.0)


@pytest.fixture
def governors(tmp_path: Path) -> Iterator[Path]:
    """A folder for governors, which end with the test."""
    folder = tmp_path / "governor"
    yield folder
    stop_all(folder)


def end(governor: Governor) -> None:
    """Kill it, and be sure that it is gone."""
    os.kill(governor.pid, signal.SIGKILL)
    os.waitpid(governor.pid, 0)


def test_a_started_governor_is_found_again(governors: Path) -> None:
    started = find_or_start(governors, UPSTREAM)
    assert find_or_start(governors, UPSTREAM) == started
    assert running(governors) == [started]
    assert started.is_alive()
    status = started.status()
    assert (status["pid"], status["upstream"]) == (started.pid, UPSTREAM.upstream)
    assert (status["depth"], status["deadline"], status["prefixes"]) == (2, 60.0, [])


def test_the_token_is_for_the_owner_alone(governors: Path) -> None:
    governor = find_or_start(governors, UPSTREAM)
    assert stat.S_IMODE(governor.folder.stat().st_mode) == 0o700
    for name in ("token", "governor.json"):
        assert stat.S_IMODE((governor.folder / name).stat().st_mode) == 0o600
    assert governor.token not in repr(governor)
    arguments = Path(f"/proc/{governor.pid}/cmdline").read_bytes()
    assert governor.token.encode() not in arguments + Path(f"/proc/{governor.pid}/environ").read_bytes()
    stranger = Governor(governor.folder, governor.pid, governor.port, governor.upstream, "guessed")
    with pytest.raises(OSError, match="answered with 401"):
        stranger.status()


def test_it_has_no_credentials_of_whoever_starts_it(governors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-mine")
    governor = find_or_start(governors, UPSTREAM)
    assert b"of-mine" not in Path(f"/proc/{governor.pid}/environ").read_bytes()


def test_starters_at_once_start_one(governors: Path) -> None:
    code = "import sys; from pathlib import Path; from resources.s3.governor.process import *\n"
    code += "from resources.s3.governor.settings import GovernorSettings\n"
    code += "print(find_or_start(Path(sys.argv[1]), GovernorSettings(sys.argv[2], deadline=60.0)).pid)"
    command = [sys.executable, "-c", code, str(governors), UPSTREAM.upstream]

    def start(_: int) -> str:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(4) as pool:
        pids = set(pool.map(start, range(4)))
    assert pids == {f"{running(governors)[0].pid}\n"}


@pytest.mark.parametrize("address", ["", "{", "[]", '{"pid": 1}'])
def test_a_damaged_address_is_nobodys(governors: Path, address: str) -> None:
    folder = governors / folder_name(UPSTREAM)
    folder.mkdir(parents=True)
    (folder / "governor.json").write_text(address)
    assert find(folder) is None
    assert find_or_start(governors, UPSTREAM).is_alive()


def test_a_killed_one_is_replaced(governors: Path) -> None:
    killed = find_or_start(governors, UPSTREAM)
    end(killed)
    assert (killed.folder / "governor.json").exists()
    assert find(killed.folder) is None
    assert f"(process {killed.pid}, 127.0.0.1:{killed.port}) is gone" in str(killed.ended_error())
    another = find_or_start(governors, UPSTREAM)
    assert another.pid != killed.pid
    assert another.token != killed.token
    assert not killed.is_alive()


def test_an_address_that_another_process_has_taken_is_stale(governors: Path) -> None:
    """The port answers, but as somebody else; and the pid is this test's, which must survive."""
    first = find_or_start(governors, UPSTREAM)
    address = json.loads((first.folder / "governor.json").read_text())
    (first.folder / "governor.json").write_text(json.dumps({**address, "pid": os.getpid()}))
    assert find(first.folder) is None
    second = find_or_start(governors, UPSTREAM)
    assert second.pid != first.pid
    assert second.is_alive()
    first.stop()


def test_who_takes_the_port_of_a_killed_one_gets_no_token(governors: Path) -> None:
    """It answers as the killed one would, and is not asked for anything: not by finding, nor by starting another."""
    killed = find_or_start(governors, UPSTREAM)
    end(killed)
    asked: list[str] = []

    class Impostor(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(str(self.headers))
            body = json.dumps({"pid": killed.pid, "upstream": killed.upstream}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", killed.port), Impostor) as server:
        answering = Thread(target=server.serve_forever)
        answering.start()
        try:
            assert find(killed.folder) is None
            assert running(governors) == []
            assert find_or_start(governors, UPSTREAM).pid != killed.pid
            assert asked == []
            assert killed.is_alive()  # as far as an answer tells
            assert len(asked) == 1
            assert "authorization" not in asked[0].lower()
        finally:
            server.shutdown()
            answering.join()


def test_a_process_of_another_user_is_no_governor(governors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can start a process with these arguments, and wait for the pid of one that has ended."""
    started, another = find_or_start(governors, UPSTREAM), os.getuid() + 1
    with monkeypatch.context() as patched:
        patched.setattr("resources.s3.governor.process.os.getuid", lambda: another)
        assert find(started.folder) is None
        assert running(governors) == []
        with pytest.raises(ConnectionRefusedError, match=r"^The governor, process \d+, has ended$"):
            started.status()
        started.stop()
    assert find(started.folder) == started


def test_a_port_that_its_process_does_not_have_is_not_asked(governors: Path) -> None:
    started = find_or_start(governors, UPSTREAM)
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = json.loads((started.folder / "governor.json").read_text())
        stolen = {**address, "port": other.getsockname()[1]}
        (started.folder / "governor.json").write_text(json.dumps(stolen))
        assert find(started.folder) is None
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.accept()
    (started.folder / "governor.json").write_text(json.dumps(address))
    assert find(started.folder) == started


@pytest.mark.parametrize("url", ["http://AKIA:SECRET@host", "http://AKIA:SEC/RET@host", "AKIA:SECRET@host"])
def test_credentials_in_the_upstream_are_refused_before_anything_is_made(governors: Path, url: str) -> None:
    with pytest.raises(GovernorSettingError, match=r"--upstream is '.*…@.*', expected a URL") as refused:
        find_or_start(governors, GovernorSettings(url))
    assert "AKIA" not in str(refused.value)
    assert "RET" not in str(refused.value)
    assert not governors.exists()


def test_a_server_that_is_no_governor_is_not_one(governors: Path) -> None:
    folder = governors / folder_name(UPSTREAM)
    folder.mkdir(parents=True)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        assert not Governor(folder, os.getpid(), port, UPSTREAM.upstream, "").is_alive(timeout_seconds=0.05)


def test_other_arguments_are_another_governor(governors: Path) -> None:
    found = {
        find_or_start(governors, arguments)
        for arguments in (UPSTREAM, GovernorSettings("http://127.0.0.1:10"), GovernorSettings(UPSTREAM.upstream, 3))
    }
    assert len({governor.pid for governor in found}) == len({governor.folder for governor in found}) == 3
    assert set(running(governors)) == found
    stop_all(governors)
    assert running(governors) == []
    assert not any(governor.is_alive() for governor in found)
    stop_all(governors)


def test_stopping_ends_a_hung_one_and_no_other_process(governors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.s3.governor.process._STOP_SECONDS", 0.2)
    hung = find_or_start(governors, UPSTREAM)
    os.kill(hung.pid, signal.SIGSTOP)
    assert not hung.is_alive(timeout_seconds=0.05)
    hung.stop()
    assert not Path(f"/proc/{hung.pid}").exists()
    Governor(hung.folder, os.getpid(), hung.port, hung.upstream, "").stop()  # this very process: not a governor


def test_what_cannot_start_says_why(governors: Path, tmp_path: Path) -> None:
    refused = GovernorSettings("https://127.0.0.1:9", ca_file=str(tmp_path / "missing.pem"))
    with pytest.raises(GovernorStartError, match=r"did not start; .*governor.log ends with: .*--ca-file is .*missing"):
        find_or_start(governors, refused)
    (tmp_path / "file").touch()
    with pytest.raises(GovernorStartError, match=r"could not be started in .*: Not a directory"):
        find_or_start(tmp_path / "file", UPSTREAM)


def test_arguments_reach_the_governor(governors: Path) -> None:
    arguments = GovernorSettings(UPSTREAM.upstream, 3, 7.5, 12.0, 34.0, str(governors / "emf"))
    governor = find_or_start(governors, arguments)
    given = Path(f"/proc/{governor.pid}/cmdline").read_bytes().decode().split("\0")
    pairs = dict(pairwise(given))
    assert (pairs["--max-writes"], pairs["--max-reads"]) == ("12.0", "34.0")
    assert (pairs["--idle-exit"], pairs["--emf"]) == ("900", str(governors / "emf"))
    status = governor.status()
    assert (status["depth"], status["deadline"]) == (3, 7.5)


def test_it_starts_without_the_lineages_imports() -> None:
    code = "import resources.s3.governor.__main__, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"uvloop", "resources"} <= set(done.stdout.split())
    assert not {"dagster", "boto3", "botocore", "polars", "pyarrow", "deltalake"} & set(done.stdout.split())
