"""Ceilings in every scope, leases that cost one write, seals that stop a paused owner."""

import contextlib
import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from resources.s3.client import S3Resource
from resources.spend.account import CeilingReachedError, LeaseSealedError, ceiling_of, scopes
from resources.spend.ledger import ACCOUNT, Ledger, settled
from resources.spend.log import SEAL, Record
from resources.spend.spender import Spender
from resources.spend.store import S3Store, Store
from tests.fakes.spend_store import MemoryStore, lose_answer

CENT = Decimal("0.01")


def ledger(store: Store, **ceilings: str) -> Ledger:
    return Ledger(store, {name: Decimal(usd) for name, usd in ceilings.items()}, sleep=lambda _seconds: None)


def spender(of: Ledger, run: str = "r1", asset: str = "summary/x", model: str = "m") -> Spender:
    return Spender(of, run, asset, model, patience_seconds=0)


def pay(by: Spender, call: str, bound: Decimal = CENT, usd: Decimal = CENT) -> None:
    by.reserve(call, bound)
    by.sent(call)
    by.settle(call, settled(call, usd))


def calls_until_stopped(by: Spender, most: int = 100) -> int:
    for number in range(most):
        try:
            pay(by, f"{by.run}-{number}")
        except CeilingReachedError:
            return number
    return most


@pytest.mark.parametrize("scope", ["project", "day", "month", "run", "asset:summary/x", "model:m"])
def test_each_scope_has_its_ceiling(scope: str) -> None:
    of = ledger(MemoryStore(), **{scope: "0.05"})
    assert calls_until_stopped(spender(of)) == 5


@pytest.mark.parametrize("scope", ["asset:summary/y", "model:other"])
def test_the_ceiling_of_another_asset_or_model_does_not_count(scope: str) -> None:
    assert calls_until_stopped(spender(ledger(MemoryStore(), project="0.1", **{scope: "0.01"}))) == 10


def test_runs_share_a_ceiling() -> None:
    of = ledger(MemoryStore(), project="0.10")
    first, second = spender(of, "r1"), spender(of, "r2")
    paid = 0
    for number in range(20):
        for by in (first, second):
            try:
                pay(by, f"{by.run}-{number}")
                paid += 1
            except CeilingReachedError:
                pass
    assert paid == 10
    assert of.account().amount("project") == Decimal("0.1")


def test_worst_cases_do_not_starve_another_run() -> None:
    """Each call may cost a tenth of the ceiling and costs a thousandth; both runs go on to the end."""
    of = ledger(MemoryStore(), project="1")
    first, second = spender(of, "r1"), spender(of, "r2")
    for number in range(200):
        for by in (first, second):
            pay(by, f"{by.run}-{number}", Decimal("0.1"), Decimal("0.001"))
    first.close()
    second.close()
    assert of.account().amount("project") == Decimal("0.4")


def test_a_call_costs_one_write_and_no_read_of_the_account() -> None:
    store = MemoryStore()
    by = spender(ledger(store, project="1000"))
    pay(by, "first")
    reads, writes = store.reads, store.writes
    for number in range(50):
        pay(by, f"call{number}")
    assert store.writes - writes == 50, "the settlement of a call goes with the next call"
    assert store.reads == reads


def test_a_run_of_thousands_of_calls_touches_the_account_a_few_times() -> None:
    store = MemoryStore()
    by = spender(ledger(store, project="100"))
    touched = 0

    def count(key: str) -> None:
        nonlocal touched
        touched += key == ACCOUNT

    store.after_write = count
    for number in range(2_000):
        pay(by, f"call{number}", CENT, CENT / 10)
    by.close()
    assert touched < 60
    assert len(store.objects[ACCOUNT]) < 20_000


def test_a_new_day_has_a_new_ceiling_and_the_month_goes_on() -> None:
    store = MemoryStore()
    of = ledger(store, day="0.05", month="0.08")
    by = spender(of)
    assert calls_until_stopped(by) == 5
    store.now += dt.timedelta(days=1)
    assert calls_until_stopped(spender(of, "r2")) == 3
    store.now += dt.timedelta(days=5)  # December
    assert calls_until_stopped(spender(of, "r3")) == 5


def test_a_lease_ends_with_its_day() -> None:
    store = MemoryStore()
    of = ledger(store, project="1", day="0.05")
    by = spender(of)
    pay(by, "before")
    by.reserve("late", CENT)
    store.now += dt.timedelta(days=1)
    with pytest.raises(LeaseSealedError, match="which is over"):
        by.sent("late")
    pay(by, "late")
    by.close()
    account = of.account()
    assert [account.amount(f"day:2026-11-{day}") for day in (29, 30)] == [CENT, CENT]


def test_a_clock_that_goes_back_opens_no_day_again() -> None:
    store = MemoryStore()
    of = ledger(store, day="0.05")
    store.now += dt.timedelta(days=1)
    assert calls_until_stopped(spender(of)) == 5
    store.now -= dt.timedelta(days=1)
    assert calls_until_stopped(spender(of, "r2")) == 0


