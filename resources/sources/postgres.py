"""Read the source database, a Postgres, as Arrow batches."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, LiteralString

import adbc_driver_manager
import psycopg
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from dagster import ConfigurableResource
from psycopg import sql
from pydantic import Field

from resources.local_stack import EmbeddedStack
from resources.sources import postgres_address, postgres_health, postgres_mark
from resources.sources.postgres_errors import SourceUnavailableError, refused, translated
from resources.sources.postgres_health import PostgresHealth
from resources.sources.protocol import KeyRange, OpenTransaction, ReadWindow

SOURCE = "postgres"
_SCHEMA = "public"
_IDLE_SECONDS = 600
"""Limit on an idle transaction of this process: an open one holds back the vacuum of the database."""
_LOCKED_SECONDS = 60
"""Limit on the wait for a table that another session has locked, such as for a migration: a later attempt may find it
free. Without a limit, a statement would wait as long as it may run."""
_SETTINGS = {
    "TimeZone": "UTC",  # of timestamps without a zone, in comparisons and casts
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "iso_8601",
    "bytea_output": "hex",
    "extra_float_digits": "1",  # the shortest text that gives the same number
    "search_path": "pg_catalog, public",  # decides how types are named, and which operators apply
    "quote_all_identifiers": "off",  # puts quotes around the names of types, such as text
    "row_security": "off",  # raises an error where a policy would hide rows
    "lock_timeout": f"{_LOCKED_SECONDS}s",
    "client_min_messages": "error",  # notices of views would be printed
}
_COLUMNS: LiteralString = """
WITH RECURSIVE found AS (
  SELECT attrelid AS relation, attnum AS place, attname AS name, atttypid AS type, atttypmod AS modifier
  FROM pg_attribute WHERE attrelid = to_regclass(%(address)s) AND attnum > 0 AND NOT attisdropped
  UNION ALL
  SELECT relation, place, name, typbasetype, typtypmod FROM found JOIN pg_type ON oid = type WHERE typtype = 'd'
)
SELECT name, CASE typtype WHEN 'e' THEN 'enum' ELSE format_type(type, modifier) END || CASE
  WHEN has_any_column_privilege(relation, 'SELECT') AND NOT has_column_privilege(relation, place, 'SELECT')
  THEN %(closed)s ELSE '' END
FROM found JOIN pg_type ON oid = type WHERE typtype <> 'd' ORDER BY place
"""
"""A domain has the type that it is over. A type that the role may not read is not known under that name, so an added
column with it is left out, and a declared one is reported."""
_CLOSED = " without the SELECT right"
_AS_STORED: LiteralString = (
    "SELECT set_config('client_encoding', 'SQL_ASCII', true) WHERE current_setting('server_encoding') = 'SQL_ASCII'"
)
"""A database without an encoding may have texts that are not UTF-8. Read as UTF-8, one would end the whole read."""
_UNLIMITED: LiteralString = (
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name = 'transaction_timeout' AND setting <> '0'"
)
"""A first load may take hours. Older servers have no such setting."""
_RANGES: LiteralString = """
WITH sample AS (SELECT {key} AS bound FROM {table} TABLESAMPLE SYSTEM (%(percent)s)),
tiled AS (SELECT bound, ntile(%(parts)s) OVER (ORDER BY bound) AS tile FROM sample WHERE bound IS NOT NULL),
firsts AS (SELECT DISTINCT ON (tile) bound FROM tiled WHERE tile > 1 ORDER BY tile, bound)
SELECT DISTINCT bound FROM firsts ORDER BY bound
"""
"""First keys of all parts but the first, in the order of the key's own collation."""
_SAMPLED_ROWS = 10_000


