"""What a chaos run does to the source that no lake takes: times out of range, odd columns, row-level security."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString

from psycopg import sql

from assets.transforms.source.schema import Policy
from tests.chaos.application import Application
from tests.chaos.source_database import drop_added, let_reader_see, reader_of
from tests.chaos.source_rows import keys_of

TIMES = ("infinity", "-infinity", "294276-12-31", "10000-01-01", "4713-01-01 BC", "0001-12-31 BC")
COLUMNS = ("account_bucket", "_change_type", "two words", "semi;colon", "tab\tbed")
"""Added column names, besides one that differs from another column only in case."""
_ADDED_TIME = "seen_at"
_MOST_ODD = 4


@dataclass
class Oddities:
    """Make rows and columns of one table odd, and mend them. ``ever`` are (key, column) of all odd rows so far."""

    application: Application
    ever: set[tuple[str, str]] = field(default_factory=set)
    _columns: dict[str, str] = field(default_factory=dict)
    _stamps: dict[str, datetime] = field(default_factory=dict)
    """Key → the row's last readable timestamp."""

    @property
    def now(self) -> dict[str, str]:
        """Return key → column of the rows that are odd now."""
        return dict(self._columns)

    def spoil(self) -> None:
        """Give one or two rows, which no open transaction has locked, a time out of range."""
        mine = self.application
        columns = ["updated_at", "deleted_at"]
        if mine.table.policy is Policy.EVOLVE:
            self._add(_ADDED_TIME, "timestamptz")
            columns.append(_ADDED_TIME)
        locked = {key for other in mine.open for key in other.locked}
        free = [key for key in keys_of(mine.table) if key not in locked | mine.odd]
        for key in mine.draw.sample(free, min(len(free), _MOST_ODD - len(mine.odd), mine.draw.randint(1, 2))):
            column, time = mine.draw.choice(columns), mine.draw.choice(TIMES)
            found = self._set(key, column, time)
            if found:
                mine.odd.add(key)
                self.ever.add((key, column))
                self._columns[key], self._stamps[key] = column, found[0]
                mine.diary.append(f"spoil {key}: {column} = {time}")

    def _set(self, key: str, column: str, time: str) -> tuple[datetime] | None:
        """Set a column. Return the present or the row's later timestamp; None if there is no such row."""
        mine = self.application
        table, at = sql.Identifier(mine.table.name), sql.Identifier(mine.table.key)
        touch = sql.SQL("UPDATE {} SET updated_at = greatest(now(), updated_at) WHERE {} = %s RETURNING updated_at")
        change = sql.SQL("UPDATE {} SET {} = %s WHERE {} = %s").format(table, sql.Identifier(column), at)
        with mine.committed.transaction():
            found = mine.committed.execute(touch.format(table, at), (key,)).fetchone()
            mine.committed.execute(change, (time, key))
        if found:
            mine.newest = max(mine.newest, found[0])
        return found

    def mend(self, share: float = 1.0) -> None:
        """Mend each odd row with a probability. It then lands like any changed row."""
        mine = self.application
        for key in sorted(mine.odd):
            if mine.draw.random() >= share:
                continue
            column = self._columns.pop(key)
            former, table, at = self._stamps.pop(key), sql.Identifier(mine.table.name), sql.Identifier(mine.table.key)
            changed = sql.SQL("") if column == "updated_at" else sql.SQL("{} = NULL, ").format(sql.Identifier(column))
            query = sql.SQL("UPDATE {} SET {}updated_at = greatest(now(), %s) WHERE {} = %s RETURNING updated_at")
            [(stamp,)] = mine.committed.execute(query.format(table, changed, at), (former, key)).fetchall()
            mine.newest = max(mine.newest, stamp)
            mine.odd.remove(key)
            mine.diary.append(f"mend {key}: {column}")

    def add_columns(self) -> None:
        """Add columns that cannot enter the lake."""
        names = [item.name for item in self.application.table.schema]
        for name in self.application.draw.sample((*COLUMNS, self.application.draw.choice(names).title()), 2):
            self._add(name, "int DEFAULT 9")

    def _add(self, name: str, kind: LiteralString) -> None:
        self.application.end_all()  # the server changes no table that an open transaction uses
        add = sql.SQL("ALTER TABLE {} ADD IF NOT EXISTS {} ").format(
            sql.Identifier(self.application.table.name), sql.Identifier(name)
        )
        self.application.committed.execute(add + sql.SQL(kind))
        self.application.diary.append(f"add {name!r}")

    def drop_columns(self) -> None:
        """Drop the added columns."""
        self.application.end_all()
        drop_added(self.application.committed, self.application.table)

    def hide_rows(self, *, hidden: bool = True) -> None:
        """Let row-level security hide all rows from extraction, or none."""
        let_reader_see(self.application.committed, reader_of(self.application.dsn), all_rows=not hidden)
