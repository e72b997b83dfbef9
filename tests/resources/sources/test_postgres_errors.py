"""Errors of the source database: each says what to do, and whether a retry may help."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import psycopg
import pytest

from assets.transforms.source.contract import compare
from assets.transforms.source.schema import POSTS
from resources.local_stack import EmbeddedStack
from resources.sources import postgres as postgres_module
from resources.sources.postgres import PostgresResource
from resources.sources.postgres_errors import (
    SourcePermissionError,
    SourceQueryError,
    SourceTimeoutError,
    SourceUnavailableError,
)
from resources.sources.protocol import ReadWindow
from tests.worlds.loaded import world_name
from tests.worlds.postgres_source import Source, read_all


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