class PostgresResource(ConfigurableResource):  # type: ignore[type-arg]
    """The Postgres database (RDS in production) at the start of the lineage.

    The address comes from the first that is set: ``dsn``; the secret ``secret_id`` in Secrets Manager, which holds a
    DSN or the JSON of RDS; the embedded stack's ``stack_file``, read on first use. ``replica_lag_seconds`` is more than
    the writer's longest transaction takes; 0 refuses a read replica. ``prepared_seconds`` is more than a transaction is
    open before PREPARE TRANSACTION; 0 refuses prepared transactions.
    """

    dsn: str = Field(default="", repr=False)
    secret_id: str = ""
    stack_file: str = ""
    statement_timeout_seconds: int = 3600
    replica_lag_seconds: float = 0.0
    prepared_seconds: float = 0.0
    batch_bytes: int = 2 << 20

    @property
    def name(self) -> str:
        """Return the name in keys of windows."""
        return SOURCE

    @cached_property
    def _address(self) -> str:
        if self.dsn:
            return postgres_address.of_setting(self.dsn, "CIPPUS_POSTGRES_DSN")
        if self.secret_id:
            # Import here: it takes 1.5 s, and only production needs it.
            from dagster_aws.secretsmanager import SecretsManagerResource

            with SecretsManagerResource().get_client() as secrets:
                found = str(secrets.get_secret_value(SecretId=self.secret_id)["SecretString"])
            return postgres_address.of_secret(found, f"The secret {self.secret_id}")
        if self.stack_file:
            return postgres_address.of_setting(EmbeddedStack.read(Path(self.stack_file)).postgres_dsn, self.stack_file)
        raise SourceUnavailableError(
            "No source database is configured; set CIPPUS_POSTGRES_DSN or CIPPUS_POSTGRES_SECRET_ID."
        )

    @cached_property
    def _stream_address(self) -> str:
        """Return the address for ADBC, which reads the names of types before any SET, and knows none with quotes."""
        with self._session() as connection:
            row = connection.execute(
                "SELECT reset_val FROM pg_settings WHERE name = 'quote_all_identifiers'"
            ).fetchone()
        is_quoting = row is not None and row[0] == "on"
        return (
            postgres_address.with_option(self._address, "-c quote_all_identifiers=off") if is_quoting else self._address
        )

    def _settings(self) -> Iterator[str]:
        """Yield the statements that make a transaction independent of settings of the role and the database."""
        yield "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY"
        timeouts = {
            "statement_timeout": f"{self.statement_timeout_seconds}s",
            "idle_in_transaction_session_timeout": f"{_IDLE_SECONDS}s",
        }
        for name, value in {**_SETTINGS, **timeouts}.items():
            yield f"SET LOCAL {name} = {value if name == 'search_path' else repr(value)}"
        yield _UNLIMITED

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """Open a read-only session for small queries. Raise errors of the server as ``refused`` sorts them."""
        try:
            with psycopg.connect(self._address) as connection:
                for statement in self._settings():
                    connection.execute(statement.encode())
                yield connection
        except psycopg.Error as error:
            raise refused(error) from None

    def safe_high_water_mark(self) -> datetime:
        """Return the time before which no open transaction can still commit a row stamped with its own ``now()``.

        Raise SourcePermissionError, UnknownMarkError, PreparedTransactionError or SourceUnavailableError if the time is
        unknown.
        """
        with self._session() as connection:
            return postgres_mark.read_mark(connection, self.replica_lag_seconds, self.prepared_seconds)

    def columns(self, table: str) -> Mapping[str, str]:
        """Return column → type, as Postgres prints it, of a table or view; empty if the role sees no such table.

        A domain counts as the type that it is over, and an enumeration as ``enum``.
        """
        with self._session() as connection:
            given = {"address": f'{_SCHEMA}."{table}"', "closed": _CLOSED}
            rows = connection.execute(_COLUMNS, given).fetchall()
        return {str(name): str(found) for name, found in rows}

    @contextmanager
    def read(self, window: ReadWindow) -> Iterator[pa.RecordBatchReader]:
        """Stream the rows of a window as Arrow batches, in one read-only transaction. Memory: one batch."""
        with self._stream(_select(window, _bounds_of(window))) as batches:
            yield batches

    @contextmanager
    def scan_keys(self, table: str, key: str, along: str) -> Iterator[pa.RecordBatchReader]:
        """Stream (key, along) of every row, in any order. Memory: one batch."""
        # A key of any type is read as text, like in windows.
        columns = sql.SQL(", ").join([_as_text(key), sql.Identifier(along)])
        with self._stream(sql.SQL("SELECT {} FROM {}").format(columns, _table(table))) as batches:
            yield batches

    @contextmanager
    def rows_of(self, window: ReadWindow, keys: Sequence[str]) -> Iterator[pa.RecordBatchReader]:
        """Stream the current rows of some keys. The statement lists the keys, so pass some thousands at a time."""
        listed = sql.SQL(", ").join(map(sql.Literal, keys))
        with self._stream(
            _select(window, [sql.SQL("{} IN ({})").format(sql.Identifier(window.key), listed)])
        ) as batches:
            yield batches

    @contextmanager
    def _stream(self, query: sql.Composed) -> Iterator[pa.RecordBatchReader]:
        text, address = query.as_string(None), self._stream_address
        try:
            with dbapi.connect(address) as connection, connection.cursor() as cursor:
                cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(self.batch_bytes)})
                for statement in [*self._settings(), _AS_STORED]:
                    cursor.execute(statement)
                cursor.execute(text)
                # Errors of fetch_record_batch's reader have lost their SQLSTATE; those of the reader inside have it.
                found = cursor._results.reader
                yield pa.RecordBatchReader.from_batches(found.schema, translated(found))
        except adbc_driver_manager.Error as error:
            raise refused(error) from None

    def count_ahead(self, table: str, along: str, mark: datetime) -> int:
        """Return the number of rows whose ``along`` is at or after the mark; one index scan."""
        with self._session() as connection:
            query = sql.SQL("SELECT count(*) FROM {} WHERE {} >= %s").format(_table(table), sql.Identifier(along))
            row = connection.execute(query, (mark,)).fetchone()
        return int(row[0]) if row else 0

    def health(self, tables: Sequence[str], along: str) -> PostgresHealth:
        """Return version, clock and role, and what the role may do with some tables; from the catalogues alone."""
        with self._session() as connection:
            return postgres_health.read_health(connection, _SCHEMA, tables, along)

    def oldest_transaction(self) -> OpenTransaction | None:
        """Return the open transaction that holds the high-water mark back, or None."""
        with self._session() as connection:
            return postgres_health.oldest_transaction(connection)

    def count_undated(self, table: str, along: str, limit: int) -> int:
        """Return the number of rows whose ``along`` is null, up to ``limit``."""
        with self._session() as connection:
            return postgres_health.count_undated(connection, _table(table), along, limit)

    def rows_by_day(self, table: str, along: str, below: datetime) -> Mapping[date, int]:
        """Return day (UTC) → rows whose ``along`` is in it and below a bound; one scan of the index on ``along``."""
        with self._session() as connection:
            return postgres_health.rows_by_day(connection, _table(table), along, below)

    def key_ranges(self, table: str, key: str, rows: int) -> Sequence[KeyRange]:
        """Return ranges of about ``rows`` rows each, from a sample. Together they cover every key once.

        Consecutive ranges leave nothing out, whatever their bounds: a poor sample costs balance, not rows. A view
        cannot be sampled, so it is one range.
        """
        with self._session() as connection:
            estimate = _estimate(connection, table)
            parts = round(estimate / rows)
            if parts < 2:
                return [KeyRange()]
            query = sql.SQL(_RANGES).format(key=sql.Identifier(key), table=_table(table))
            percent = min(100.0, max(100.0 * _SAMPLED_ROWS / estimate, 0.001))
            try:
                rows_found = connection.execute(query, {"parts": parts, "percent": percent}).fetchall()
            except psycopg.errors.WrongObjectType:
                return [KeyRange()]
        bounds = [str(bound) for (bound,) in rows_found]
        return [KeyRange(lower, upper) for lower, upper in zip([None, *bounds], [*bounds, None], strict=True)]


