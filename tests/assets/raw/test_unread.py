"""Rows that no window reads are counted, and the transaction that holds rows back is named."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from assets.lake import LAKE_ACCOUNTS
from assets.raw import windows
from assets.raw.unread import Unread, UnreadRows
from assets.transforms.source.schema import ACCOUNTS
from resources.local_stack import EmbeddedStack
from tests.worlds.loaded import empty_world, world_name
from tests.worlds.source_accounts import BUCKETS, SKEW, Accounts

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def accounts(stack: EmbeddedStack, request: pytest.FixtureRequest, tmp_path: Path) -> Accounts:
    world = replace(empty_world(stack, world_name(request.node.nodeid), tmp_path), governor=None)
    world.execute("TRUNCATE accounts, posts, testimonials")
    return Accounts(world)


def unread(accounts: Accounts, **changes: Any) -> Unread:
    given = (accounts.source, accounts.raw_store, accounts.world.lake, accounts.quarantine)
    return replace(UnreadRows(*given, ACCOUNTS, LAKE_ACCOUNTS, BUCKETS, SKEW), **changes).count()


def test_rows_without_a_time_or_with_an_old_one_are_counted(accounts: Accounts) -> None:
    accounts.sql("INSERT INTO accounts (account_id, network, updated_at) VALUES ('undated', 'x', NULL)")
    assert unread(accounts) == Unread(undated=1), "before the first window"
    for key in "abc":
        accounts.put(key, key)
    accounts.extract()
    assert unread(accounts) == Unread(undated=1), "landed and not merged"
    accounts.merge()
    assert unread(accounts) == Unread(undated=1)
    for number in range(3):
        accounts.put(f"late {number}", "backfilled", LONG_AGO + timedelta(days=number // 2))
    accounts.put("a", "restored from a backup", LONG_AGO)
    assert unread(accounts) == Unread(undated=1, backfilled=4)
    accounts.put("b", "changed, and not extracted yet")
    accounts.delete("c")
    assert unread(accounts) == Unread(undated=1, backfilled=4)
    accounts.compare()
    accounts.merge()
    assert unread(accounts) == Unread(undated=1), "the reconciliation has landed them"


def test_rows_that_are_in_quarantine_or_erased_are_not_counted(accounts: Accounts) -> None:
    accounts.put("a", "a")
    accounts.extract()
    accounts.merge()
    accounts.sql("INSERT INTO accounts (account_id, network, updated_at) VALUES ('rejected', NULL, '2020-01-01')")
    accounts.put("erased", "x", LONG_AGO)
    assert unread(accounts).backfilled == 2
    accounts.compare()
    accounts.merge()
    accounts.put("erased", "x", LONG_AGO - timedelta(days=1))

    def keep(rows: pa.Table) -> pa.Table:
        return rows.filter(pa.array([key != "erased" for key in rows["account_id"].to_pylist()]))

    assert unread(accounts, keep=keep).backfilled == 0
    assert unread(accounts).backfilled == 1


@contextmanager
def open_transaction(accounts: Accounts, application: str) -> Iterator[int]:
    with psycopg.connect(accounts.world.dsn, application_name=application) as late:
        late.execute("SELECT 1")
        yield late.info.backend_pid


def test_the_transaction_that_holds_the_mark_back_is_named_in_metadata_and_log(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts.put("a", "a")
    monkeypatch.setattr(windows, "_HELD_BACK_SECONDS", 0)
    with open_transaction(accounts, "nightly job") as pid:
        counts = accounts.world.run_well("raw").counts("raw/accounts")
    assert counts["held_back_by"].startswith(
        f"process {pid}, user cippus, application nightly job, idle in transaction, since "
    )
    assert counts["held_back_seconds"] >= 0
    assert "held_back_by" not in accounts.world.run_well("raw").counts("raw/accounts")


def test_the_oldest_of_several_transactions_is_the_one(accounts: Accounts) -> None:
    assert accounts.source.oldest_transaction() is None
    with open_transaction(accounts, "first") as pid, open_transaction(accounts, "second"):
        oldest = accounts.source.oldest_transaction()
        assert oldest is not None
        assert (oldest.pid, oldest.application, oldest.state) == (pid, "first", "idle in transaction")
        assert oldest.remedy == f"SELECT pg_terminate_backend({pid})"


def test_counting_undated_rows_ends_at_the_limit(accounts: Accounts) -> None:
    accounts.sql("INSERT INTO accounts (account_id, network) SELECT n::text, 'x' FROM generate_series(1, 50) n")
    accounts.sql("UPDATE accounts SET updated_at = NULL")
    assert accounts.source.count_undated("accounts", "updated_at", 20) == 20
    assert accounts.source.count_undated("accounts", "updated_at", 100) == 50