def test_a_paused_owner_of_a_sealed_lease_sends_nothing_under_it() -> None:
    store = MemoryStore()
    of = ledger(store, project="1")
    by = spender(of)
    lease = by.reserve("a.1", CENT)
    assert of.seal(lease).amount == 0
    with pytest.raises(LeaseSealedError, match="sealed by another process"):
        by.sent("a.1")
    assert by.reserve("a.1", CENT) != lease


def test_a_sent_call_stays_charged_until_its_fate_is_known() -> None:
    of = ledger(MemoryStore(), project="0.05")
    by = spender(of)
    by.reserve("a.1", 5 * CENT)
    by.sent("a.1")
    of.seal_stale(older_than=dt.timedelta())  # the process is gone
    assert of.account().amount("project") == 5 * CENT
    with pytest.raises(CeilingReachedError):
        spender(of, "r2").reserve("b.1", CENT)
    assert of.reconcile(lambda _call: None) == 1
    assert of.reconcile(lambda call: settled(call, CENT)) == 0
    assert of.account().amount("project") == CENT
    pay(spender(of, "r2"), "b.1")


def test_a_late_answer_is_charged_to_its_sealed_lease() -> None:
    of = ledger(MemoryStore(), project="1")
    by = spender(of)
    by.reserve("a.1", 5 * CENT)
    by.sent("a.1")
    of.seal_stale(older_than=dt.timedelta())
    by.settle("a.1", settled("a.1", 2 * CENT))
    by.close()
    assert of.account().amount("project") == 2 * CENT
    by.settle("a.1", settled("a.1", 2 * CENT))
    by.close()
    assert of.account().amount("project") == 2 * CENT


def test_raising_a_ceiling_is_on_record() -> None:
    of = ledger(MemoryStore(), project="0.05")
    assert calls_until_stopped(spender(of)) == 5
    of.set_ceiling("project", Decimal("0.08"), "the board agreed", "ana@host")
    assert calls_until_stopped(spender(of, "r2")) == 3
    [change] = of.account().changes
    assert (change.who, change.why, change.old, change.new) == ("ana@host", "the board agreed", 5 * CENT, 8 * CENT)
    assert change.at.startswith("2026-11-29T12")


def test_a_lost_answer_of_a_write_changes_nothing() -> None:
    store = MemoryStore()
    of = ledger(store, project="0.05")
    store.after_write = lose_answer  # every write is applied and its answer lost
    by = spender(of)
    for number in range(5):
        pay(by, f"call{number}")
    with pytest.raises(CeilingReachedError):
        by.reserve("more", CENT)
    store.after_write = lambda _key: None
    by.close()
    assert of.account().amount("project") == 5 * CENT


def test_scopes_name_their_ceilings() -> None:
    found = scopes("2026-11-29", "r", "a/b", "m")
    assert [ceiling_of(scope) for scope in found] == ["project", "month", "day", "run", "asset:a/b", "model:m"]


@pytest.fixture
def on_s3(s3: S3Resource) -> Ledger:
    return ledger(S3Store(s3), project="0.30")


def test_threads_of_two_runs_share_a_ceiling_on_a_real_s3(on_s3: Ledger) -> None:
    runs = [Spender(on_s3, name, "summary/x", "m", patience_seconds=30) for name in ("r1", "r2")]

    def work(number: int) -> int:
        by = runs[number % 2]
        try:
            by.reserve(f"call{number}", 3 * CENT)
            by.sent(f"call{number}")
            by.settle(f"call{number}", settled(f"call{number}", CENT))
        except CeilingReachedError:
            return 0
        return 1

    with ThreadPoolExecutor(4) as pool:
        paid = sum(pool.map(work, range(40)))
    for by in runs:
        by.close()
    assert on_s3.account().amount("project") == paid * CENT
    assert 26 <= paid <= 30, "all but the room of the last bounds is spent, and no more"


def test_threads_of_a_run_never_pass_the_ceiling() -> None:
    """A call that is recorded and not yet counted is counted once, not twice and not never."""
    store = MemoryStore()

    def let_others_in(_key: str) -> None:
        threading.Event().wait(0.0005)

    store.before_write = let_others_in
    of = ledger(store, project="0.30")
    by = Spender(of, "r1", "summary/x", "m", patience_seconds=30)
    lease_amounts = []

    def work(number: int) -> None:
        with contextlib.suppress(CeilingReachedError):
            pay(by, f"call{number}", 3 * CENT, CENT)
        lease_amounts.append(of.account().amount("project"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(60)))
    by.close()
    assert max(lease_amounts) <= 30 * CENT
    assert 28 * CENT <= of.account().amount("project") <= 30 * CENT


def test_a_seal_wins_or_loses_against_a_call_on_a_real_s3(on_s3: Ledger) -> None:
    by = spender(on_s3)
    lease = by.reserve("a.1", CENT)
    with ThreadPoolExecutor(2) as pool:
        sealing, sending = pool.submit(on_s3.seal, lease), pool.submit(by.sent, "a.1")
        is_sent = sending.exception() is None
        assert sealing.result().unknown == (1 if is_sent else 0)
    assert on_s3.account().amount("project") == (CENT if is_sent else 0)


def test_a_record_of_the_log_is_what_was_written() -> None:
    record = settled("a.1", CENT, lane="live", input_tokens=3)
    assert Record.from_json(record.to_json()) == record
    assert Record.from_json(Record(SEAL).to_json()) == Record(SEAL)
