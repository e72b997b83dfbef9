"""What a source of rows is: the one contract that Postgres, Redshift and snapshot exports keep."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

import pyarrow as pa

BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)
"""Where the window of a snapshot ends whose rows do not say how old it is: it claims nothing."""


@dataclass(frozen=True)
class KeyRange:
    """A half-open range ``[lower, upper)`` of a table's key in the source's own collation; None is open."""

    lower: str | None = None
    upper: str | None = None


@dataclass(frozen=True)
class ReadWindow:
    """Rows of a table whose ``along`` column lies in ``[lower, upper)``, and whose key lies in ``keys``.

    A lower of None is open. ``columns`` are those that the contract wants and the source has; those in ``texts`` are
    read as text, if the source has a choice.
    """

    table: str
    key: str
    columns: tuple[str, ...]
    along: str
    lower: datetime | None
    upper: datetime
    keys: KeyRange = KeyRange()
    texts: frozenset[str] = frozenset()


class Source(Protocol):
    """Where rows come from. The same rows from any source give the same lake."""

    @property
    def name(self) -> str:
        """Names the source's windows (``raw/<table>/source=<name>/``) and its Delta applications."""

    def safe_high_water_mark(self) -> datetime:
        """The moment before which no row can appear any more. Raises a permanent failure where it would be a guess."""

    def columns(self, table: str) -> Mapping[str, str]:
        """Column → type of a table as the source has it now, in the source's own words; empty without such a table."""

    def read(self, window: ReadWindow) -> AbstractContextManager[pa.RecordBatchReader]:
        """The rows of a window as a stream, in types that cast to the declared ones. Memory: one batch."""


@runtime_checkable
class LiveSource(Source, Protocol):
    """A database that can be asked at any time, not only for windows: Postgres."""

    def key_ranges(self, table: str, key: str, rows: int) -> Sequence[KeyRange]:
        """Ranges that cover every key once, of about so many rows each; from statistics, so no row is read."""

    def count_ahead(self, table: str, along: str, mark: datetime) -> int:
        """Rows whose ``along`` lies at or after a moment."""

    def scan_keys(self, table: str, key: str, along: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """(key, along) of every row, nulls included, in no order: one narrow scan. Memory: one batch."""

    def rows_of(self, window: ReadWindow, keys: Sequence[str]) -> AbstractContextManager[pa.RecordBatchReader]:
        """The rows of some keys as they are now, whatever the window's bounds; a key that is gone has none."""


@runtime_checkable
class StagedSource(Source, Protocol):
    """A source that puts a window aside before it is read: Redshift. Reading the same window again costs nothing."""

    def settle(self, table: str) -> None:
        """The window of that table that was read last is landed for good: what was put aside may go."""


@runtime_checkable
class SnapshotSource(Source, Protocol):
    """A source that holds one moment, whole: a snapshot export."""

    @property
    def snapshot(self) -> datetime:
        """The moment, as its metadata have it; a copy may carry the time of copying."""

    def mark_of(self, newest: datetime | None) -> datetime:
        """The safe high-water mark, given the newest ``updated_at`` of a table's rows that is not after ``snapshot``.

        BEFORE_ALL where there is none.
        """
