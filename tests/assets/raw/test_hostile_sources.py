"""Values, columns and gaps of a source that must not stop, poison or empty the lake."""

import json
from collections.abc import Sequence

import polars as pl
import pytest

from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.quarantine import QUARANTINE
from assets.raw.extraction import Extraction
from assets.raw.key_reconciliation import ImplausibleDeletionsError, KeyReconciliation
from assets.transforms.source.key_comparison import VanishedLimit
from assets.transforms.source.schema import ACCOUNTS
from pipelines.samples.rds_export import write_export
from resources.raw.quarantine import QuarantineResource
from tests.worlds.lineage import World
from tests.worlds.source_accounts import BUCKETS, SKEW, Accounts, run_job


@pytest.fixture
def accounts(world: World) -> Accounts:
    world.execute("TRUNCATE accounts, posts, testimonials")
    return Accounts(world)


def quarantined(world: World) -> list[tuple[str, str]]:
    frames = QuarantineResource(s3=world.s3).rows()
    rows = [row for frame in frames for row in frame.iter_rows(named=True)]
    assert all(json.loads(row["row_json"]) for row in rows)
    return sorted({(row["row_key"], row["reason"]) for row in rows})


def extract(accounts: Accounts) -> None:
    def on_rejects(rejects: pl.DataFrame) -> None:
        accounts.quarantine.land("cast", "accounts", "account_id", rejects, "_reason")

    Extraction(accounts.source, accounts.raw_store, ACCOUNTS, BUCKETS, on_rejects, SKEW).changes()
    accounts.merge()


ALL = (0, 7)
BEYOND = ("infinity", "-infinity", "294276-12-31", "10000-01-01", "4713-01-01 BC", "0001-12-31 BC")
"""Each is the key of the row that has it."""
WITHIN = (BEYOND, ("10000-01-01",), ("0001-12-31 BC",))
"""The times of one table: all, and the one nearest to each bound, which no other hides."""


def lost(column: str, keys: Sequence[str]) -> list[tuple[str, str]]:
    return [(key, f"{column} cannot be read as timestamp[us, tz=UTC]") for key in sorted(keys)]


@pytest.mark.parametrize("times", WITHIN)
@pytest.mark.parametrize("column", ["deleted_at", "created_at"])
def test_a_time_out_of_range_costs_its_own_row_only(accounts: Accounts, column: str, times: Sequence[str]) -> None:
    for key in ("a", *times, "c"):
        accounts.put(key, key)
    accounts.sql(f"UPDATE accounts SET {column} = account_id::timestamptz WHERE account_id = ANY(%s)", list(times))
    extract(accounts)
    assert set(accounts.standing()) == {"a", "c"}
    assert quarantined(accounts.world) == lost(column, times)
    accounts.delete("a")
    found = accounts.compare()
    assert (found.vanished, found.unusable) == (1, len(times))


@pytest.mark.parametrize("times", WITHIN)
def test_a_time_out_of_range_in_updated_at_does_not_stop_hard_deletes(accounts: Accounts, times: Sequence[str]) -> None:
    for key in ("a", *times, "c"):
        accounts.put(key, key)
    extract(accounts)
    accounts.sql("UPDATE accounts SET updated_at = account_id::timestamptz WHERE account_id = ANY(%s)", list(times))
    accounts.delete("a")
    extract(accounts)
    found = accounts.compare()
    accounts.merge()
    assert (found.vanished, found.unusable) == (1, len(times))
    assert set(accounts.standing()) == {*times, "c"}
    assert quarantined(accounts.world) == lost("updated_at", times)


@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "date"])
def test_an_added_column_may_hold_times_out_of_range(world: World, kind: str) -> None:
    world.execute("TRUNCATE accounts, posts, testimonials")
    world.execute(f"ALTER TABLE posts ADD seen {kind}")
    world.execute(
        "INSERT INTO posts (post_id, account_id, network, seen, updated_at) VALUES ('a', 'x', 'x', 'infinity', now()), "
        "('b', 'x', 'x', '-infinity', now()), ('c', 'x', 'x', '2024-01-01', now()), ('d', 'x', 'x', NULL, now())"
    )
    world.run_well("raw", "lake", buckets=ALL)
    # A date has no Arrow type in common with other sources, so it travels as text, and every value has a text.
    unreadable = [] if kind == "date" else ["a", "b"]
    assert quarantined(world) == [(key, "seen cannot be read as timestamp[us, tz=UTC]") for key in unreadable]
    assert set(world.table(LAKE_POSTS)["post_id"]) == set("abcd") - set(unreadable)


POST = "INSERT INTO posts (post_id, account_id, network, updated_at) VALUES (%s, 'x', 'x', now())"


def test_added_columns_that_cannot_enter_the_lake_stop_nothing(world: World) -> None:
    world.execute("TRUNCATE accounts, posts, testimonials")
    for name in ("Likes", "account_bucket", "_change_type", "two words", "a;b", "a\tb"):
        world.execute(f'ALTER TABLE posts ADD "{name}" int DEFAULT 9')
    world.execute("ALTER TABLE posts ADD reach int DEFAULT 7")
    world.execute(POST, "a")
    world.run_well("raw", "lake", buckets=ALL)
    [row] = world.lake.scan(LAKE_POSTS).collect().to_dicts()
    assert (row["post_id"], row["likes"], row["reach"]) == ("a", None, 7)
    assert set(row) == {*LAKE_POSTS.schema.names, "reach"}


