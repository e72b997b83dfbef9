"""The source database: Postgres, read as Arrow batches."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
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
from resources.sources import postgres_address, postgres_mark
from resources.sources.postgres_errors import SourceUnavailableError, refused, translated
from resources.sources.protocol import KeyRange, ReadWindow

SOURCE = "postgres"
_SCHEMA = "public"
_IDLE_SECONDS = 600
"""How long a transaction may wait for this process, which meanwhile holds the database's clean-up back."""
_RANGES: LiteralString = """
SELECT DISTINCT bound FROM (
  SELECT bound, ntile(%(parts)s) OVER (ORDER BY bound) AS tile FROM ({found}) AS found
) AS tiled WHERE (tile, bound) IN (
  SELECT tile, min(bound) FROM (
    SELECT bound, ntile(%(parts)s) OVER (ORDER BY bound) AS tile FROM ({found}) AS found
  ) AS tiled WHERE tile > 1 GROUP BY tile
) ORDER BY bound
"""
_ORDER: LiteralString = """
SELECT format_type(atttypid, NULL), nspname, collname FROM pg_attribute
LEFT JOIN pg_collation ON pg_collation.oid = attcollation LEFT JOIN pg_namespace ON pg_namespace.oid = collnamespace
WHERE attrelid = to_regclass(%s) AND attname = %s
"""
_HISTOGRAM: LiteralString = """
SELECT unnest(histogram_bounds::text::{type}[]){collation} AS bound FROM pg_stats
WHERE schemaname = %(schema)s AND tablename = %(table)s AND attname = %(key)s
"""
_SAMPLE: LiteralString = "SELECT {key} AS bound FROM {table} TABLESAMPLE SYSTEM (%(percent)s)"
_SAMPLED_ROWS = 10_000


class PostgresResource(ConfigurableResource):  # type: ignore[type-arg]
    """The Postgres database (RDS in production) that the lineage starts from.

    The address is, in this order: ``dsn``; the secret ``secret_id`` in Secrets Manager, whose string is the DSN or
    RDS's JSON; the embedded stack's, looked up in ``stack_file`` when first used. ``replica_lag_seconds`` is how long
    the writer's longest transaction takes, and allows a read replica; ``prepared_seconds`` is how long a transaction
    may have been open before PREPARE TRANSACTION, and allows prepared transactions; 0 allows neither.
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
        """Names the source's windows."""
        return SOURCE

    @cached_property
    def _address(self) -> str:
        if self.dsn:
            return postgres_address.of_setting(self.dsn, "CIPPUS_POSTGRES_DSN")
        if self.secret_id:
            # Imported here: it takes 1.5 s, and only production needs it.
            from dagster_aws.secretsmanager import SecretsManagerResource

            with SecretsManagerResource().get_client() as secrets:
                found = str(secrets.get_secret_value(SecretId=self.secret_id)["SecretString"])
            return postgres_address.of_secret(found, f"The secret {self.secret_id}")
        if self.stack_file:
            return postgres_address.of_setting(EmbeddedStack.read(Path(self.stack_file)).postgres_dsn, self.stack_file)
        message = "There is no source database: set CIPPUS_POSTGRES_DSN or CIPPUS_POSTGRES_SECRET_ID."
        raise SourceUnavailableError(message)

    @property
    def _statement_timeout(self) -> str:
        return f"{self.statement_timeout_seconds}s"

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """A read-only session for small questions. Raises what ``refused`` makes of the server's errors."""
        try:
            with psycopg.connect(self._address) as connection:
                connection.read_only = True
                connection.execute("SET LOCAL TimeZone = 'UTC'")  # which times without a zone are compared in
                connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(self._statement_timeout))
                yield connection
        except psycopg.Error as error:
            raise refused(error) from None

    def safe_high_water_mark(self) -> datetime:
        """The moment before which no open transaction can still commit a row stamped with its own ``now()``.

        See postgres_mark.py. Raises where it would be a guess: SourcePermissionError, UnknownMarkError,
        PreparedTransactionError, SourceUnavailableError.
        """
        with self._session() as connection:
            return postgres_mark.read_mark(connection, self.replica_lag_seconds, self.prepared_seconds)

    def columns(self, table: str) -> Mapping[str, str]:
        """Column → type, as Postgres prints it, of a table or view; empty where there is none or the role sees none."""
        with self._session() as connection:
            rows = connection.execute(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                "WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                (f'{_SCHEMA}."{table}"',),
            ).fetchall()
        return {str(name): str(found) for name, found in rows}

    @contextmanager
    def read(self, window: ReadWindow) -> Iterator[pa.RecordBatchReader]:
        """The rows of a window as a stream of Arrow batches, in one read-only transaction. Memory: one batch."""
        with self._stream(_select(window, _bounds_of(window))) as batches:
            yield batches

    @contextmanager
    def scan_keys(self, table: str, key: str, along: str) -> Iterator[pa.RecordBatchReader]:
        """(key, along) of every row, in no order. Memory: one batch."""
        # As text, as windows read a key of any type.
        columns = sql.SQL(", ").join([_column(key, as_text=True), sql.Identifier(along)])
        with self._stream(sql.SQL("SELECT {} FROM {}").format(columns, _table(table))) as batches:
            yield batches

    @contextmanager
    def rows_of(self, window: ReadWindow, keys: Sequence[str]) -> Iterator[pa.RecordBatchReader]:
        """The rows of some keys as they are now. The keys are part of the statement: some thousands at a time."""
        listed = sql.SQL(", ").join(map(sql.Literal, keys))
        with self._stream(
            _select(window, [sql.SQL("{} IN ({})").format(sql.Identifier(window.key), listed)])
        ) as batches:
            yield batches

    @contextmanager
    def _stream(self, query: sql.Composed) -> Iterator[pa.RecordBatchReader]:
        text = query.as_string(None)
        try:
            with dbapi.connect(self._address) as connection, connection.cursor() as cursor:
                cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(self.batch_bytes)})
                cursor.execute("SET TRANSACTION READ ONLY")
                cursor.execute("SET LOCAL TimeZone = 'UTC'")  # which times without a zone are compared in
                cursor.execute(f"SET LOCAL statement_timeout = '{self._statement_timeout}'")
                cursor.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s'")
                cursor.execute(text)
                # fetch_record_batch gives out what this wraps: a reader whose errors have lost their SQLSTATE.
                found = cursor._results.reader
                yield pa.RecordBatchReader.from_batches(found.schema, translated(found))
        except adbc_driver_manager.Error as error:
            raise refused(error) from None

    def count_ahead(self, table: str, along: str, mark: datetime) -> int:
        """How many rows of a table carry a moment at or after the mark; one index scan."""
        with self._session() as connection:
            query = sql.SQL("SELECT count(*) FROM {} WHERE {} >= %s").format(_table(table), sql.Identifier(along))
            row = connection.execute(query, (mark,)).fetchone()
        return int(row[0]) if row else 0

    def key_ranges(self, table: str, key: str, rows: int) -> Sequence[KeyRange]:
        """Ranges that cover every key once, of about so many rows each, from the planner's statistics or a sample.

        Whatever the bounds are, consecutive ranges leave nothing out: stale statistics cost balance, not rows.
        """
        with self._session() as connection:
            estimate = _estimate(connection, table)
            parts = round(estimate / rows)
            if parts < 2:
                return [KeyRange()]
            bounds = _bounds(connection, table, key, parts, estimate)
        return [KeyRange(lower, upper) for lower, upper in zip([None, *bounds], [*bounds, None], strict=True)]


