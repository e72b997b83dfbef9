"""The embedded Postgres of root is another user's, without a capability: it reads and writes its own folder alone."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pipelines.local import postgres_server, privileges
from pipelines.local.postgres_server import PostgresServer, binary
from pipelines.local.privileges import copy_for_all, is_open_to_all, opened, pipe_with, unprivileged
from pipelines.local.server_process import free_ports

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Only root runs Postgres as another user.")
CAPABILITIES = {"CapInh", "CapPrm", "CapEff", "CapAmb"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A Postgres whose programs and home lie in folders of root alone."""
    folder = tmp_path_factory.mktemp("closed")
    folder.chmod(0o700)
    home = folder / "home"
    (home / "logs").mkdir(mode=0o700, parents=True)
    wheel = binary("postgres").parents[3]
    for name in (postgres_server._PROGRAMS, postgres_server._LIBRARIES):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copytree(wheel / name, folder / name, copy_function=os.link)
    found = PostgresServer(home, free_ports(1)[0], "password")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(postgres_server, "binary", lambda name: folder / postgres_server._PROGRAMS / "bin" / name)
        found.start()
        yield found
        found.stop()
    assert not (home / "postgres.programs").exists()


@pytest.fixture
def superuser(server: PostgresServer) -> Iterator["psycopg.Connection"]:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        yield connection


def test_no_process_of_it_has_a_capability(server: PostgresServer, superuser: psycopg.Connection) -> None:
    postmaster = server.process.pid()
    assert postmaster is not None
    for pid in (postmaster, superuser.info.backend_pid):
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        assert {name: int(status[name], 16) for name in CAPABILITIES} == dict.fromkeys(CAPABILITIES, 0)
        assert set(status["Uid"].split()) == {str(unprivileged()[0])}
        assert set(status["Groups"].split()) <= {str(unprivileged()[1])}


@pytest.mark.parametrize(
    "statement",
    [
        "COPY stolen FROM '{secret}'",
        "COPY (SELECT 1) TO '{secret}'",
        "COPY (SELECT 1) TO '{folder}/new'",
        "SELECT pg_read_file('{secret}')",
        "SELECT pg_ls_dir('{folder}')",
        "COPY stolen FROM PROGRAM 'cat {secret}'",
        "SELECT pg_read_file('/etc/shadow')",
    ],
)
def test_a_superuser_statement_reaches_no_file_of_others(
    server: PostgresServer, superuser: psycopg.Connection, tmp_path: Path, statement: str
) -> None:
    secret = server.home / "settings.json"
    secret.write_text("secret")
    superuser.execute("CREATE TABLE IF NOT EXISTS stolen (line text)")
    with pytest.raises(psycopg.Error) as refused:
        superuser.execute(statement.format(secret=secret, folder=server.home).encode())
    assert "ermission denied" in str(refused.value) or "exit code" in str(refused.value)
    assert secret.read_text() == "secret"
    assert superuser.execute("SELECT count(*) FROM stolen").fetchone() == (0,)


def test_its_own_programs_extensions_and_restart_work(server: PostgresServer, superuser: psycopg.Connection) -> None:
    superuser.execute("DO $$ BEGIN PERFORM 1; END $$")  # loads plpgsql from the copied programs
    superuser.execute("CREATE TABLE kept AS SELECT 7 AS n")
    superuser.execute("SELECT pg_reload_conf()")
    first = (server.home / "postgres.programs").read_text()
    superuser.close()
    server.stop()
    assert not Path(first).exists()
    server.start()
    with psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_the_copy_is_for_all_to_read_and_for_root_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privileges, "_COPIES", tmp_path)
    (tmp_path / "a" / "bin").mkdir(parents=True, mode=0o700)
    program = tmp_path / "a" / "bin" / "x"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o700)
    (tmp_path / "a" / "share").write_text("data")
    copy = copy_for_all(tmp_path, ("a", "none"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (copy, *copy.rglob("*"))}
    assert modes == {copy.name: 0o755, "a": 0o755, "bin": 0o755, "x": 0o755, "share": 0o644}
    assert not is_open_to_all(program.parent)
    assert is_open_to_all(Path("/usr/bin"))


def test_a_pipe_and_a_folder_of_roots_reach_the_other_user(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir(mode=0o700)
    (folder / "a").write_text("content")
    os.chown(folder, *unprivileged())
    tmp_path.chmod(0o700)
    with opened(folder) as data, pipe_with("secret\n") as pipe:
        command = ["sh", "-c", 'cat /dev/stdin "$0/a" && ! cat "$1/a"', data.path, str(folder)]
        done = subprocess.run(command, **data.options, stdin=pipe, cwd="/", capture_output=True, check=True, text=True)
    assert done.stdout == "secret\ncontent"
