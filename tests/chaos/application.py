"""The application of a chaos run: transactions on the source table. Some stay open while others commit."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from assets.transforms.source.schema import SourceTable
from tests.chaos.source_rows import EPOCH, keys_of, row

_STAMPS = {
    "now": "now()",
    "behind": "greatest(now() - interval '{milliseconds} milliseconds', {table}.updated_at)",
    "ahead": "now() + interval '{milliseconds} milliseconds'",
    "put back": "now() - interval '{milliseconds} milliseconds'",
    "tie": "greatest(date_trunc('second', now()), now() - interval '{milliseconds} milliseconds', {table}.updated_at)",
}
"""Kind of clock → SQL of ``updated_at``. A clock that is behind never decreases a row's timestamp; two writes then get
equal ones. ``put back`` decreases it, which only a comparison of all keys detects."""


@dataclass(frozen=True)
class Clocks:
    """Clocks of a run's application servers: kinds of timestamps, and their maximum error in milliseconds."""

    kinds: tuple[str, ...]
    behind_milliseconds: int = 0
    ahead_milliseconds: int = 120


@dataclass
class Transaction:
    """An open transaction, the keys that it has locked, and its name if it was prepared."""

    connection: "psycopg.Connection[Any]"
    locked: set[str] = field(default_factory=set)
    prepared_as: str = ""


