"""Find the safe high-water mark of a Postgres: the time before which no row can appear any more.

``now()`` is the start of its transaction. No row with an ``updated_at`` before the start of the oldest open transaction
can become visible later.
"""

from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from resources.sources.postgres_errors import (
    PreparedTransactionError,
    SourcePermissionError,
    SourceUnavailableError,
    UnknownMarkError,
)

_SESSIONS = """
SELECT least(statement_timestamp(), min(coalesce(xact_start, CASE
    WHEN backend_type = 'client backend' AND state IN ('active', 'fastpath function call') THEN query_start
  END))) AS mark,
  count(*) FILTER (WHERE backend_type IS NULL) AS hidden,
  count(*) FILTER (WHERE backend_type = 'client backend' AND state = 'disabled') AS untracked
FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND coalesce(backend_type, '') NOT IN (
  'autovacuum launcher', 'autovacuum worker', 'logical replication launcher', 'parallel worker', 'walsender'
)
"""
"""Skips background processes that write no table rows, or whose leader is in the view too.

``now()`` of a transaction is the time at which its first statement arrived. The server shows that time as
``query_start`` first and as ``xact_start`` a moment later. In between, the transaction has begun already.
The time between the arrival and ``query_start`` is a few instructions; only the allowance for clock skew covers it.
"""
_PREPARED = """
SELECT min(prepared) AS since, count(*) AS transactions FROM pg_prepared_xacts WHERE database = current_database()
"""
_REPLICA = "SELECT pg_is_in_recovery() AS is_replica, pg_last_xact_replay_timestamp() AS replayed"


def read_mark(connection: "psycopg.Connection[Any]", replica_lag_seconds: float, prepared_seconds: float) -> datetime:
    """Return the mark, from a few rows of system views.

    A replica does not show the writer's sessions. There the mark is the last replayed commit, less the configured
    length of the writer's longest transaction. For a prepared transaction the server knows when it was prepared, not
    when it began. The allowance ``prepared_seconds`` covers the time in between.
    """
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(_REPLICA).fetchone() or {}
        if found["is_replica"]:
            return _of_replica(found["replayed"], replica_lag_seconds)
        # Read sessions first: a transaction prepared in between is then in both views, otherwise in neither.
        sessions = cursor.execute(_SESSIONS).fetchone() or {}
        prepared = cursor.execute(_PREPARED).fetchone() or {}
    if sessions["hidden"]:
        raise SourcePermissionError(
            f"The source role cannot see {sessions['hidden']} other sessions, so rows that commit late could be "
            "missed; GRANT pg_read_all_stats to it."
        )
    if sessions["untracked"]:
        raise UnknownMarkError(
            f"{sessions['untracked']} sessions of the source have track_activities = off, which hides when their "
            "transactions began, so rows that commit late could be missed; turn it on for their roles and end them."
        )
    mark: datetime = sessions["mark"]
    return _below_prepared(mark, prepared["since"], prepared["transactions"], prepared_seconds)


def _of_replica(replayed: datetime | None, lag_seconds: float) -> datetime:
    if lag_seconds <= 0:
        raise UnknownMarkError(
            "The source is a read replica, which does not show the writer's transactions; use the writer, or set "
            "CIPPUS_REPLICA_LAG_SECONDS to more than its longest transaction takes."
        )
    if replayed is None:
        raise SourceUnavailableError("The source is a read replica that has replayed no transaction since its start.")
    return replayed - timedelta(seconds=lag_seconds)


def _below_prepared(mark: datetime, since: datetime | None, transactions: int, allowance_seconds: float) -> datetime:
    if since is None:
        return mark
    if allowance_seconds <= 0:
        raise PreparedTransactionError(
            f"The source has {transactions} prepared transactions and does not show when they began; end them with "
            "COMMIT PREPARED or ROLLBACK PREPARED (see pg_prepared_xacts), or set CIPPUS_PREPARED_SECONDS to more than "
            "a transaction is open before it is prepared."
        )
    return min(mark, since - timedelta(seconds=allowance_seconds))
