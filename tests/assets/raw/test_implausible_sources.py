"""A source that is not the whole database deletes nothing: another one, an older copy, a restore, an empty export."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dagster import (
    AssetSelection,
    Definitions,
    ExecuteInProcessResult,
    define_asset_job,
    in_process_executor,
)

from assets.lake import LAKE_ACCOUNTS
from assets.raw.key_reconciliation import ImplausibleDeletionsError, KeyReconciliation
from assets.raw.windows import ASSETS
from assets.transforms.source.schema import ACCOUNTS
from pipelines.samples.rds_export import write_export
from resources.local_stack import EmbeddedStack
from resources.sources import postgres_mark
from resources.sources.postgres import PostgresResource
from tests.fakes.redshift_server import running
from tests.worlds.lineage import World
from tests.worlds.loaded import empty_world, world_name
from tests.worlds.source_accounts import BUCKETS, SKEW, Accounts
from tests.worlds.sources import redshift

ROWS = "INSERT INTO accounts (account_id, network, updated_at) SELECT {}::text, 'x', {} FROM generate_series({}) n"


@pytest.fixture
def accounts(stack: EmbeddedStack, request: pytest.FixtureRequest, tmp_path: Path) -> Accounts:
    world = replace(empty_world(stack, world_name(request.node.nodeid), tmp_path), governor=None)
    world.execute("TRUNCATE accounts, posts, testimonials")
    made = Accounts(world)
    made.sql(ROWS.format("n", "'2024-01-01'", "1, 300"))
    return made


def land(accounts: Accounts) -> None:
    accounts.extract()
    accounts.merge()


@contextmanager
def copy_of(world: World, name: str) -> Iterator[World]:
    """A database of its own with the world's rows of this moment."""
    copied = replace(world, name=f"{world.name}_{name}")
    admin = world.stack.postgres_dsn.removesuffix("/creators") + "/postgres"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {copied.name} TEMPLATE {world.name}".encode())
        yield copied
        connection.execute(f"DROP DATABASE {copied.name} WITH (FORCE)".encode())


def comparison(accounts: Accounts, source: PostgresResource) -> KeyReconciliation:
    given = (source, accounts.raw_store, accounts.world.lake, accounts.quarantine)
    return KeyReconciliation(*given, ACCOUNTS, LAKE_ACCOUNTS, BUCKETS, SKEW)


OTHER_ROWS = ROWS.format("'other ' || n", "now()", "1, 500")
CHANGES = {
    "another database": ["TRUNCATE accounts", OTHER_ROWS],
    "a restore in progress": ["DELETE FROM accounts WHERE account_id::int > 120"],
    "an older copy": [],
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_source_that_is_not_the_database_deletes_nothing(accounts: Accounts, kind: str) -> None:
    with copy_of(accounts.world, "copy") as other:
        accounts.sql(ROWS.format("n", "now()", "301, 600"))
        land(accounts)
        whole = accounts.held()
        for statement in CHANGES[kind]:
            other.execute(statement)
        wrong = comparison(accounts, PostgresResource(dsn=other.dsn))
        objects = accounts.world.objects()
        with pytest.raises(ImplausibleDeletionsError, match=r"of 600 keys of accounts vanished .* a wrong database"):
            wrong.run_guarded()
        [said] = accounts.raw_store.stopped_deletions()
        assert "of 600 keys of accounts vanished from postgres, so nothing was deleted" in said
        assert {key for key in accounts.world.objects().keys() - objects.keys() if key.startswith("raw/")} == set()
        accounts.merge()
        assert accounts.held() == whole
    assert comparison(accounts, accounts.source).run_guarded().vanished == 0
    assert accounts.raw_store.stopped_deletions() == [], "a comparison that ended takes the alert back"


def test_a_replica_that_is_behind_is_not_asked_about_what_came_later(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy stands for a replica that has replayed up to the copy: only recovery itself is not real."""
    with copy_of(accounts.world, "replica") as replica:
        with replica.source() as connection:
            [(replayed,)] = connection.execute("SELECT clock_timestamp()").fetchall()
        accounts.sql(ROWS.format("n", "clock_timestamp()", "301, 600"))
        accounts.sql("DELETE FROM accounts WHERE account_id = '600'")
        land(accounts)
        view = f"SELECT true AS is_replica, '{replayed.isoformat()}'::timestamptz AS replayed"
        monkeypatch.setattr(postgres_mark, "_REPLICA", view)
        found = comparison(accounts, PostgresResource(dsn=replica.dsn, replica_lag_seconds=0.001)).run_guarded()
    assert (found.scanned, found.held, found.vanished, found.window) == (300, 599, 0, None)


def land_export(world: World, export_id: str, **config: Any) -> ExecuteInProcessResult:
    job = define_asset_job("landing", AssetSelection.assets(["raw", "accounts"]))
    mine = Definitions(assets=ASSETS, jobs=[job], resources=world.unused_resources(), executor=in_process_executor)
    with warnings.catch_warnings():
        # Dagster 1.13.27 calls its own deprecated property for nested resources.
        warnings.filterwarnings("ignore", "InitResourceContext.dagster_run is deprecated", DeprecationWarning)
        return mine.resolve_job_def("landing").execute_in_process(
            run_config={"ops": {"raw__accounts": {"config": {"export_id": export_id, **config}}}},
            raise_on_error=False,
        )


def shrunken_export(accounts: Accounts, export_id: str, keep: str) -> None:
    accounts.sql(f"DELETE FROM accounts WHERE NOT ({keep})")
    accounts.sql("UPDATE accounts SET updated_at = now() WHERE account_id = '1'")  # the age of the export
    write_export(accounts.world.dsn, accounts.world.s3, "exports/", export_id)


def deleted(accounts: Accounts) -> int:
    accounts.merge()
    return sum(is_deleted for _, _, is_deleted in accounts.held().values())


def test_an_export_that_shrank_is_allowed_once(accounts: Accounts) -> None:
    accounts.sql(ROWS.format("n", "'2024-01-01'", "301, 600"))
    land(accounts)
    shrunken_export(accounts, "half", "account_id::int <= 300")
    assert not land_export(accounts.world, "half").success
    assert deleted(accounts) == 0
    assert len(accounts.raw_store.stopped_deletions()) == 1
    assert land_export(accounts.world, "half", allow_vanished=True).success
    assert deleted(accounts) == 300
    assert accounts.raw_store.stopped_deletions() == []
    shrunken_export(accounts, "less", "account_id::int <= 100")
    result = land_export(accounts.world, "less")
    assert not result.success, "the permission was for one run"
    assert deleted(accounts) == 300


@pytest.mark.parametrize("allow", [False, True])
def test_an_export_without_the_rows_of_a_table_deletes_nothing(accounts: Accounts, allow: bool) -> None:
    land(accounts)
    shrunken_export(accounts, "empty", "false")
    assert land_export(accounts.world, "empty", allow_vanished=allow).success
    assert deleted(accounts) == 0


@pytest.mark.parametrize("change", ["TRUNCATE accounts", "DELETE FROM accounts WHERE account_id::int > 1"])
def test_a_redshift_without_rows_deletes_nothing(accounts: Accounts, change: str) -> None:
    with running(accounts.world.dsn, accounts.world.s3) as warehouse:
        world = replace(accounts.world, source_resource=redshift(accounts.world, warehouse))
        world.run_well("raw", "lake", buckets=(0, BUCKETS - 1))
        assert len(accounts.standing()) == 300
        world.execute(change)
        world.run_well("raw", "lake", buckets=(0, BUCKETS - 1))
    assert len(accounts.standing()) == 300