def test_a_column_renamed_to_another_case_stops_nothing(world: World) -> None:
    world.execute("TRUNCATE accounts, posts, testimonials")
    world.execute("ALTER TABLE posts ADD reach int DEFAULT 7")
    world.execute(POST, "a")
    world.run_well("raw", "lake", buckets=ALL)
    world.execute('ALTER TABLE posts RENAME reach TO "Reach"')
    world.execute(POST, "b")
    world.run_well("raw", "lake", buckets=ALL)
    posts = world.lake.scan(LAKE_POSTS).select("post_id", "reach").collect()
    assert dict(posts.iter_rows()) == {"a": 7, "b": None}


def fill(accounts: Accounts, rows: int) -> None:
    accounts.sql(
        "INSERT INTO accounts (account_id, network, updated_at) SELECT n::text, 'x', '2024-01-01' "
        f"FROM generate_series(1, {rows}) n"
    )
    accounts.extract()
    accounts.merge()


def test_padded_keys_are_the_same_whoever_reads_them(accounts: Accounts) -> None:
    accounts.sql("ALTER TABLE accounts ALTER account_id TYPE char(12), ALTER network TYPE char(8)")
    for key in ("a", "bb"):
        accounts.put(key, key)
    found = accounts.bring_up_to_date()
    assert (found.vanished, found.missing) == (0, 0)
    assert set(accounts.standing()) == {"a", "bb"}
    assert set(accounts.world.table(LAKE_ACCOUNTS)["network"]) == {"x"}


@pytest.mark.parametrize("emptied", [
    "TRUNCATE accounts",
    "DELETE FROM accounts WHERE account_id::int > 300",
    "ALTER TABLE accounts RENAME TO whole; CREATE VIEW accounts AS SELECT * FROM whole WHERE account_id = '1'",
])  # fmt: skip
def test_an_implausible_number_of_vanished_keys_deletes_nothing(accounts: Accounts, emptied: str) -> None:
    fill(accounts, 400 if "300" not in emptied else 410)
    whole = accounts.held()
    for statement in emptied.split("; "):
        accounts.sql(statement)
    objects = accounts.world.objects()
    with pytest.raises(ImplausibleDeletionsError, match=r"of 4[01]0 keys of accounts vanished .* nothing was deleted"):
        accounts.compare()
    assert accounts.world.objects() == objects
    accounts.merge()
    assert accounts.held() == whole


@pytest.mark.parametrize(("rows", "gone", "limit", "is_allowed"), [
    (400, 100, VanishedLimit(), True),
    (400, 101, VanishedLimit(), False),
    (600, 120, VanishedLimit(), True),
    (600, 121, VanishedLimit(), False),
    (100, 100, VanishedLimit(), True),
    (20, 11, VanishedLimit(0.5, 5), False),
    (600, 600, None, True),
])  # fmt: skip
def test_the_limit_is_a_number_or_a_share(
    accounts: Accounts, rows: int, gone: int, limit: VanishedLimit | None, is_allowed: bool
) -> None:
    fill(accounts, rows)
    accounts.sql(f"DELETE FROM accounts WHERE account_id::int <= {gone}")
    comparison = KeyReconciliation(
        *(accounts.source, accounts.raw_store, accounts.world.lake, accounts.quarantine),
        *(ACCOUNTS, LAKE_ACCOUNTS, BUCKETS, SKEW),
        limit=limit,
    )
    if is_allowed:
        assert comparison.run().vanished == gone
    else:
        with pytest.raises(ImplausibleDeletionsError):
            comparison.run()


def test_the_job_says_how_to_allow_a_mass_deletion_once(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIPPUS_CLOCK_SKEW_SECONDS", "0")
    fill(accounts, 400)
    accounts.sql("TRUNCATE accounts")
    refused = run_job(accounts.world)
    [failure] = refused.get_step_failure_events()
    said = str(failure.step_failure_data.error)
    assert "400 of 400 keys of accounts vanished from postgres" in said
    assert "ops: {reconcile_accounts: {config: {allow_vanished: true}}}" in said
    config = {"ops": {"reconcile_accounts": {"config": {"allow_vanished": True}}}}
    assert run_job(accounts.world, config=config).success
    accounts.merge()
    assert not accounts.standing()


def test_an_export_without_most_rows_deletes_nothing_until_it_is_allowed(world: World) -> None:
    world.execute("TRUNCATE accounts, posts, testimonials")
    world.execute(
        "INSERT INTO accounts (account_id, network, updated_at) SELECT n::text, 'x', '2024-01-01' "
        "FROM generate_series(1, 400) n"
    )
    world.run_well("raw", "lake", buckets=ALL)
    world.execute("DELETE FROM accounts WHERE account_id <> '1'")
    world.execute("UPDATE accounts SET updated_at = now()")
    write_export(world.dsn, world.s3, "exports/", "partial")
    report = world.run("raw", export_id="partial", buckets=ALL)
    assert not report.success
    assert any(
        "399 of 400 keys of accounts vanished from rds_export" in error
        and "ops: {raw__accounts: {config: {export_id: partial, allow_vanished: true}}}" in error
        for error in report.errors
    )
    world.run_well("lake", buckets=ALL)
    assert world.table(LAKE_ACCOUNTS)["deleted_at"].null_count() == 400


@pytest.mark.parametrize("change", ["deleted_at = 'infinity'", "network = NULL"])
def test_a_reject_that_two_paths_find_is_listed_once(accounts: Accounts, change: str) -> None:
    accounts.sql("ALTER TABLE accounts ALTER network DROP NOT NULL")
    for key in "ab":
        accounts.put(key, key)
    accounts.sql(f"UPDATE accounts SET {change} WHERE account_id = 'b'")
    extract(accounts)
    accounts.compare()
    accounts.world.run_well("quarantine")
    rows = accounts.world.table(QUARANTINE).to_dicts()
    assert [(row["row_key"], row["copies"]) for row in rows] == [("b", 1)]
