"""The source database: a mark that no late commit can fall behind, streamed reads, errors that say what to do."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from lineage_world import world_name

from assets.transforms.source_schema import POSTS
from resources.embedded import EmbeddedStack
from resources.postgres_errors import PreparedTransactionError, SourcePermissionError, SourceUnavailableError
from resources.rds import PostgresResource
from resources.source import ReadWindow

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


def test_a_wrong_password_is_not_shown(stack: EmbeddedStack) -> None:
    at = stack.postgres_dsn.rsplit("@", 1)[1]
    with pytest.raises(SourceUnavailableError) as caught:
        PostgresResource(dsn=f"postgresql://cippus:not-to-be-seen@{at}").safe_high_water_mark()
    assert "not-to-be-seen" not in str(caught.value)


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
