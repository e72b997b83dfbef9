"""Hard deletes and missed rows: after any history of the source, one comparison of keys makes the lake equal to it."""

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa
import pytest
from dagster import AssetKey, Definitions, ExecuteInProcessResult, ResourceDefinition, in_process_executor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.lake import LAKE_ACCOUNTS
from assets.lake import merging as lake_stage
from assets.raw.extraction import Extraction
from assets.raw.key_reconciliation import KeyReconciliation, Reconciled
from assets.transforms.source.contract import recast_table
from assets.transforms.source.key_comparison import Bounds, compare_keys
from assets.transforms.source.schema import ACCOUNTS
from pipelines.checks.lake import reconciles_with_raw
from pipelines.checks.raw import windows_complete
from pipelines.jobs.raw_key_reconciliation import raw_key_reconciliation
from resources.local_stack import EmbeddedStack
from resources.raw.quarantine import QuarantineResource
from resources.raw.store import KEYS, RawStoreResource
from resources.sources.key_shares import KeyShares
from resources.sources.postgres import PostgresResource
from resources.sources.redshift import RedshiftResource
from tests.worlds.lineage import World, empty_world, world_name

BUCKETS = 8
SKEW = timedelta(seconds=0)
"""Histories here are over in milliseconds; with an allowance nothing of them would be judged."""


@dataclass
class Accounts:
    """The table of accounts in a source of its own, extracted, merged and compared without a job."""

    world: World

    def __post_init__(self) -> None:
        self.source = PostgresResource(dsn=self.world.dsn)
        self.raw_store = RawStoreResource(s3=self.world.s3)
        self.quarantine = QuarantineResource(s3=self.world.s3)

    def sql(self, statement: str, *parameters: object) -> None:
        self.world.execute(statement, *parameters)

    def put(self, key: str, text: str, moment: datetime | None = None) -> None:
        self.sql(
            "INSERT INTO accounts (account_id, network, bio, updated_at) VALUES (%s, 'x', %s, coalesce(%s, now())) "
            "ON CONFLICT (account_id) DO UPDATE SET bio = excluded.bio, updated_at = excluded.updated_at",
            key, text, moment,
        )  # fmt: skip

    def delete(self, key: str) -> None:
        self.sql("DELETE FROM accounts WHERE account_id = %s", key)

    def extract(self) -> None:
        Extraction(self.source, self.raw_store, ACCOUNTS, BUCKETS, lambda _: None, SKEW).changes()

    def merge(self, buckets: Sequence[int] = range(BUCKETS)) -> None:
        [asset] = [found for found in lake_stage.ASSETS if found.key.path[-1] == "accounts"]
        context = SimpleNamespace(log=logging.getLogger("cippus"), partition_keys=[str(n) for n in buckets])
        body = asset.op.compute_fn.decorated_fn.__wrapped__  # type: ignore[union-attr]  # without Dagster's reports
        body(context, raw_store=self.raw_store, lake=self.world.lake, quarantine=self.quarantine)

    def compare(self) -> Reconciled:
        lake = self.world.lake
        return KeyReconciliation(
            self.source, self.raw_store, lake, self.quarantine, ACCOUNTS, LAKE_ACCOUNTS, BUCKETS, SKEW
        ).run()

    def bring_up_to_date(self) -> Reconciled:
        self.extract()
        self.merge()
        found = self.compare()
        self.merge()
        return found

    def held(self) -> dict[str, tuple[str, datetime, bool]]:
        rows = self.world.table(LAKE_ACCOUNTS)
        return {row["account_id"]: (row["bio"], row["updated_at"], row["deleted_at"] is not None)
                for row in rows.iter_rows(named=True)}  # fmt: skip

    def standing(self) -> dict[str, tuple[str, datetime]]:
        return {key: (bio, at) for key, (bio, at, is_deleted) in self.held().items() if not is_deleted}

    def in_source(self) -> dict[str, tuple[str, datetime]]:
        with self.world.source() as connection:
            return {key: (bio, at) for key, bio, at in
                    connection.execute("SELECT account_id, bio, updated_at FROM accounts").fetchall()}  # fmt: skip


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


def run_job(world: World, config: dict[str, Any] | None = None, **resources: Any) -> ExecuteInProcessResult:
    given = {name: made for name, made in world.unused_resources().items()
             if name in ("source", "raw_store", "lake", "quarantine", "erasures")}  # fmt: skip
    mine = Definitions(jobs=[raw_key_reconciliation], resources={**given, **resources}, executor=in_process_executor)
    with warnings.catch_warnings():
        # Dagster 1.13.27 calls its own deprecated property for nested resources.
        warnings.filterwarnings("ignore", "InitResourceContext.dagster_run is deprecated", DeprecationWarning)
        return mine.resolve_job_def("raw_key_reconciliation").execute_in_process(
            run_config=config, raise_on_error=False
        )


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


