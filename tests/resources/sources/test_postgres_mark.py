"""The high-water mark of the source: no late commit can fall behind it."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from pipelines.local.postgres_server import binary
from pipelines.local.privileges import opened, unprivileged
from resources.local_stack import EmbeddedStack
from resources.sources.postgres import PostgresResource
from resources.sources.postgres_errors import PreparedTransactionError, SourcePermissionError, UnknownMarkError
from resources.sources.postgres_mark import read_mark
from tests.worlds.postgres_source import Source, server_now, window


def test_without_open_transactions_the_mark_is_the_present(source: Source, postgres: PostgresResource) -> None:
    before = server_now(source)
    mark = postgres.safe_high_water_mark()
    assert before < mark < server_now(source)


def test_the_mark_is_the_start_of_the_oldest_open_transaction(
    stack: EmbeddedStack, source: Source, postgres: PostgresResource
) -> None:
    with psycopg.connect(stack.postgres_dsn) as oldest, psycopg.connect(stack.postgres_dsn) as younger:
        started = oldest.execute("SELECT now()").fetchone()
        younger.execute("SELECT now()")
        assert started is not None
        assert postgres.safe_high_water_mark() == started[0]
        oldest.commit()
        assert postgres.safe_high_water_mark() > started[0]
    assert postgres.safe_high_water_mark() > started[0]


STARTED = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("backend_type", "state", "begun", "holds"),
    [
        ("client backend", "active", None, True),
        ("client backend", "fastpath function call", None, True),
        ("client backend", "idle in transaction", STARTED, True),
        ("client backend", "idle", None, False),
        ("background worker", "active", None, False),
        ("background worker", "active", STARTED, True),
        ("autovacuum worker", "active", STARTED, False),
    ],
)
def test_a_statement_that_has_just_arrived_holds_the_mark_back_before_its_transaction_is_shown(
    stack: EmbeddedStack, backend_type: str, state: str, begun: datetime | None, holds: bool
) -> None:
    with psycopg.connect(stack.postgres_dsn) as connection:  # the moment is too short to meet it with a real session
        connection.execute("CREATE TEMP TABLE pg_stat_activity AS TABLE pg_stat_activity WITH NO DATA")
        connection.execute(
            "INSERT INTO pg_stat_activity (pid, datname, backend_type, state, query_start, xact_start) "
            "VALUES (0, current_database(), %s, %s, %s, %s)",
            (backend_type, state, STARTED, begun),
        )
        assert (read_mark(connection, 0, 0) == STARTED) is holds
        connection.rollback()


@pytest.mark.parametrize("statement", ["SELECT now()", "COMMIT"])
def test_a_session_that_hides_its_transactions_leaves_the_mark_unknown(
    stack: EmbeddedStack, postgres: PostgresResource, statement: str
) -> None:
    with psycopg.connect(stack.postgres_dsn) as hidden:
        hidden.execute("SET track_activities = off")
        hidden.commit()
        hidden.execute(statement.encode())
        with pytest.raises(UnknownMarkError, match="track_activities = off"):
            postgres.safe_high_water_mark()


def test_transactions_of_other_databases_do_not_hold_the_mark_back(
    stack: EmbeddedStack, source: Source, postgres: PostgresResource
) -> None:
    with psycopg.connect(stack.postgres_dsn.removesuffix("/creators") + "/postgres") as elsewhere:
        elsewhere.execute("SELECT now()")
        before = server_now(source)
        assert postgres.safe_high_water_mark() > before


def test_a_role_that_cannot_see_other_sessions_is_refused_with_the_grant_it_needs(
    source: Source, reader: PostgresResource
) -> None:
    with pytest.raises(SourcePermissionError, match="GRANT pg_read_all_stats"):
        reader.safe_high_water_mark()
    role = reader.dsn.split("//")[1].split(":")[0]
    source.execute(f"GRANT pg_read_all_stats TO {role}".encode())
    assert reader.safe_high_water_mark() <= server_now(source)


def test_a_prepared_transaction_is_not_overlooked(
    stack: EmbeddedStack, source: Source, postgres: PostgresResource
) -> None:
    with psycopg.connect(stack.postgres_dsn) as late:
        late.execute("INSERT INTO posts (post_id, updated_at) VALUES ('late', now())")
        late.execute("PREPARE TRANSACTION 'late'")
    try:
        with pytest.raises(PreparedTransactionError, match="pg_prepared_xacts"):
            postgres.safe_high_water_mark()
    finally:
        source.execute("ROLLBACK PREPARED 'late'")


def test_an_allowance_puts_the_mark_below_prepared_transactions(stack: EmbeddedStack, source: Source) -> None:
    allowing = PostgresResource(dsn=stack.postgres_dsn, prepared_seconds=60)
    with psycopg.connect(stack.postgres_dsn) as late:
        started = late.execute("SELECT now()").fetchone()
        late.execute("INSERT INTO posts (post_id, updated_at) VALUES ('late', now())")
        late.execute("PREPARE TRANSACTION 'late'")
    try:
        row = source.execute("SELECT prepared FROM pg_prepared_xacts").fetchone()
        assert row is not None
        assert started is not None
        assert allowing.safe_high_water_mark() == row[0] - timedelta(seconds=60) < started[0]
    finally:
        source.execute("ROLLBACK PREPARED 'late'")
    assert allowing.safe_high_water_mark() > started[0]


@pytest.fixture
def replica(stack: EmbeddedStack, source: Source, tmp_path: Path) -> Iterator[str]:
    """The address of a read replica that follows the stack's server."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "replica"
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(folder, *unprivileged())
    address = urlsplit(stack.postgres_dsn)
    writer = urlunsplit(address._replace(path=""))
    with opened(folder) as data:
        copying = [str(binary("pg_basebackup")), "-D", data.path, "-R", "-X", "stream", "-c", "fast", "-d", writer]
        subprocess.run(copying, **data.options, check=True, cwd="/", capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [f"--port={port}", "--listen_addresses=127.0.0.1", "--unix_socket_directories="]
    # What a replica is not allowed to have less of than its writer.
    arguments += ["--max_prepared_transactions=2"]
    with opened(folder) as data:
        server = subprocess.Popen(
            [str(binary("postgres")), "-D", data.path, *arguments],
            **data.options,
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        assert server.stderr is not None
        assert any("ready to accept read-only connections" in line for line in server.stderr)
        yield urlunsplit(address._replace(netloc=f"{address.username}:{address.password}@127.0.0.1:{port}"))
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate()


def test_a_replica_needs_a_lag_that_somebody_vouches_for(replica: str, source: Source) -> None:
    with pytest.raises(UnknownMarkError, match="use the writer, or set CIPPUS_REPLICA_LAG_SECONDS"):
        PostgresResource(dsn=replica).safe_high_water_mark()
    lagging = PostgresResource(dsn=replica, replica_lag_seconds=30)
    source.execute("INSERT INTO posts (post_id, updated_at) VALUES ('replicated', now())")
    row = source.execute("SELECT pg_current_wal_lsn()::text").fetchone()
    assert row is not None
    with psycopg.connect(replica, autocommit=True) as follower:
        for _ in range(10_000):
            reached = follower.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone()
            if reached == (True,):
                break
        replayed = follower.execute("SELECT pg_last_xact_replay_timestamp()").fetchone()
    assert replayed is not None
    assert lagging.safe_high_water_mark() == replayed[0] - timedelta(seconds=30)
    with lagging.read(window(None, server_now(source))) as batches:
        assert batches.read_all()["post_id"].to_pylist() == ["replicated"]
