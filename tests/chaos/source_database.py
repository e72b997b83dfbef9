"""The database of a chaos run, with the empty tables of the source."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from assets.transforms.source.schema import SOURCE_TABLES, SourceTable
from pipelines.samples.source_tables import CREATE_TABLES


@contextmanager
def database(admin_dsn: str, name: str) -> Iterator[str]:
    """Create a database with the source's empty tables, yield its DSN, and drop it.

    Autovacuum is off, because its transactions hold back the safe high-water mark at random.
    """
    dsn, reader = f"{admin_dsn.rpartition('/')[0]}/{name}", reader_of(name)
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            with psycopg.connect(dsn) as connection:
                connection.execute(CREATE_TABLES)
                for table in ("accounts", "posts", "testimonials"):
                    at = sql.Identifier(table)
                    connection.execute(sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = false)").format(at))
                    connection.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(at))
                _create_reader(connection, reader)
            yield dsn
        finally:
            roll_back_prepared(dsn)
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(reader)))


def _create_reader(connection: "psycopg.Connection[Any]", reader: str) -> None:
    """Create the role of extraction. It passes the tables' row-level security, which has no policy."""
    for statement in (
        "DROP ROLE IF EXISTS {}",
        "CREATE ROLE {} BYPASSRLS",
        "GRANT pg_read_all_stats TO {}",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}",
    ):
        connection.execute(sql.SQL(statement).format(sql.Identifier(reader)))


def as_reader(dsn: str) -> str:
    """Return the DSN with which extraction reads a database of ``database``."""
    return f"{dsn}?options=-c%20role%3D{reader_of(dsn)}"


def reader_of(dsn: str) -> str:
    """Return the role of extraction in a database of ``database``."""
    return f"{dsn.rpartition('/')[2]}_reader"


def reset(dsn: str) -> None:
    """Delete rows and added columns, and let extraction read all rows again."""
    roll_back_prepared(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("TRUNCATE accounts, posts, testimonials")
        let_reader_see(connection, reader_of(dsn), all_rows=True)
        for table in SOURCE_TABLES.values():
            drop_added(connection, table)


def drop_added(connection: "psycopg.Connection[Any]", table: SourceTable) -> None:
    """Drop the columns that a run has added."""
    added = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped "
        "AND attname <> ALL(%s)",
        (table.name, table.schema.names),
    ).fetchall()
    for (column,) in added:
        drop = sql.SQL("ALTER TABLE {} DROP {}")
        connection.execute(drop.format(sql.Identifier(table.name), sql.Identifier(column)))


def let_reader_see(connection: "psycopg.Connection[Any]", reader: str, *, all_rows: bool) -> None:
    """Let row-level security hide all rows from extraction, or none."""
    statement = sql.SQL("ALTER ROLE {} BYPASSRLS" if all_rows else "ALTER ROLE {} NOBYPASSRLS")
    connection.execute(statement.format(sql.Identifier(reader)))


def roll_back_prepared(dsn: str) -> None:
    """Roll back prepared transactions of a failed run. They would block the next run's rows and high-water marks."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        left = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
        for (name,) in connection.execute(left).fetchall():
            connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(name))