def _table(table: str) -> sql.Identifier:
    return sql.Identifier(_SCHEMA, table)


def _as_text(name: str) -> sql.Composed:
    return sql.SQL("{}::text AS {}").format(*[sql.Identifier(name)] * 2)


def _selected(name: str, window: ReadWindow) -> sql.Composed | sql.Identifier:
    if name in window.texts:
        return _as_text(name)
    if name in window.lists:  # a slice begins at 1, and ADBC refuses arrays that begin elsewhere
        return sql.SQL("({})[:] AS {}").format(*[sql.Identifier(name)] * 2)
    return sql.Identifier(name)


def _bounds_of(window: ReadWindow) -> list[sql.Composed]:
    bounds: list[tuple[str, LiteralString, object]] = [
        (window.along, "<", window.upper),
        (window.along, ">=", window.lower),
        (window.key, ">=", window.keys.lower),
        (window.key, "<", window.keys.upper),
    ]
    return [
        sql.SQL("{} " + sign + " {}").format(sql.Identifier(name), sql.Literal(value))
        for name, sign, value in bounds
        if value is not None
    ]


def _select(window: ReadWindow, wanted: Sequence[sql.Composed]) -> sql.Composed:
    columns = sql.SQL(", ").join(_selected(name, window) for name in window.columns)
    return sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, _table(window.table), sql.SQL(" AND ").join(wanted))


def _estimate(connection: psycopg.Connection[Any], table: str) -> int:
    """Return the planner's estimate of a table's rows. It follows from the present size, even without ANALYZE."""
    row = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) SELECT 1 FROM {}").format(_table(table))).fetchone()
    return int(row[0][0]["Plan"]["Plan Rows"]) if row else 0