def _table(table: str) -> sql.Identifier:
    return sql.Identifier(_SCHEMA, table)


def _column(name: str, *, as_text: bool) -> sql.Composable:
    column = sql.Identifier(name)
    return sql.SQL("{}::text AS {}").format(column, column) if as_text else column


def _bounds_of(window: ReadWindow) -> list[sql.Composed]:
    key, along = sql.Identifier(window.key), sql.Identifier(window.along)
    bounds = [(along, "<", window.upper)]
    bounds += [(along, ">=", window.lower)] if window.lower is not None else []
    wanted = [sql.SQL("{} {} {}").format(name, sql.SQL(sign), sql.Literal(value)) for name, sign, value in bounds]
    if window.keys.lower is not None:
        wanted.append(sql.SQL("{} >= {}").format(key, sql.Literal(window.keys.lower)))
    if window.keys.upper is not None:
        wanted.append(sql.SQL("{} < {}").format(key, sql.Literal(window.keys.upper)))
    return wanted


def _select(window: ReadWindow, wanted: Sequence[sql.Composed]) -> sql.Composed:
    columns = sql.SQL(", ").join(_column(name, as_text=name in window.texts) for name in window.columns)
    return sql.SQL("SELECT {} FROM {} WHERE {}").format(columns, _table(window.table), sql.SQL(" AND ").join(wanted))


def _estimate(connection: psycopg.Connection[Any], table: str) -> int:
    """The planner's estimate of a table's rows, from its present size, also where it was never analyzed."""
    row = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) SELECT 1 FROM {}").format(_table(table))).fetchone()
    return int(row[0][0]["Plan"]["Plan Rows"]) if row else 0


def _bounds(connection: psycopg.Connection[Any], table: str, key: str, parts: int, estimate: int) -> list[str]:
    """The first keys of all parts but the first, in the order that the key's column has.

    Statistics are text, which has the database's collation. In another order than the column's, a bound would be on the
    wrong side of the next, and the keys between them in two parts.
    """
    found = connection.execute(_ORDER, (f'{_SCHEMA}."{table}"', key)).fetchone()
    name, *collated = found or ("text", None, None)
    kind = sql.SQL(name)
    collation = sql.SQL(" COLLATE {}").format(sql.Identifier(*collated)) if all(collated) else sql.SQL("")
    values = {"parts": parts, "schema": _SCHEMA, "table": table, "key": key}
    values["percent"] = min(100.0, max(100.0 * _SAMPLED_ROWS / max(estimate, 1), 0.001))
    for query in (
        sql.SQL(_HISTOGRAM).format(type=kind, collation=collation),
        sql.SQL(_SAMPLE).format(key=sql.Identifier(key), table=_table(table)),
    ):
        rows = connection.execute(sql.SQL(_RANGES).format(found=query), values).fetchall()
        if rows:
            return [str(bound) for (bound,) in rows]
    return []