@dataclass
class Application:
    """Write one table of one database, at random from a seed."""

    dsn: str
    table: SourceTable
    draw: random.Random
    clocks: Clocks
    committed: "psycopg.Connection[Any]"
    diary: list[str]
    open: list[Transaction] = field(default_factory=list)
    put_back: set[str] = field(default_factory=set)
    """Keys that may have had a version with a later timestamp than their current one."""
    deleted_hard: set[str] = field(default_factory=set)
    odd: set[str] = field(default_factory=set)
    """Keys of rows with a time out of range. They are not written, because a client cannot read them."""
    newest: datetime = EPOCH
    """The latest timestamp of any row so far."""

    def act(self) -> None:
        """Commit a transaction, or do a part of one that stays open for a while."""
        kind = self.draw.choices(("at once", "begin", "write late", "end"), (6, 2, 3, 4))[0]
        if kind == "begin" and len(self.open) < 2:
            self.begin()
        elif kind == "write late" and (writing := [found for found in self.open if not found.prepared_as]):
            self._write(self.draw.choice(writing))
        elif kind == "end" and self.open:
            chosen = self.draw.choice(self.open)
            if not any(found.prepared_as for found in self.open) and self.draw.random() < 0.25:
                self._prepare(chosen)
            else:
                self.end(chosen)
        else:
            self.commit_at_once()

    def fill(self) -> None:
        """Insert rows for about two thirds of the keys, in one transaction."""
        with self.committed.transaction():
            for key in keys_of(self.table):
                if self.draw.random() < 2 / 3:
                    self._execute(self.committed, "upsert", key)

    def commit_at_once(self) -> None:
        """Commit one to four statements."""
        transaction = Transaction(self.committed)
        with self.committed.transaction():
            for _ in range(self.draw.randint(1, 4)):
                self._write(transaction)

    def begin(self) -> None:
        """Begin a transaction that commits later with today's ``now()``. Half of them write at once."""
        transaction = Transaction(psycopg.connect(self.dsn))
        transaction.connection.execute("SELECT now()")
        self.open.append(transaction)
        self.diary.append("begin")
        if self.draw.random() < 0.5:
            self._write(transaction)

    def _prepare(self, transaction: Transaction) -> None:
        """Prepare a two-phase commit: the session ends, the locks stay."""
        name = f"{transaction.connection.info.dbname}-{len(self.diary)}"
        with transaction.connection as connection:
            try:
                connection.execute(sql.SQL("PREPARE TRANSACTION {}").format(name))
            except psycopg.errors.OutOfMemory:  # the server allows few, and other runs have them
                connection.rollback()
                self.open.remove(transaction)
                return
        transaction.prepared_as = name
        self.diary.append("prepare")

    def end(self, transaction: Transaction) -> None:
        """Commit a transaction; roll back one in six."""
        self.open.remove(transaction)
        commits = self.draw.random() > 1 / 6
        self.diary.append("commit late" if commits else "roll back")
        if transaction.prepared_as:
            verb = sql.SQL("COMMIT PREPARED {}" if commits else "ROLLBACK PREPARED {}")
            self.committed.execute(verb.format(transaction.prepared_as))
            return
        with transaction.connection as connection:
            if not commits:
                connection.rollback()

    def end_all(self) -> None:
        """End every open transaction."""
        while self.open:
            self.end(self.open[0])

    def _write(self, transaction: Transaction) -> None:
        """Execute one statement, on a row that no other transaction has locked: waiting for one would never end."""
        locked = self.odd.union(*(other.locked for other in self.open if other is not transaction))
        free = [key for key in keys_of(self.table) if key not in locked]
        if not free:
            return
        key = self.draw.choice(free)
        kinds = {"upsert": 6, "change": 4, "move": 3, "delete": 2, "undelete": 1, "delete hard": 2}
        kind = self.draw.choices(tuple(kinds), tuple(kinds.values()))[0]
        transaction.locked.add(key)
        self.diary.append(f"{kind} {key}")
        self._execute(transaction.connection, kind, key)

    def _execute(self, connection: "psycopg.Connection[Any]", kind: str, key: str) -> None:
        statement, values = self._statement(kind, key)
        returning = statement + sql.SQL(" RETURNING updated_at")
        for (stamped,) in connection.execute(returning, values).fetchall():
            self.newest = max(self.newest, stamped)

    def _statement(self, kind: str, key: str) -> tuple[sql.Composed, Sequence[Any]]:
        name, at = sql.Identifier(self.table.name), sql.Identifier(self.table.key)
        if kind == "delete hard":
            self.deleted_hard.add(key)
            return sql.SQL("DELETE FROM {} WHERE {} = %s").format(name, at), (key,)
        values, clock = row(self.table, key, self.draw), self.draw.choice(self.clocks.kinds)
        # A row that is inserted again has no timestamp to keep above: a clock that is behind may put it back too.
        if clock == "put back" or (kind == "upsert" and clock in ("behind", "tie") and key in self.deleted_hard):
            self.put_back.add(key)
        if kind == "upsert":
            columns = list(values)
            assignments = sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in columns
            )
            statement = sql.SQL(
                "INSERT INTO {} ({}, updated_at) VALUES ({}, {}) ON CONFLICT ({}) DO UPDATE SET {}, updated_at = {}"
            ).format(
                name,
                sql.SQL(", ").join(map(sql.Identifier, columns)),
                sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
                self._stamp(clock, is_new=True),
                at,
                assignments,
                self._stamp(clock, is_new=False),
            )
            return statement, list(values.values())
        changed = self._changed(kind, values)
        statement = sql.SQL("UPDATE {} SET {}, updated_at = {} WHERE {} = %s").format(
            name,
            sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(column)) for column in changed),
            self._stamp(clock, is_new=False),
            at,
        )
        return statement, [*changed.values(), key]

    def _changed(self, kind: str, values: dict[str, Any]) -> dict[str, Any]:
        if kind in ("delete", "undelete"):
            return {"deleted_at": EPOCH + timedelta(days=self.draw.randrange(900)) if kind == "delete" else None}
        if kind == "move":
            return {name: values[name] for name in self.table.owner_columns if name != self.table.key} or {
                "network": values["network"]
            }
        others = [name for name in values if name not in (self.table.key, "deleted_at", *self.table.owner_columns)]
        return {name: values[name] for name in self.draw.sample(others, self.draw.randint(1, 3))}

    def _stamp(self, clock: str, *, is_new: bool) -> sql.Composable:
        most = self.clocks.ahead_milliseconds if clock == "ahead" else self.clocks.behind_milliseconds
        table = "excluded" if is_new else self.table.name
        text = _STAMPS[clock].format(milliseconds=self.draw.randint(0, most), table=table)
        # A new row has no earlier timestamp.
        return sql.SQL(text.replace(", excluded.updated_at", ""))  # made of literals above

    def wait_for_clocks(self) -> None:
        """Wait until every timestamp is older than any clock can be behind, and end the sessions of killed workers."""
        self.terminate_workers()
        settled = self.newest + timedelta(milliseconds=self.clocks.behind_milliseconds + 1)
        self.committed.execute(
            "SELECT pg_sleep(greatest(0, extract(epoch FROM %s::timestamptz - clock_timestamp())))", (settled,)
        )

    def terminate_workers(self) -> None:
        """End the sessions of extraction, as a failover does."""
        mine = [found.connection.info.backend_pid for found in self.open if not found.prepared_as]
        self.committed.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND NOT pid = ANY(%s)",
            (mine,),
        )

    def rows(self) -> list[Mapping[str, Any]]:
        """Return the rows of the database as dicts, without the odd ones and without added columns."""
        names, at = self.table.schema.names, sql.Identifier(self.table.key)
        columns = sql.SQL(", ").join(map(sql.Identifier, names))
        query = sql.SQL("SELECT {} FROM {} WHERE {} <> ALL(%s)").format(columns, sql.Identifier(self.table.name), at)
        found = self.committed.execute(query, (list(self.odd),)).fetchall()
        return [dict(zip(names, row, strict=True)) for row in found]
