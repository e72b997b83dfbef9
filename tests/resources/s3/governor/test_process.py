"""A governor's life: settings it refuses, what it leaves behind, what a next one takes up, how it ends."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.s3.governor.__main__ import main
from tests.fakes.misbehaving_upstream import Upstream, Wire, answer, error, hang, upstream
from tests.worlds.governor import SECONDS, Raw, ask, command, governor, until, write_token

AT = "http://s3.test.invalid/b/a/k"
S3 = "https://s3.eu-west-1.amazonaws.com"


@pytest.fixture(scope="module")
def s3() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


def _refused(*arguments: str, upstream_url: str = S3) -> tuple[int, str]:
    done = subprocess.run(
        command(upstream_url, *arguments), capture_output=True, text=True, timeout=SECONDS, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("upstream_url", "arguments", "expected"),
    [
        ("s3.eu-west-1.amazonaws.com", (), "--upstream is 's3.eu-west-1.amazonaws.com', expected a URL"),
        ("https://key:secret@s3.x", (), "--upstream is 'https://…@s3.x', expected"),
        ("http://key:sec/secret@s3.x", (), "--upstream is 'http://…@s3.x', expected"),
        ("key:secret@s3.x", (), "--upstream is '…@s3.x', expected"),
        ("https://s3.x/path", (), "--upstream is 'https://s3.x/path', expected"),
        ("https://s3.x:99999", (), "--upstream is"),
        (S3, ("--depth", "-1"), "--depth is -1, expected"),
        (S3, ("--deadline", "0"), "--deadline is 0.0, expected"),
        (S3, ("--deadline", "nan"), "--deadline is nan, expected"),
        (S3, ("--port", "70000"), "--port is 70000, expected"),
        (S3, ("--max-writes", "0"), "--max-writes is 0.0, expected"),
        (S3, ("--idle-exit", "-1"), "--idle-exit is -1.0, expected"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    upstream_url: str,
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["s3-governor", "--upstream", upstream_url, *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("s3-governor: ")
    assert expected in said
    assert said.count("\n") == 1
    assert "secret" not in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--emf", "udp://localhost"), "--emf is 'udp://localhost', expected"),
        (("--emf", "udp://localhost:99999"), "--emf is 'udp://localhost:99999', expected"),
        (("--ca-file", "{tmp}/empty"), "--ca-file is"),
        (("--ca-file", "{tmp}/none"), "none, expected a file of PEM certificates: No such file or directory."),
        (("--token-file", "{tmp}/empty"), "it is empty."),
        (("--token-file", "{tmp}/none"), "none, expected a file with a token: No such file or directory."),
        (("--token-file", "{tmp}"), "expected a file with a token: Is a directory."),
        (("--folder", "{tmp}/empty"), "empty, expected a folder that can be written: File exists."),
        (("--folder", "{tmp}/empty/folder"), "folder, expected a folder that can be written: Not a directory."),
        (("--depth", "-1"), "--depth is -1, expected"),
    ],
)
def test_what_it_cannot_start_with_ends_it_with_a_sentence(
    tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    (tmp_path / "empty").touch()
    status, said = _refused(*(part.format(tmp=tmp_path) for part in arguments))
    assert (status, said.count("\n")) == (2, 1)
    assert said.startswith("s3-governor: ")
    assert expected in said


def test_a_port_that_is_taken_ends_it_with_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        status, said = _refused("--port", str(taken.getsockname()[1]), "--folder", str(tmp_path))
    assert (status, said.count("\n")) == (1, 1)
    assert "address already in use" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("upstream_url", [S3, "http://127.0.0.1:9"])
def test_without_a_token_it_does_not_start(tmp_path: Path, upstream_url: str) -> None:
    arguments = [sys.executable, "-m", "resources.s3.governor", "--upstream", upstream_url, "--folder", str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "s3-governor: --token-file is missing, expected a file with the token that clients must send.\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["none", "empty"])
def test_certificates_that_are_none_are_refused_for_a_plain_upstream_too(tmp_path: Path, file: str) -> None:
    (tmp_path / "empty").touch()
    status, said = _refused("--ca-file", str(tmp_path / file), upstream_url="http://127.0.0.1:9")
    assert (status, said.count("\n")) == (2, 1)
    assert f"--ca-file is {tmp_path / file}, expected a file of PEM certificates: " in said


def test_its_address_is_for_its_owner_and_goes_with_it(s3: Upstream, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with governor(s3.url, "--folder", str(folder), "--token-file", write_token(tmp_path, "secret")) as found:
        address = folder / "governor.json"
        assert json.loads(address.read_text()) == {
            "pid": found.process.pid, "port": found.port, "token": "secret", "upstream": s3.url,
        }  # fmt: skip
        assert stat.S_IMODE(address.stat().st_mode) == 0o600
        assert found.end() == 0
        assert not address.exists()
        assert "secret" not in "".join(found.log)


def test_it_leaves_another_governors_address_alone(s3: Upstream, tmp_path: Path) -> None:
    with governor(s3.url, "--folder", str(tmp_path)) as found:
        (tmp_path / "governor.json").write_text(json.dumps({"pid": os.getpid()}))
        found.end()
    assert (tmp_path / "governor.json").exists()


def test_learned_limits_survive_a_restart(s3: Upstream, tmp_path: Path) -> None:
    s3.will(error(503, "SlowDown"), error(503, "SlowDown"), answer())
    with governor(s3.url, "--folder", str(tmp_path)) as found:
        ask(found.port, "PUT", AT, b"x")
        found.end()
    kept = json.loads((tmp_path / "limits.json").read_text())["limits"]
    assert kept
    with governor(s3.url, "--folder", str(tmp_path)) as found:
        known = {limit["path"]: limit["rate"] for limit in found.status()["limits"] if limit["known"]}
    assert known == pytest.approx({"/".join(limit["path"]): limit["rate"] for limit in kept})


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b'{"format":2}', b'{"format":1,"limits":[{"path":7}]}', b"\xff\xfe", b"[" * 100_000]
)
def test_damaged_limits_are_learned_anew(s3: Upstream, tmp_path: Path, damaged: bytes) -> None:
    s3.will(answer())
    (tmp_path / "limits.json").write_bytes(damaged)
    with governor(s3.url, "--folder", str(tmp_path)) as found:
        assert ask(found.port, "PUT", AT, b"x").status == 200
        assert found.end() == 0
    assert "so limits are learned anew" in "".join(found.log)
    assert json.loads((tmp_path / "limits.json").read_text())["limits"] == []


def test_it_ends_when_nobody_needs_it(s3: Upstream, tmp_path: Path) -> None:
    with governor(s3.url, "--folder", str(tmp_path), "--idle-exit", "0.2") as found:
        assert found.process.wait(SECONDS) == 0
    assert not (tmp_path / "governor.json").exists()
    assert "ending" in "".join(found.log)


def test_requests_under_way_are_finished_before_it_ends(s3: Upstream) -> None:
    may_answer = threading.Event()

    def late(wire: Wire) -> None:
        may_answer.wait(SECONDS)
        wire.send(answer(200, b"late"))

    s3.will(late)
    with governor(s3.url) as found, Raw(found.port) as client:
        client.send(f"GET {AT} HTTP/1.1\r\nHost: s3.test.invalid\r\n\r\n".encode())
        until(lambda: bool(s3.seen))
        found.process.terminate()
        until(lambda: not _listens(found.port))
        may_answer.set()
        assert client.answer().body == b"late"
        assert found.process.wait(SECONDS) == 0


def test_what_never_ends_does_not_keep_it(s3: Upstream) -> None:
    s3.will(hang)
    with governor(s3.url, "--deadline", "60") as found, Raw(found.port) as client:
        client.send(f"GET {AT} HTTP/1.1\r\nHost: s3.test.invalid\r\n\r\n".encode())
        until(lambda: bool(s3.seen))
        assert found.end() == 0
        assert client.rest() == b""


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=SECONDS).close()
    except OSError:
        return False
    return True