MOMENTS = st.none() | st.integers(0, 20).map(lambda days: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=days))
BOUNDS = Bounds(datetime(2024, 1, 15, tzinfo=UTC), datetime(2024, 1, 11, tzinfo=UTC))
_SOURCE: Any = {"key": pl.String, "updated_at": pl.Datetime("us", "UTC")}
_LAKE: Any = {**_SOURCE, "is_deleted": pl.Boolean}


@given(
    source=st.dictionaries(st.text("abc", min_size=1, max_size=2), MOMENTS),
    lake=st.dictionaries(
        st.text("abc", min_size=1, max_size=2), st.tuples(MOMENTS.filter(lambda m: m is not None), st.booleans())
    ),
)
def test_every_key_is_judged_as_a_loop_would(
    source: dict[str, datetime | None], lake: dict[str, tuple[datetime, bool]]
) -> None:
    rows = [(key, *held) for key, held in lake.items()]
    found = compare_keys(
        pl.DataFrame(list(source.items()), _SOURCE, orient="row"), pl.DataFrame(rows, _LAKE, orient="row"), BOUNDS
    )
    judged, landed = BOUNDS.judged_below, BOUNDS.landed_below
    gone = {key for key, (at, dead) in lake.items() if key not in source and not dead and at < BOUNDS.deletion_time}
    dated = {key: at for key, at in source.items() if at is not None and at < landed}
    assert set(found.vanished) == gone
    assert set(found.missing) == {key for key in dated if key not in lake}
    assert set(found.stale) == {key for key, at in dated.items() if key in lake and lake[key][0] < at}
    assert set(found.ahead) == {key for key, at in dated.items() if key in lake and at < lake[key][0] < judged}
    assert set(found.undated) == {key for key, at in source.items() if at is None}


def test_shares_bring_equal_keys_together_and_leave_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = [pl.DataFrame({"key": [f"{n}" for n in range(first, first + 100)]}) for first in range(0, 1000, 100)]
    right = [pl.DataFrame({"key": [f"{n}" for n in range(500, 1500)], "x": range(1000)})]
    with KeyShares(7) as shares:
        assert shares.add("left", {"key": pl.String()}, left) == 1000
        assert shares.add("right", {"key": pl.String(), "x": pl.Int64()}, right) == 1000
        pairs = list(shares.paired("left", "right"))
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []
    assert len(pairs) == 7
    assert max(ours.height for ours, _ in pairs) < 300
    assert sum(ours.join(theirs, on="key").height for ours, theirs in pairs) == 500
    assert sum(ours.height for ours, _ in pairs) == 1000


def test_small_tables_are_one_share_and_large_ones_many() -> None:
    assert [KeyShares.of(rows).count for rows in (0, 1, 500_000, 500_001, 10**12)] == [1, 1, 1, 2, 1024]
    with KeyShares(1) as shares:
        shares.add("left", {"key": pl.String()}, [])
        shares.add("right", {"key": pl.String()}, [pl.DataFrame({"key": ["a"]})])
        [(left, right)] = shares.paired("left", "right")
        assert (left.height, right.height) == (0, 1)


def test_rows_without_a_key_are_counted_and_compared_with_nothing() -> None:
    at = datetime(2024, 5, 1, tzinfo=UTC)
    source = pl.DataFrame({"key": ["a", None, None], "updated_at": [at] * 3})
    lake = pl.DataFrame({"key": ["a"], "updated_at": [at], "is_deleted": [False]})
    later = at + timedelta(days=1)
    found = compare_keys(source, lake, Bounds(later, later))
    assert (found.to_read, found.vanished.to_list(), found.keyless) == ([], [], 2)


def test_a_deletion_row_outlives_that_its_column_was_retyped() -> None:
    rows = pa.table({"id": ["a", "b"], "price": ["1.50", "3"], "size": pa.array([1 << 40, 2], pa.int64())})
    schema = pa.schema([("id", pa.string()), ("price", pa.int32()), ("size", pa.int32()), ("new", pa.bool_())])
    assert recast_table(schema, rows).to_pylist() == [
        {"id": "a", "price": None, "size": None, "new": None},
        {"id": "b", "price": 3, "size": 2, "new": None},
    ]
