"""The source database: a mark that no late commit can fall behind, streamed reads, errors that say what to do."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pyarrow as pa
import pytest

from assets.transforms.source.contract import compare
from assets.transforms.source.schema import POSTS
from pipelines.local.postgres_server import binary
from pipelines.local.privileges import opened, unprivileged
from resources.local_stack import EmbeddedStack
from resources.sources import postgres as postgres_module
from resources.sources.postgres import PostgresResource
from resources.sources.postgres_errors import (
    PreparedTransactionError,
    SourcePermissionError,
    SourceQueryError,
    SourceTimeoutError,
    SourceUnavailableError,
    UnknownMarkError,
)
from resources.sources.postgres_mark import read_mark
from resources.sources.protocol import KeyRange, ReadWindow
from tests.worlds.lineage import world_name

Source = psycopg.Connection[Any]


@pytest.fixture
def postgres(stack: EmbeddedStack) -> PostgresResource:
    return PostgresResource(dsn=stack.postgres_dsn)


@pytest.fixture
def reader(stack: EmbeddedStack, source: Source, request: pytest.FixtureRequest) -> Iterator[PostgresResource]:
    """A role that may read the tables and nothing else."""
    role = world_name(request.node.nodeid)
    source.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'reads'".encode())
    source.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}".encode())
    at = stack.postgres_dsn.rsplit("@", 1)[1]
    yield PostgresResource(dsn=f"postgresql://{role}:reads@{at}")
    source.execute(f"DROP OWNED BY {role}".encode())
    source.execute(f"DROP ROLE {role}".encode())


def server_now(source: Source) -> datetime:
    row = source.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment


def window(lower: datetime | None, upper: datetime) -> ReadWindow:
    return ReadWindow("posts", "post_id", tuple(POSTS.schema.names), "updated_at", lower, upper)


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


def test_an_unreachable_server_is_named_without_its_password() -> None:
    unreachable = PostgresResource(dsn="postgresql://cippus:not-to-be-seen@127.0.0.1:1/creators")
    with pytest.raises(SourceUnavailableError) as caught:
        unreachable.safe_high_water_mark()
    assert "127.0.0.1" in str(caught.value)
    assert "not-to-be-seen" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "not-to-be-seen" not in repr(unreachable)


@pytest.fixture
def barred(source: Source) -> Iterator[None]:
    """A role that may not log in, one that may not connect anywhere it matters, and a database that lets nobody in."""
    source.execute("CREATE ROLE no_login PASSWORD 'of-the-test'")
    source.execute("CREATE ROLE no_connect LOGIN PASSWORD 'of-the-test'")
    source.execute("CREATE DATABASE private")
    source.execute("REVOKE CONNECT ON DATABASE private FROM PUBLIC")
    source.execute("CREATE DATABASE closed ALLOW_CONNECTIONS false")
    yield
    for made in ("DATABASE closed", "DATABASE private", "ROLE no_connect", "ROLE no_login"):
        source.execute(f"DROP {made}".encode())


@pytest.mark.usefixtures("barred")
@pytest.mark.parametrize(("login", "path", "said"), [
    ("cippus:not-to-be-seen", "creators", 'password authentication failed for user "cippus"'),
    ("cippus", "creators", "no password supplied"),
    ("nobody:not-to-be-seen", "creators", 'authentication failed for user "nobody"'),
    ("no_login:of-the-test", "creators", 'role "no_login" is not permitted to log in'),
    ("no_connect:of-the-test", "private", 'permission denied for database "private"'),
    ("", "nowhere", 'database "nowhere" does not exist'),
    ("", "closed", 'database "closed" is not currently accepting connections'),
    ("", "creators?sslmode=require", "server does not support SSL, but SSL was required"),
])  # fmt: skip
def test_a_refused_login_is_permanent_whichever_client_met_it_and_says_what_to_do(
    stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch, login: str, path: str, said: str
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    at = urlsplit(stack.postgres_dsn)
    refused = PostgresResource(
        dsn=f"postgresql://{login or f'{at.username}:{at.password}'}@{at.hostname}:{at.port}/{path}"
    )
    for ask in (refused.safe_high_water_mark, lambda: read_all(refused)):
        with pytest.raises(SourcePermissionError, match=f"{said}; correct role, password, database and ssl") as caught:
            ask()
        assert "not-to-be-seen" not in str(caught.value)
        assert str(at.password) not in str(caught.value)


def test_a_refused_login_is_seen_among_hosts_that_are_down(stack: EmbeddedStack) -> None:
    at = urlsplit(stack.postgres_dsn)
    wrong = PostgresResource(dsn=f"postgresql://cippus:not-to-be-seen@127.0.0.1:1,127.0.0.1:{at.port}/creators")
    for ask in (wrong.safe_high_water_mark, lambda: read_all(wrong)):
        with pytest.raises(SourcePermissionError, match="password authentication failed"):
            ask()


def test_a_role_with_too_many_connections_is_transient(stack: EmbeddedStack, source: Source) -> None:
    at = urlsplit(stack.postgres_dsn)
    source.execute("CREATE ROLE crowded LOGIN PASSWORD 'of-the-test' CONNECTION LIMIT 0")
    try:
        crowded = PostgresResource(dsn=f"postgresql://crowded:of-the-test@{at.hostname}:{at.port}/creators")
        for ask in (crowded.safe_high_water_mark, lambda: read_all(crowded)):
            with pytest.raises(SourceUnavailableError, match="too many connections for role"):
                ask()
    finally:
        source.execute("DROP ROLE crowded")


def test_arrays_timestamps_and_nulls_keep_their_types(source: Source, postgres: PostgresResource) -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    source.execute(
        "INSERT INTO posts (post_id, text, hashtags, likes, posted_at, updated_at) VALUES "
        "('a', 'naïve 🙂', ARRAY['x', NULL, 'it''s'], 9007199254740993, %s, %s), ('b', NULL, '{}', NULL, NULL, %s)",
        (moment, moment, moment),
    )
    with postgres.read(window(None, moment + timedelta(seconds=1))) as batches:
        rows = pa.Table.from_batches(list(batches), batches.schema).cast(POSTS.schema).sort_by("post_id").to_pylist()
    first, second = rows
    assert first["hashtags"] == ["x", None, "it's"]
    assert (first["text"], first["likes"]) == ("naïve 🙂", 9007199254740993)
    assert first["posted_at"] == first["updated_at"] == moment
    assert (second["text"], second["hashtags"], second["likes"], second["posted_at"]) == (None, [], None, None)


def test_a_window_has_its_lower_bound_and_not_its_upper(source: Source, postgres: PostgresResource) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    for number in range(4):
        source.execute(
            "INSERT INTO posts (post_id, updated_at) VALUES (%s, %s)", (str(number), start + timedelta(days=number))
        )

    def ids(lower: datetime | None, upper: datetime) -> list[str]:
        with postgres.read(window(lower, upper)) as batches:
            return sorted(batches.read_all()["post_id"].to_pylist())

    assert ids(None, start + timedelta(days=2)) == ["0", "1"]
    assert ids(start + timedelta(days=1), start + timedelta(days=3)) == ["1", "2"]
    assert ids(start, start) == []
    assert postgres.count_ahead("posts", "updated_at", start + timedelta(days=1)) == 3


def test_rows_are_streamed_in_batches_of_bounded_size(stack: EmbeddedStack, source: Source) -> None:
    source.execute(
        "INSERT INTO posts (post_id, text, updated_at) "
        "SELECT n::text, repeat('x', 1000), '2024-01-01' FROM generate_series(1, 2000) n"
    )
    small = PostgresResource(dsn=stack.postgres_dsn, batch_bytes=100_000)
    with small.read(window(None, datetime(2024, 2, 1, tzinfo=UTC))) as batches:
        sizes = [(batch.num_rows, batch.nbytes) for batch in batches]
    assert sum(rows for rows, _ in sizes) == 2_000
    assert len(sizes) > 10
    assert max(size for _, size in sizes) < 400_000


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


@pytest.mark.parametrize("ask", [
    lambda hasty: read_all(hasty),
    lambda hasty: hasty.count_ahead("posts", "updated_at", datetime(2024, 1, 1, tzinfo=UTC)),
    lambda hasty: hasty.key_ranges("posts", "post_id", 500),
], ids=["read", "count_ahead", "key_ranges"])  # fmt: skip
def test_a_statement_that_takes_too_long_is_permanent_and_says_what_to_do(
    stack: EmbeddedStack, source: Source, ask: Callable[[PostgresResource], object]
) -> None:
    hasty = PostgresResource(dsn=stack.postgres_dsn, statement_timeout_seconds=1)
    with psycopg.connect(stack.postgres_dsn) as blocking:
        blocking.execute("LOCK TABLE posts IN ACCESS EXCLUSIVE MODE")
        # A question without a time-out gets its answer once the table is free: a failure of this test, not a hang.
        freed = threading.Timer(10, blocking.rollback)
        freed.start()
        try:
            with pytest.raises(SourceTimeoutError, match="raise CIPPUS_STATEMENT_TIMEOUT_SECONDS"):
                ask(hasty)
        finally:
            freed.cancel()
            freed.join()


@pytest.mark.parametrize(("at_the_end", "kind", "said"), [
    ("pg_sleep(.1) IS NOT NULL", SourceTimeoutError, "statement timeout.*; raise CIPPUS_STATEMENT_TIMEOUT_SECONDS"),
    ("1 / (n - 5000) > 0", SourceQueryError, r"refuses a statement \(22012\): division by zero"),
    ("pg_cancel_backend(pg_backend_pid()) IS NULL", SourceUnavailableError, "Somebody ended a statement"),
    ("pg_terminate_backend(pg_backend_pid())", SourceUnavailableError, "terminating connection"),
])  # fmt: skip
def test_a_failure_in_the_middle_of_a_stream_is_of_its_kind(
    stack: EmbeddedStack, source: Source, at_the_end: str, kind: type[Exception], said: str
) -> None:
    source.execute(
        "CREATE VIEW long AS SELECT n::text AS post_id, '2024-01-01'::timestamptz AS updated_at "
        f"FROM generate_series(1, 5000) n WHERE n < 4900 OR {at_the_end}".encode()
    )
    hasty = PostgresResource(dsn=stack.postgres_dsn, statement_timeout_seconds=1, batch_bytes=10_000)
    whole = ReadWindow("long", "post_id", ("post_id",), "updated_at", None, datetime(2030, 1, 1, tzinfo=UTC))
    read: list[int] = []
    try:
        with hasty.read(whole) as batches, pytest.raises(kind, match=said):
            read.extend(batch.num_rows for batch in batches)
    finally:
        source.execute("DROP VIEW long")
    assert 0 < sum(read) < 5_000


def test_a_locked_table_is_waited_for_a_while_only(
    stack: EmbeddedStack, postgres: PostgresResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_module, "_SETTINGS", {**postgres_module._SETTINGS, "lock_timeout": "50ms"})
    with psycopg.connect(stack.postgres_dsn) as blocking:
        blocking.execute("LOCK TABLE posts IN ACCESS EXCLUSIVE MODE")
        for ask in (read_all, lambda asked: asked.count_undated("posts", "updated_at", 1)):
            with pytest.raises(SourceUnavailableError, match="has locked the table"):
                ask(postgres)


def test_domains_and_enumerations_are_the_types_that_they_hold(source: Source, postgres: PostgresResource) -> None:
    source.execute(
        "CREATE DOMAIN moment AS timestamptz; CREATE DOMAIN word AS varchar(9); CREATE DOMAIN words AS word[]; "
        "CREATE TYPE kind AS ENUM ('a', 'b'); CREATE DOMAIN kinds AS kind; "
        "CREATE TABLE odd (post_id kinds, updated_at moment, tags words)"
    )
    try:
        assert postgres.columns("odd") == {
            "post_id": "enum",
            "updated_at": "timestamp with time zone",
            "tags": "word[]",
        }
    finally:
        source.execute("DROP TABLE odd; DROP DOMAIN kinds, words, word, moment; DROP TYPE kind")


def test_a_column_that_the_role_may_not_read_is_named_and_keeps_nobody_from_the_others(
    source: Source, reader: PostgresResource, request: pytest.FixtureRequest
) -> None:
    role = world_name(request.node.nodeid)
    source.execute("CREATE TABLE odd (post_id text, updated_at timestamptz, secret text)")
    try:
        source.execute(f"GRANT SELECT (post_id, updated_at) ON odd TO {role}".encode())
        found = reader.columns("odd")
        assert found["secret"] == "text without the SELECT right"
        assert compare(POSTS, found).carried() == {}
        assert read_all(reader, "odd").num_rows == 0
        source.execute(f"REVOKE SELECT (post_id) ON odd FROM {role}".encode())
        with pytest.raises(SourcePermissionError, match="or on every declared column"):
            read_all(reader, "odd")
    finally:
        source.execute("DROP TABLE odd")


def test_a_table_that_is_not_there_is_a_refused_statement(stack: EmbeddedStack, source: Source) -> None:
    postgres = PostgresResource(dsn=stack.postgres_dsn)
    assert postgres.columns("nowhere") == {}
    with pytest.raises(SourceQueryError, match=r"refuses a statement \(42P01\)"):
        read_all(postgres, "nowhere")


def read_all(postgres: PostgresResource, table: str = "posts") -> pa.Table:
    whole = ReadWindow(table, "post_id", ("post_id",), "updated_at", None, datetime(2030, 1, 1, tzinfo=UTC))
    with postgres.read(whole) as batches:
        return batches.read_all()


@pytest.mark.parametrize("analyzed", [True, False])
def test_ranges_cover_every_key_once(source: Source, postgres: PostgresResource, analyzed: bool) -> None:
    source.execute(
        "INSERT INTO posts (post_id, updated_at) "
        "SELECT repeat(chr(32 + n % 900), 1 + n % 3) || md5(n::text), '2024-01-01' FROM generate_series(1, 5000) n"
    )
    source.execute("INSERT INTO posts (post_id, updated_at) VALUES ('it''s', '2024-01-01'), ('ünï', '2024-01-01')")
    if analyzed:
        source.execute("ANALYZE posts")
    ranges = postgres.key_ranges("posts", "post_id", 500)
    # Without statistics the planner guesses from the table's size, and wide columns make it guess low.
    assert (8 if analyzed else 2) <= len(ranges) <= 16
    upper = datetime(2030, 1, 1, tzinfo=UTC)
    sizes, found = [], []
    for keys in ranges:
        with postgres.read(ReadWindow("posts", "post_id", ("post_id",), "updated_at", None, upper, keys)) as batches:
            read = batches.read_all()["post_id"].to_pylist()
        sizes.append(len(read))
        found += read
    assert len(found) == len(set(found)) == 5_002
    assert max(sizes) < 3 * 5_002 / len(ranges)


def test_a_small_table_is_one_range(source: Source, postgres: PostgresResource) -> None:
    assert postgres.key_ranges("posts", "post_id", 1_000_000) == [KeyRange()]
