"""The source database: Postgres, read as Arrow batches.

Belongs here: connections, the safe high-water mark, streamed reads. Not here: what a window or a manifest is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import psycopg
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from dagster import ConfigurableResource
from psycopg.rows import dict_row
from pydantic import Field

from resources.embedded import EmbeddedStack


class SourceUnavailableError(RuntimeError):
    """The source database cannot be reached; a later attempt may succeed."""


class SourcePermissionError(RuntimeError):
    """The role lacks a right that extraction needs; trying again cannot help."""


class UnknownMarkError(RuntimeError):
    """The server does not show what the safe high-water mark depends on; the message says what to do."""


_MARK = """
SELECT least(statement_timestamp(), min(xact_start)) AS mark,
  count(*) FILTER (WHERE backend_type IS NULL) AS hidden,
  (SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()) AS prepared,
  pg_is_in_recovery() AS replica
FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()
"""


@dataclass(frozen=True)
class ReadWindow:
    """One half-open window ``[lower, upper)`` of a timestamp column of a table; a lower of None is open."""

    table: str
    columns: tuple[str, ...]
    along: str
    lower: datetime | None
    upper: datetime

    def sql(self) -> str:
        """The query. Names come from the declared schema and moments are typed, so nothing needs escaping."""
        columns = ", ".join(f'"{name}"' for name in self.columns)
        lower = f""""{self.along}" >= '{self.lower.isoformat()}'::timestamptz AND """ if self.lower else ""
        return (
            f'SELECT {columns} FROM public."{self.table}" '  # noqa: S608
            f"""WHERE {lower}"{self.along}" < '{self.upper.isoformat()}'::timestamptz"""
        )


class PostgresResource(ConfigurableResource):  # type: ignore[type-arg]
    """The Postgres database (RDS in production) that the lineage starts from.

    The address is, in this order: ``dsn``; the secret ``secret_id`` in Secrets Manager, whose string is the DSN;
    the embedded stack's, looked up in ``stack_file`` when first used.
    """

    dsn: str = Field(default="", repr=False)
    secret_id: str = ""
    stack_file: str = ""
    statement_timeout_seconds: int = 3600
    batch_bytes: int = 8 << 20

    @cached_property
    def _address(self) -> str:
        if self.dsn:
            return self.dsn
        if self.secret_id:
            # Imported here: it takes 1.5 s, and only production needs it.
            from dagster_aws.secretsmanager import SecretsManagerResource

            with SecretsManagerResource().get_client() as secrets:
                return str(secrets.get_secret_value(SecretId=self.secret_id)["SecretString"])
        if not self.stack_file:
            message = "There is no source database: set CIPPUS_POSTGRES_DSN or CIPPUS_POSTGRES_SECRET_ID."
            raise SourceUnavailableError(message)
        return EmbeddedStack.read(Path(self.stack_file)).postgres_dsn

    def safe_high_water_mark(self) -> datetime:
        """The moment before which no open transaction can still commit a row stamped with its own ``now()``.

        In Postgres ``now()`` is the transaction's start, so a row may become visible after a later watermark. The
        mark is the start of the oldest open transaction of this database. It would be a guess, and a row could be
        missed, where the role cannot see other sessions (SourcePermissionError), on a read replica, which does not
        show the writer's, and beside a prepared transaction, whose start is not kept (UnknownMarkError).
        """
        try:
            with psycopg.connect(self._address, connect_timeout=10, row_factory=dict_row) as connection:
                found = connection.execute(_MARK).fetchone() or {}
        except psycopg.OperationalError as error:
            message = f"The source database cannot be reached: {str(error).splitlines()[0]}"
            raise SourceUnavailableError(message) from None
        if found["replica"]:
            message = "The source is a read replica, which does not show the writer's transactions: use the writer."
            raise UnknownMarkError(message)
        if found["hidden"]:
            message = (
                f"The source role cannot see {found['hidden']} other sessions, so rows that commit late could be "
                "missed: GRANT pg_read_all_stats to it."
            )
            raise SourcePermissionError(message)
        if found["prepared"]:
            message = (
                f"The source has {found['prepared']} prepared transactions, and does not say when they began: "
                "COMMIT PREPARED or ROLLBACK PREPARED them (see pg_prepared_xacts), then run again."
            )
            raise UnknownMarkError(message)
        mark: datetime = found["mark"]
        return mark

    @contextmanager
    def read(self, window: ReadWindow) -> Iterator[pa.RecordBatchReader]:
        """The rows of a window as a stream of Arrow batches, in one read-only transaction. Memory: one batch."""
        with dbapi.connect(self._address) as connection, connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(self.batch_bytes)})
            cursor.execute("SET TRANSACTION READ ONLY")
            cursor.execute(f"SET LOCAL statement_timeout = '{self.statement_timeout_seconds}s'")
            cursor.execute(window.sql())
            yield cursor.fetch_record_batch()

    def count(self, table: str, *, since: datetime) -> int:
        """How many rows of a table carry an ``updated_at`` at or after a moment; one index scan."""
        with psycopg.connect(self._address, connect_timeout=10) as connection:
            row = connection.execute(
                f'SELECT count(*) FROM public."{table}" WHERE updated_at >= %s',  # noqa: S608
                (since,),
            ).fetchone()
        return int(row[0]) if row else 0
