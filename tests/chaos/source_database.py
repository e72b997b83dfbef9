"""The database of a chaos run, with the empty tables of the source."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from pipelines.samples.source_tables import CREATE_TABLES


@contextmanager
def database(admin_dsn: str, name: str) -> Iterator[str]:
    """Create a database with the source's empty tables, yield its DSN, and drop it.

    Autovacuum is off, because its transactions hold back the safe high-water mark at random.
    """
    dsn = f"{admin_dsn.rpartition('/')[0]}/{name}"
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        try:
            with psycopg.connect(dsn) as connection:
                connection.execute(CREATE_TABLES)
                for table in ("accounts", "posts", "testimonials"):
                    connection.execute(
                        sql.SQL("ALTER TABLE {} SET (autovacuum_enabled = false)").format(sql.Identifier(table))
                    )
            yield dsn
        finally:
            roll_back_prepared(dsn)
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def roll_back_prepared(dsn: str) -> None:
    """Roll back prepared transactions of a failed run. They would block the next run's rows and high-water marks."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        left = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
        for (name,) in connection.execute(left).fetchall():
            connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(name))
