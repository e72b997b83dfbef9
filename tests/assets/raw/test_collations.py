"""Ranges of keys in a database whose collation is not the column's: every key is in one of them."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from pipelines.local.postgres_server import binary
from pipelines.local.privileges import opened, unprivileged
from resources.sources.postgres import PostgresResource
from resources.sources.protocol import ReadWindow

LOCALE = "en_US.UTF-8"


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a locale that orders letters before their case, which the embedded stack's does not."""
    folder = tmp_path_factory.mktemp("locales")
    folder.chmod(0o755)
    if not shutil.which("localedef"):
        pytest.skip("there is no localedef to make a locale with")
    made = subprocess.run(
        ["localedef", "-i", "en_US", "-f", "UTF-8", "--no-archive", str(folder / "en_US.utf8")],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("there are no sources of locales: install the package `locales`")
    return folder


@pytest.fixture(scope="module")
def server(locales: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address, without a database, of a Postgres that knows the locale."""
    folder = tmp_path_factory.mktemp("collating")
    folder.chmod(0o700)
    if os.geteuid() == 0:
        os.chown(folder, *unprivileged())
    environment = {"PATH": os.defpath}
    with opened(folder) as data:
        making = [str(binary("initdb")), "-D", data.path, "-U", "cippus", "-A", "trust", "-E", "UTF8"]
        making += ["--locale=C.UTF-8", "--no-sync"]
        subprocess.run(making, **data.options, check=True, cwd="/", capture_output=True, env=environment)
    shutil.copytree(locales, folder / "locales")  # where the server's user reaches them
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [f"--port={port}", "--listen_addresses=127.0.0.1", "--unix_socket_directories=", "--fsync=off"]
    with opened(folder) as data:
        running = subprocess.Popen(
            [str(binary("postgres")), "-D", data.path, *arguments],
            **data.options,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, "LOCPATH": f"{data.path}/locales"},
        )
    try:
        assert running.stderr is not None
        assert any("ready to accept connections" in line for line in running.stderr)
        yield f"postgresql://cippus@127.0.0.1:{port}/"
    finally:
        running.send_signal(signal.SIGINT)
        running.communicate()


@pytest.mark.parametrize(("database", "column"), [(LOCALE, "C"), ("C.UTF-8", "of letters")])
@pytest.mark.parametrize("analyzed", [True, False])
def test_every_key_is_in_one_range_whatever_the_columns_collation(
    server: str, database: str, column: str, analyzed: bool
) -> None:
    name = f"of_{database[0]}_{analyzed}".lower()
    with psycopg.connect(f"{server}postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 LOCALE '{database}'".encode())
    with psycopg.connect(f"{server}{name}", autocommit=True) as connection:
        connection.execute(f"CREATE COLLATION \"of letters\" (provider = libc, locale = '{LOCALE}')".encode())
        connection.execute(f'CREATE TABLE posts (post_id text COLLATE "{column}", updated_at timestamptz)'.encode())
        connection.execute(
            "INSERT INTO posts SELECT CASE n % 2 WHEN 0 THEN md5(n::text) ELSE upper(md5(n::text)) END, '2024-01-01' "
            "FROM generate_series(1, 4000) n"
        )
        if analyzed:
            connection.execute("ANALYZE posts")
    postgres = PostgresResource(dsn=f"{server}{name}")
    found: list[str] = []
    ranges = postgres.key_ranges("posts", "post_id", 100)
    for keys in ranges:
        upper = datetime(2030, 1, 1, tzinfo=UTC)
        with postgres.read(ReadWindow("posts", "post_id", ("post_id",), "updated_at", None, upper, keys)) as batches:
            found += batches.read_all()["post_id"].to_pylist()
    assert len(ranges) > 10
    assert len(found) == len(set(found)) == 4_000
