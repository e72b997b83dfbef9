"""The embedded stack: started once, found again, revived with its data, private to the machine and the user."""

import http.client
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from pipelines.local import stack as embedded
from pipelines.local.s3_server import PORT_NAMES, server_binary
from pipelines.local.server_process import becomes_free
from resources.local_stack import EmbeddedStack, StackNotUpError
from tests.worlds.own_stack import LOOPBACK, listening, pids, remember, remembered, tried_by_another_user

SECRET_FILES = {"settings.json", "stack.json", "s3.json"}


@pytest.fixture(scope="module")
def module_home() -> Iterator[Path]:
    """A home in a folder that other users may pass through, as they may through many people's home folders."""
    with TemporaryDirectory(prefix="cippus-") as folder:
        Path(folder).chmod(0o755)
        home = Path(folder) / "home"
        yield home
        embedded.down(home)


@pytest.fixture
def own(module_home: Path) -> EmbeddedStack:
    """A stack that tests may kill and stop. It is up when a test starts."""
    return embedded.up(module_home)


def test_up_starts_both_parts_and_writes_where_they_are(own: EmbeddedStack, module_home: Path) -> None:
    remember(own, "a")
    assert remembered(own) == (["a"], b"a")
    assert embedded.status(module_home) == {"postgres": True, "s3": True}
    assert EmbeddedStack.read(module_home / "stack.json") == own


def test_up_and_revive_find_what_runs(own: EmbeddedStack, module_home: Path) -> None:
    before = pids(module_home)
    assert None not in before.values()
    assert embedded.up(module_home) == own
    assert embedded.revive(module_home) == own
    assert pids(module_home) == before


@pytest.mark.parametrize("killed", [("Postgres",), ("S3",), ("Postgres", "S3")], ids="+".join)
def test_revive_restarts_what_was_killed(own: EmbeddedStack, module_home: Path, killed: tuple[str, ...]) -> None:
    remember(own, "kept")
    before = pids(module_home)
    for name in killed:
        os.kill(before[name] or 0, signal.SIGKILL)
    assert embedded.revive(module_home) == own
    after = pids(module_home)
    assert {name for name in before if after[name] != before[name]} == set(killed)
    assert remembered(own) == (["kept"], b"kept")


def test_down_ends_the_processes_and_keeps_the_data(own: EmbeddedStack, module_home: Path) -> None:
    remember(own, "kept")
    running = [pid for pid in pids(module_home).values() if pid]
    embedded.down(module_home)
    assert len(running) == 2
    assert not [pid for pid in running if Path(f"/proc/{pid}").exists()]
    assert embedded.status(module_home) == {"postgres": False, "s3": False}
    with pytest.raises(StackNotUpError):
        embedded.revive(module_home)
    embedded.down(module_home)  # stopping what is not running is no error
    assert embedded.up(module_home) == own
    assert remembered(own) == (["kept"], b"kept")


def test_wipe_deletes_the_data_and_keeps_secrets_and_ports(own: EmbeddedStack, module_home: Path) -> None:
    remember(own, "gone")
    (module_home / "qdrant").mkdir(exist_ok=True)
    embedded.wipe(module_home)
    assert not {"postgres", "s3", "qdrant", "stack.json"} & {path.name for path in module_home.iterdir()}
    assert embedded.up(module_home) == own
    assert remembered(own) == ([], None)


