"""The protocols that Postgres, Redshift and snapshot exports implement."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol, runtime_checkable

import pyarrow as pa

from resources.plain_text import plain

BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
"""High-water mark of a snapshot whose rows do not show its age: it covers no interval."""


@dataclass(frozen=True)
class KeyRange:
    """A half-open range ``[lower, upper)`` of a table's key in the source's own collation; None is open."""

    lower: str | None = None
    upper: str | None = None


@dataclass(frozen=True)
class ReadWindow:
    """A selection of rows: ``along`` lies in ``[lower, upper)``, and the key lies in ``keys``.

    A lower bound of None is open. ``columns`` are the columns to read. The source reads columns in ``texts`` as text,
    where it can. Columns in ``lists`` are arrays.
    """

    table: str
    key: str
    columns: tuple[str, ...]
    along: str
    lower: datetime | None
    upper: datetime
    keys: KeyRange = KeyRange()
    texts: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()


@dataclass(frozen=True)
class OpenTransaction:
    """A transaction of the source that has not ended; ``pid`` is 0 for a prepared one, which has no session."""

    pid: int
    user: str
    application: str
    state: str
    since: datetime

    def describe(self) -> str:
        """Return who holds it and since when."""
        whose = f"user {plain(self.user)}, application {plain(self.application or 'without a name')}"
        at = f"since {self.since:%Y-%m-%d %H:%M:%S %Z}"
        if not self.pid:
            return f"prepared transaction {self.application!r} of user {plain(self.user)}, {at}"
        return f"process {self.pid}, {whose}, {self.state}, {at}"

    @property
    def remedy(self) -> str:
        """Return the statement that ends it."""
        name = plain(self.application).replace("'", "''")
        return f"SELECT pg_terminate_backend({self.pid})" if self.pid else f"ROLLBACK PREPARED '{name}'"


class Source(Protocol):
    """A source of rows. The same rows from any source give the same lake."""

    @property
    def name(self) -> str:
        """Return the name in window keys (``raw/<table>/source=<name>/``) and in Delta application ids."""

    def safe_high_water_mark(self) -> datetime:
        """Return the time before which no row can appear any more. Raise a permanent failure if it is unknown."""

    def columns(self, table: str) -> Mapping[str, str]:
        """Return column → type of a table, in the source's own type names; empty if the table does not exist."""

    def read(self, window: ReadWindow) -> AbstractContextManager[pa.RecordBatchReader]:
        """Stream the rows of a window, in types that cast to the declared types. Memory: one batch."""


@runtime_checkable
class LiveSource(Source, Protocol):
    """A database that accepts queries at any time, not only for windows: Postgres."""

    def key_ranges(self, table: str, key: str, rows: int) -> Sequence[KeyRange]:
        """Return ranges of about ``rows`` rows each that cover every key once. Reads a sample at most."""

    def count_ahead(self, table: str, along: str, mark: datetime) -> int:
        """Return the number of rows whose ``along`` is at or after ``mark``."""

    def count_undated(self, table: str, along: str, limit: int) -> int:
        """Return the number of rows whose ``along`` is null, up to ``limit``."""

    def rows_by_day(self, table: str, along: str, below: datetime) -> Mapping[date, int]:
        """Return day (UTC) → rows whose ``along`` is in it and below a bound; one scan of the index on ``along``."""

    def oldest_transaction(self) -> OpenTransaction | None:
        """Return the open transaction that holds the high-water mark back, or None."""

    def scan_keys(self, table: str, key: str, along: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """Stream (key, along) of every row, nulls included, in any order. Memory: one batch."""

    def rows_of(self, window: ReadWindow, keys: Sequence[str]) -> AbstractContextManager[pa.RecordBatchReader]:
        """Stream the current rows of some keys, whatever the window's bounds. A deleted key has no row."""


@runtime_checkable
class StagedSource(Source, Protocol):
    """A source that stages a window before reading it: Redshift. Reading the same window again costs nothing."""

    def delete_staged(self, table: str) -> None:
        """Delete the staged files of a table, once the window that was read last has landed."""


@runtime_checkable
class SnapshotSource(Source, Protocol):
    """A source that holds all rows as of one time: a snapshot export."""

    @property
    def snapshot(self) -> datetime:
        """Return the snapshot's time from its metadata. A copied snapshot may carry the time of the copy."""

    def mark_of(self, newest: datetime | None) -> datetime:
        """Return the safe high-water mark, or BEFORE_ALL if ``newest`` is None.

        ``newest`` is the newest ``updated_at`` among a table's rows that is not after ``snapshot``.
        """
