"""Homes in which the servers cannot work are refused before anything is started; odd ones that work are used."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from pipelines.local import stack as embedded
from pipelines.local.home_folder import usable_home
from resources import settings
from resources.errors import InputError


def refuse(error: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    return fail


def test_a_tilde_is_the_users_folder_without_a_shell_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, found in (("~/own", tmp_path / "own"), ("~", tmp_path), ("a/~", Path.cwd() / "a/~")):
        monkeypatch.setenv("CIPPUS_HOME", given)
        assert settings.home() == found.resolve()
    monkeypatch.setenv("CIPPUS_HOME", "~nobody-of-this-name/own")
    with pytest.raises(InputError, match="no home folder is known for ~nobody-of-this-name"):
        settings.home()


@pytest.mark.parametrize("name", ["a,b", "a?b", "a%20b", "a\nb", "a\tb", "a\udcffb"])
def test_a_path_that_the_servers_cannot_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CIPPUS_HOME", str(tmp_path / name))
    with pytest.raises(InputError, match="it must be a path without"):
        usable_home()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("what", "module", "name"),
    [("permissions", os, "chown"), ("locks", fcntl, "flock"), ("sockets", socket.socket, "bind")],
)
@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_what_the_servers_need_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch, what: str, module: object, name: str, error: int
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *_: None) if what != "permissions" else None
    monkeypatch.setattr("pipelines.local.home_folder.unprivileged", lambda: (os.getuid(), os.getgid()))
    monkeypatch.setattr(module, name, refuse(error))
    with pytest.raises(InputError) as refused:
        usable_home()
    expected = f"CIPPUS_HOME is {home}; its file system has no {what}: set it to a folder on a local disk."
    assert str(refused.value) == expected
    assert [path.name for path in home.iterdir()] == ["run.lock"]


def test_a_full_disk_is_not_called_a_file_system_without_locks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        usable_home()


def test_a_file_system_that_ignores_modes_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "chmod", lambda path, _mode: os.chmod(path, 0o777))  # noqa: PTH101, S103
    with pytest.raises(InputError, match="has no permissions"):
        usable_home()


def test_a_long_path_with_spaces_and_quotes_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPPUS_HOME", str(tmp_path / "a b ü 'c' \"d\" $e #;:&[x]" / ("long " * 30)))
    home = usable_home()
    assert len(str(home)) > 150
    try:
        with psycopg.connect(embedded.up(home).postgres_dsn) as connection:
            assert connection.execute("SELECT count(*) FROM accounts").fetchone() == (0,)
    finally:
        embedded.down(home)
