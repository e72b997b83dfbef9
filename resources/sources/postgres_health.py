"""What a Postgres shows about itself, in a few cheap statements: old transactions, and rows that no window reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from resources.sources.protocol import OpenTransaction

_OLDEST: LiteralString = """
SELECT coalesce(pid, 0) AS pid, coalesce(usename, '') AS user, coalesce(application_name, '') AS application,
  coalesce(state, backend_type, 'hidden') AS state, xact_start AS since
FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND xact_start IS NOT NULL
  AND coalesce(backend_type, '') NOT IN (
    'autovacuum launcher', 'autovacuum worker', 'logical replication launcher', 'parallel worker', 'walsender'
  )
UNION ALL
SELECT 0, owner, gid, 'prepared', prepared FROM pg_prepared_xacts WHERE database = current_database()
ORDER BY since LIMIT 1
"""
"""The transaction that holds the high-water mark back; see postgres_mark."""


def oldest_transaction(connection: "psycopg.Connection[Any]") -> OpenTransaction | None:
    """Return the oldest open transaction of other sessions, or None."""
    with connection.cursor(row_factory=class_row(OpenTransaction)) as cursor:
        return cursor.execute(_OLDEST).fetchone()


def count_undated(connection: "psycopg.Connection[Any]", table: sql.Identifier, along: str, limit: int) -> int:
    """Return the number of rows whose ``along`` is null, up to ``limit``. An index on ``along`` has the nulls too."""
    query = sql.SQL("SELECT count(*) FROM (SELECT 1 FROM {} WHERE {} IS NULL LIMIT %s) AS found")
    row = connection.execute(query.format(table, sql.Identifier(along)), (limit,)).fetchone()
    return int(row[0]) if row else 0


def rows_by_day(
    connection: "psycopg.Connection[Any]", table: sql.Identifier, along: str, below: datetime
) -> Mapping[date, int]:
    """Return day (UTC) → rows whose ``along`` is in it and below a bound; one scan of the index on ``along``.

    Infinite times, and days that Python has no date for, are left out.
    """
    query = sql.SQL(
        "SELECT ({along} AT TIME ZONE 'UTC')::date AS day, count(*) FROM {table} "
        "WHERE {along} >= '0001-01-02' AND {along} < %s GROUP BY 1"
    )
    return dict(connection.execute(query.format(table=table, along=sql.Identifier(along)), (below,)).fetchall())


@dataclass(frozen=True)
class TableHealth:
    """What the role may do with one table. ``has_policies``: row-level security applies to the role."""

    name: str
    exists: bool
    is_readable: bool
    has_policies: bool
    is_indexed: bool


@dataclass(frozen=True)
class PostgresHealth:
    """Version number (such as 160004), clock, database, role, and the tables."""

    version: int
    now: datetime
    database: str
    user: str
    tables: tuple[TableHealth, ...]


_SERVER: LiteralString = """
SELECT current_setting('server_version_num')::int, clock_timestamp(), current_database()::text, current_user::text
"""
_TABLE: LiteralString = """
SELECT %(name)s::text AS name, found IS NOT NULL AS exists,
  found IS NOT NULL AND has_any_column_privilege(found, 'SELECT') AS is_readable,
  found IS NOT NULL AND row_security_active(found) AS has_policies,
  EXISTS (
    SELECT 1 FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
    WHERE indrelid = found AND indisvalid AND attname = %(along)s
  ) OR EXISTS (SELECT 1 FROM pg_class WHERE oid = found AND relkind <> 'r') AS is_indexed
FROM to_regclass(%(address)s) AS found
"""
"""Rights on columns are enough: `contract_holds` names the columns that the role may not read.

A view, a partitioned or a foreign table counts as indexed: its index is elsewhere."""


def read_health(
    connection: "psycopg.Connection[Any]", schema: str, tables: Sequence[str], along: str
) -> PostgresHealth:
    """Return what the server shows of itself and of some tables, from its catalogues alone."""
    [(version, now, database, user)] = connection.execute(_SERVER).fetchall()
    found = []
    with connection.cursor(row_factory=class_row(TableHealth)) as cursor:
        for name in tables:
            given = {"name": name, "along": along, "address": f'{schema}."{name}"'}
            found += cursor.execute(_TABLE, given).fetchall()
    return PostgresHealth(version, now, database, user, tuple(found))
