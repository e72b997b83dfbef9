"""Settings of the role or the database change nothing that is read, and hidden rows are an error."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from resources.local_stack import EmbeddedStack
from resources.sources.postgres import PostgresResource
from resources.sources.postgres_errors import SourcePermissionError
from resources.sources.protocol import ReadWindow
from tests.worlds.loaded import world_name

Source = psycopg.Connection[Any]
THEN = datetime(2024, 2, 1, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def role(source: Source, request: pytest.FixtureRequest) -> Iterator[str]:
    name = world_name(request.node.nodeid)
    source.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'reads'".encode())
    source.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}".encode())
    source.execute(f"GRANT pg_read_all_stats TO {name}".encode())
    yield name
    source.execute(f"DROP OWNED BY {name}".encode())
    source.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def reader(stack: EmbeddedStack, role: str) -> PostgresResource:
    return PostgresResource(dsn=f"postgresql://{role}:reads@{stack.postgres_dsn.rsplit('@', 1)[1]}")


@pytest.fixture
def odd(source: Source, role: str) -> Iterator[None]:
    """A table whose values print differently under other settings."""
    source.execute(
        "CREATE TABLE odd (k text, updated_at timestamp, a_date date, a_number float8, bytes bytea, span interval)"
    )
    source.execute(
        "INSERT INTO odd VALUES ('é', '2024-02-01 03:04:05', '2024-02-03', 0.1::float8 + 0.2, '\\xff00', "
        "'1 day 2 hours')"
    )
    source.execute(f"GRANT SELECT ON odd TO {role}".encode())
    yield
    source.execute("DROP TABLE odd")


def read(postgres: PostgresResource) -> tuple[Any, ...]:
    columns = ("k", "updated_at", "a_date", "a_number", "bytes", "span")
    window = ReadWindow("odd", "k", columns, "updated_at", THEN, THEN.replace(second=6), texts=frozenset(columns[2:]))
    with postgres.read(window) as batches:
        rows: pa.Table = batches.read_all()
    mark = postgres.safe_high_water_mark()
    assert abs((datetime.now(UTC) - mark).total_seconds()) < 60
    return rows.to_pylist(), postgres.columns("odd"), postgres.key_ranges("odd", "k", 100)


@pytest.mark.usefixtures("odd")
@pytest.mark.parametrize("setting", [
    "DateStyle = 'SQL, DMY'",
    "DateStyle = 'German'",
    "TimeZone = 'America/New_York'",
    "IntervalStyle = 'sql_standard'",
    "bytea_output = 'escape'",
    "extra_float_digits = -10",
    "search_path = 'nowhere'",
    "quote_all_identifiers = on",
    "client_encoding = 'LATIN1'",
    "client_encoding = 'SQL_ASCII'",
    "default_transaction_read_only = on",
    "default_transaction_isolation = 'serializable'",
])  # fmt: skip
def test_a_setting_of_the_role_changes_nothing_that_is_read(
    source: Source, role: str, reader: PostgresResource, setting: str
) -> None:
    before = read(reader)
    assert before[0][0]["k"] == "é"
    assert before[0][0]["a_date"] == "2024-02-03"
    assert before[0][0]["a_number"] == "0.30000000000000004"
    source.execute(f"ALTER ROLE {role} SET {setting}".encode())
    assert read(PostgresResource(dsn=reader.dsn)) == before


def test_timeouts_of_the_role_do_not_apply(source: Source, role: str, reader: PostgresResource) -> None:
    names = ("statement_timeout", "idle_in_transaction_session_timeout", "lock_timeout", "transaction_timeout")
    shown = ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    source.execute(f"CREATE VIEW limits AS SELECT 'a' AS k, timestamptz '2024-02-01' AS updated_at, {shown}".encode())
    try:
        source.execute(f"GRANT SELECT ON limits TO {role}".encode())
        for name in names:
            source.execute(f"ALTER ROLE {role} SET {name} = '2min'".encode())
        with reader.read(ReadWindow("limits", "k", names, "updated_at", None, THEN)) as batches:
            assert batches.read_all().to_pylist() == [dict(zip(names, ("1h", "10min", "1min", "0"), strict=True))]
    finally:
        source.execute("DROP VIEW limits")


@pytest.mark.parametrize("policy", ["", "USING (post_id = 'a')", "AS RESTRICTIVE USING (true)"])
def test_rows_hidden_by_row_level_security_are_an_error(
    source: Source, role: str, reader: PostgresResource, policy: str
) -> None:
    source.execute("INSERT INTO posts (post_id, updated_at) VALUES ('a', %s), ('b', %s)", (THEN, THEN))
    source.execute("ALTER TABLE posts ENABLE ROW LEVEL SECURITY")
    try:
        if policy:
            source.execute(f"CREATE POLICY partial ON posts {policy}".encode())
        window = ReadWindow("posts", "post_id", ("post_id",), "updated_at", None, THEN.replace(year=2030))
        for stream in (
            reader.read(window),
            reader.scan_keys("posts", "post_id", "updated_at"),
            reader.rows_of(window, ["a"]),
        ):
            with pytest.raises(SourcePermissionError, match=r"row-level security policy.*BYPASSRLS"), stream as batches:
                batches.read_all()
        with pytest.raises(SourcePermissionError, match=r"row-level security policy.*BYPASSRLS"):
            reader.count_ahead("posts", "updated_at", THEN)
        source.execute(f"ALTER ROLE {role} BYPASSRLS".encode())
        with reader.read(window) as batches:
            assert batches.read_all().num_rows == 2
    finally:
        source.execute("DROP POLICY IF EXISTS partial ON posts")
        source.execute("ALTER TABLE posts DISABLE ROW LEVEL SECURITY")
