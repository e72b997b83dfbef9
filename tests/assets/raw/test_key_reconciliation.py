"""Hard deletes and missed rows: after any history of the source, one comparison of keys makes the lake equal to it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from dagster import AssetKey, ResourceDefinition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.raw.key_reconciliation import Reconciled
from pipelines.checks.lake import reconciles_with_raw
from pipelines.checks.raw import windows_complete
from resources.local_stack import EmbeddedStack
from resources.raw.store import KEYS
from resources.sources.redshift import RedshiftResource
from tests.worlds.loaded import empty_world, world_name
from tests.worlds.source_accounts import Accounts, run_job


@pytest.fixture
def accounts(stack: EmbeddedStack, request: pytest.FixtureRequest, tmp_path: Path) -> Accounts:
    world = empty_world(stack, world_name(request.node.nodeid), tmp_path)
    world.execute("TRUNCATE accounts, posts, testimonials")
    return Accounts(world)


def test_a_vanished_row_becomes_a_deletion_row_and_nothing_else_changes(accounts: Accounts) -> None:
    for key in "abc":
        accounts.put(key, key.upper())
    accounts.bring_up_to_date()
    before = accounts.held()
    accounts.delete("b")
    found = accounts.bring_up_to_date()
    assert (found.vanished, found.missing, found.stale, found.ahead) == (1, 0, 0, 0)
    after = accounts.held()
    bio, moment, is_deleted = after.pop("b")
    assert (bio, is_deleted) == ("B", True)
    assert moment > before.pop("b")[1]
    assert after == before
    assert found.window is not None
    assert (found.window.kind, found.window.lower) == (KEYS, found.window.upper)
    again = accounts.bring_up_to_date()
    assert (again.window, again.vanished) == (None, 0)


def test_a_row_that_comes_back_stands_again(accounts: Accounts) -> None:
    accounts.put("a", "first")
    accounts.put("b", "other")
    old = accounts.in_source()["a"][1]
    accounts.bring_up_to_date()
    accounts.delete("a")
    accounts.bring_up_to_date()
    assert set(accounts.standing()) == {"b"}
    accounts.put("a", "second")
    accounts.bring_up_to_date()
    assert accounts.standing() == accounts.in_source()
    accounts.delete("a")
    accounts.bring_up_to_date()
    accounts.put("a", "from a backup", old)
    found = accounts.bring_up_to_date()
    assert found.ahead == 1
    assert accounts.standing() == accounts.in_source()


def test_rows_that_no_window_reached_are_landed(accounts: Accounts) -> None:
    accounts.put("a", "a")
    accounts.put("b", "b")
    accounts.bring_up_to_date()
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    accounts.put("late", "with a time of its own", long_ago)
    accounts.put("a", "put back", long_ago)
    found = accounts.bring_up_to_date()
    assert (found.missing, found.ahead) == (1, 1)
    assert accounts.standing() == accounts.in_source()
    assert accounts.bring_up_to_date().window is None


def test_a_row_that_was_landed_and_deleted_before_it_was_merged_does_not_stand(accounts: Accounts) -> None:
    """Others are in the lake, and changed in the same unmerged window; one is there already, as deleted."""
    for key in "abcd":
        accounts.put(key, key)
    accounts.bring_up_to_date()
    accounts.delete("d")
    accounts.bring_up_to_date()
    for key in ("a", "b", "d", "e", "f"):
        accounts.put(key, "again")
    accounts.extract()
    for key in ("b", "d", "e"):
        accounts.delete(key)
    assert accounts.compare().vanished == 3
    assert accounts.compare().vanished == 0, "the deletion rows wait with the rows"
    accounts.merge()
    assert accounts.standing() == accounts.in_source()
    deleted = {key: text for key, (text, _, is_deleted) in accounts.held().items() if is_deleted}
    assert deleted == dict.fromkeys("bde", "again")


def test_what_an_open_transaction_may_still_do_is_not_judged(accounts: Accounts) -> None:
    accounts.put("a", "a")
    accounts.put("b", "b")
    accounts.bring_up_to_date()
    with psycopg.connect(accounts.world.dsn) as late:
        late.execute("INSERT INTO accounts (account_id, network, bio, updated_at) VALUES ('new', 'x', 'n', now())")
        late.execute("DELETE FROM accounts WHERE account_id = 'a'")
        found = accounts.bring_up_to_date()
        assert (found.vanished, found.window) == (0, None)
        late.execute("INSERT INTO accounts (account_id, network, bio, updated_at) VALUES ('a', 'x', 'again', now())")
        accounts.delete("b")
        found = accounts.bring_up_to_date()
        assert found.vanished == 1
        late.execute("INSERT INTO accounts (account_id, network, bio, updated_at) VALUES ('b', 'x', 'again', now())")
        late.commit()
    accounts.extract()
    accounts.merge()
    assert accounts.standing() == accounts.in_source()
    assert set(accounts.standing()) == {"a", "b", "new"}


def test_unusable_rows_are_quarantined_once_and_do_not_come_up_as_missing_windows(accounts: Accounts) -> None:
    accounts.put("a", "a")
    accounts.bring_up_to_date()
    accounts.sql("INSERT INTO accounts (account_id, network, updated_at) VALUES ('undated', 'x', NULL)")
    accounts.sql("INSERT INTO accounts (account_id, network, updated_at) VALUES ('nowhere', NULL, '2020-01-01')")
    found = accounts.bring_up_to_date()
    assert (found.unusable, found.window) == (2, None)
    objects = accounts.world.objects()
    assert accounts.compare().unusable == 2
    assert accounts.world.objects() == objects


def test_before_the_first_window_there_is_nothing_to_compare(accounts: Accounts) -> None:
    accounts.put("a", "a")
    assert accounts.compare() == Reconciled()


def test_checks_pass_after_rows_were_put_back(accounts: Accounts) -> None:
    accounts.put("a", "a")
    accounts.bring_up_to_date()
    accounts.delete("a")
    accounts.bring_up_to_date()
    accounts.put("a", "a", datetime(2020, 1, 1, tzinfo=UTC))
    accounts.bring_up_to_date()
    given = {"raw_store": accounts.raw_store, "s3": accounts.world.s3, "lake": accounts.world.lake}
    evaluated = 0
    for check in (*windows_complete, *reconciles_with_raw):
        if check.asset.endswith("/accounts"):
            found = check.call(check.promise, given)
            assert found in (0, (0, {})), check.name
            evaluated += 1
    assert evaluated == 2


def test_the_job_compares_every_table_and_its_windows_are_materializations(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIPPUS_CLOCK_SKEW_SECONDS", "0")
    accounts.put("a", "a")
    accounts.put("b", "b")
    accounts.bring_up_to_date()
    accounts.delete("a")
    result = run_job(accounts.world)
    assert result.success
    found = {event.asset_key: event.materialization.metadata for event in result.get_asset_materialization_events()}
    assert set(found) == {AssetKey(["raw", name]) for name in ("accounts", "posts", "testimonials")}
    of_accounts = found[AssetKey(["raw", "accounts"])]
    assert (of_accounts["vanished"].value, of_accounts["windows"].value, of_accounts["rows"].value) == (1, 1, 1)
    accounts.merge()
    assert set(accounts.standing()) == {"b"}


def test_a_source_that_cannot_be_asked_is_refused_at_once(accounts: Accounts) -> None:
    result = run_job(
        accounts.world, source=ResourceDefinition.hardcoded_resource(RedshiftResource(s3=accounts.world.s3))
    )
    assert not result.success
    said = [str(event.step_failure_data.error) for event in result.get_step_failure_events()]
    assert all("Keys of redshift cannot be compared; set CIPPUS_SOURCE to postgres." in error for error in said)
    assert len(said) == 3


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "delete", "restore", "extract", "merge", "compare"]), st.sampled_from("abcd")
    ),
    max_size=10,
)


@given(actions=ACTIONS)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
def test_after_any_history_the_lake_is_the_source(accounts: Accounts, actions: list[tuple[str, str]]) -> None:
    """Each history goes on from where the one before it ended."""
    first = datetime(2021, 1, 1, tzinfo=UTC)
    for number, (action, key) in enumerate(actions):
        match action:
            case "put":
                accounts.put(key, f"text {number}")
            case "restore":
                accounts.put(key, "restored", first + timedelta(days=number % 3))
            case "delete":
                accounts.delete(key)
            case "extract":
                accounts.extract()
            case "merge":
                accounts.merge()
            case "compare":
                accounts.compare()
    accounts.bring_up_to_date()
    assert accounts.standing() == accounts.in_source()