def test_taken_ports_are_left_and_recorded_pids_of_others_are_not_signalled(
    own: EmbeddedStack, module_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(own, "kept")
    embedded.down(module_home)
    monkeypatch.setattr(embedded, "becomes_free", partial(becomes_free, patience_seconds=0.0))
    settings = embedded._Settings.of(module_home)
    with subprocess.Popen(["sleep", "600"]) as bystander, socket.socket() as first, socket.socket() as second:
        try:
            for taken, port in ((first, settings.postgres_port), (second, settings.s3_ports[3])):
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind(("127.0.0.1", port))
                taken.listen()
            recorded = f"{bystander.pid}\n{module_home / 'postgres'}\n"
            (module_home / "s3.pid").write_text(recorded)
            (module_home / "postgres" / "postmaster.pid").write_text(recorded)
            embedded.down(module_home)
            moved = embedded.up(module_home)
            assert bystander.poll() is None
        finally:
            bystander.kill()
        assert settings.postgres_port != embedded._Settings.of(module_home).postgres_port
        assert not set(settings.s3_ports) & set(embedded._Settings.of(module_home).s3_ports)
        assert remembered(moved) == (["kept"], b"kept")
        assert EmbeddedStack.read(module_home / "stack.json") == moved


def test_postgres_waits_for_the_children_of_a_killed_postmaster(own: EmbeddedStack, module_home: Path) -> None:
    """A second cluster would corrupt the data while an old backend still writes."""
    keys = (module_home / "postgres" / "postmaster.pid").read_text().splitlines()
    assert len(keys) >= 7, "the pid file is Postgres' own, with the shared memory that it looks for"
    os.kill(pids(module_home)["Postgres"] or 0, signal.SIGKILL)
    embedded._Settings.of(module_home).servers(module_home)[0]._disown_pid_file()
    disowned = (module_home / "postgres" / "postmaster.pid").read_text().splitlines()
    assert disowned == [str(os.getpid()), *keys[1:]]


def test_a_query_that_outlives_its_postmaster_does_not_bar_the_next_start(
    own: EmbeddedStack, module_home: Path
) -> None:
    remember(own, "kept")
    with psycopg.connect(own.postgres_dsn) as watched, psycopg.connect(own.postgres_dsn, autocommit=True) as watcher:
        watched.pgconn.send_query(b"SELECT count(*) FROM (SELECT generate_series(1, 1e12)) AS long")
        backend = watched.info.backend_pid
        active = "SELECT state FROM pg_stat_activity WHERE pid = %s"
        title = Path(f"/proc/{backend}/cmdline")
        # It is active a moment before its title says so.
        while watcher.execute(active, (backend,)).fetchone() != ("active",) or b"SELECT" not in title.read_bytes():
            pass
        os.kill(pids(module_home)["Postgres"] or 0, signal.SIGKILL)
        assert b"SELECT" in title.read_bytes()
        assert embedded.revive(module_home) == own
        assert not title.exists() or not title.read_bytes()
        watched.close()
        watcher.close()
    assert remembered(own) == (["kept"], b"kept")


@pytest.mark.parametrize(
    "path", ["master/col/delete?collection=cippus", "master/dir/status", "filer/buckets/cippus/memory"]
)
def test_nobody_without_a_password_reads_or_deletes_objects_over_http(
    own: EmbeddedStack, module_home: Path, path: str
) -> None:
    remember(own, "kept")
    part, _, asked = path.partition("/")
    port = embedded._Settings.of(module_home).s3_ports[PORT_NAMES.index(part)]
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", f"/{asked}")
        assert connection.getresponse().status == 404
    assert remembered(own) == (["kept"], b"kept")


def test_another_user_of_the_machine_cannot_use_the_internal_ports_of_s3(
    own: EmbeddedStack, module_home: Path, tmp_path: Path
) -> None:
    remember(own, "kept")
    server = embedded.s3_server(module_home)
    ports = dict(zip(PORT_NAMES, server.ports, strict=True))
    addresses = [f"-{part}=127.0.0.1:{ports[part]}.{ports[f'{part}.grpc']}" for part in ("master", "filer")]
    # The shell of somebody who has the program and the ports, but not the keys of the home.
    shell = subprocess.Popen(
        [str(server_binary()), "shell", *addresses],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = shell.communicate(b"fs.ls /buckets/cippus\nvolume.list\n", timeout=3)
    except subprocess.TimeoutExpired:  # without keys it waits for the master for ever
        shell.kill()
        output, _ = shell.communicate()
    assert b"memory" not in output
    assert b"volume Id" not in output
    assert "memory" in server.shell("fs.ls /buckets/cippus")


def test_a_volume_gives_no_object_without_a_token(own: EmbeddedStack, module_home: Path) -> None:
    remember(own, "kept")
    server = embedded.s3_server(module_home)
    port = dict(zip(PORT_NAMES, server.ports, strict=True))["volume"]
    listed = server.shell("fs.meta.cat /buckets/cippus/memory")
    file_id = re.search(r'"fileId": *"([0-9a-f,]+)"', listed)
    assert file_id, listed
    for method in ("GET", "DELETE"):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request(method, f"/{file_id[1]}")
            assert connection.getresponse().status == 401
    assert remembered(own) == (["kept"], b"kept")


def test_what_another_user_made_in_the_temporary_folder_breaks_neither_up_nor_down(
    own: EmbeddedStack, module_home: Path
) -> None:
    """SeaweedFS makes sockets of known names there. Nobody can unlink a folder, as nobody can another user's file."""
    remember(own, "kept")
    embedded.down(module_home)
    ports = dict(zip(PORT_NAMES, embedded._Settings.of(module_home).s3_ports, strict=True))
    made = [
        Path(f"/tmp/seaweedfs-{name.replace('.', '-')}-{port}.sock")  # noqa: S108
        for name, port in ports.items()
        if name.endswith(".grpc")
    ]
    try:
        for path in made:
            path.mkdir()
            (path / "file").touch()
        again = embedded.up(module_home)
        assert remembered(again) == (["kept"], b"kept")
        embedded.down(module_home)
        assert embedded.status(module_home) == {"postgres": False, "s3": False}
    finally:
        for path in made:
            shutil.rmtree(path)


def test_nothing_listens_beyond_loopback(own: EmbeddedStack, module_home: Path) -> None:
    settings = embedded._Settings.of(module_home)
    found = {name: listening(pid) for name, pid in pids(module_home).items() if pid}
    assert {port for _, port in found["Postgres"]} == {settings.postgres_port}
    assert {port for _, port in found["S3"]} == set(settings.s3_ports)
    assert {address for sockets in found.values() for address, _ in sockets} <= LOOPBACK


@pytest.mark.skipif(os.geteuid() != 0, reason="Only root can become another user.")
def test_another_user_can_do_what_the_documentation_says_and_no_more(own: EmbeddedStack, module_home: Path) -> None:
    """docs/security.md has this list."""
    remember(own, "kept")
    python = shutil.which("python3", path=os.defpath) or pytest.skip("there is no Python that other users may run")
    settings = embedded._Settings.of(module_home)
    found_pids = {name: pid for name, pid in pids(module_home).items() if pid}
    ports = {"postgres": settings.postgres_port, **dict(zip(PORT_NAMES, settings.s3_ports, strict=True))}
    there = {
        "files": [str(module_home), *map(str, module_home.rglob("*"))],
        "ports": ports,
        "sockets": [str(path) for path in embedded.s3_server(module_home)._sockets],
        "pids": found_pids,
    }
    could = tried_by_another_user(python, there)
    assert could["files"] == [f"see {module_home}"]
    assert could["sockets"] == []
    assert sorted(could["processes"]) == [f"read cmdline of {name}" for name in sorted(found_pids)]
    answers = {name: [answer.partition(": ")[2] for answer in found] for name, found in could["ports"].items()}
    get, delete, grpc, postgres = range(4)
    assert answers["s3"][:2] == ["HTTP/1.1 403 Forbidden"] * 2
    assert answers["master"][get] == "HTTP/1.1 200 OK", "the status page"
    assert [answers[part][delete].split()[1] for part in ("master", "volume", "filer")] == ["404", "400", "404"]
    assert [answers[part][get].split()[1] for part in ("volume", "filer")] == ["401", "404"]
    assert {answers[f"{part}.grpc"][grpc] for part in ("s3", "master", "volume", "filer")} <= {
        "",
        "ConnectionResetError",
    }
    assert answers["postgres"][postgres].startswith("R"), "it asks for a password"
    assert remembered(own) == (["kept"], b"kept")


def test_secrets_are_in_files_of_the_owner_and_nowhere_else(own: EmbeddedStack, module_home: Path) -> None:
    remember(own, "a")
    settings = embedded._Settings.of(module_home)
    secrets = [settings.postgres_password.encode(), settings.s3_secret_access_key.encode()]
    holders = {
        str(path.relative_to(module_home))
        for path in module_home.rglob("*")
        if path.is_file() and any(secret in path.read_bytes() for secret in secrets)
    }
    assert holders == SECRET_FILES
    assert {stat.S_IMODE((module_home / name).stat().st_mode) for name in holders} == {0o600}
    closed = (".", "postgres", "s3", "s3.keys")
    assert {stat.S_IMODE((module_home / name).stat().st_mode) for name in closed} == {0o700}
    for pid in pids(module_home).values():
        for visible in ("cmdline", "environ"):
            shown = Path(f"/proc/{pid}/{visible}").read_bytes()
            assert not any(secret in shown for secret in secrets)
