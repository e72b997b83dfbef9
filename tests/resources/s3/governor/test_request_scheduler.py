"""The queues: fair between prefixes, retries first, no bursts, debts of multi-deletes, blame, eviction, restart."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.s3.governor.prefix_tree import Ticket
from resources.s3.governor.rate_control import RateSettings, Verb
from resources.s3.governor.request_scheduler import Outcome, RequestScheduler
from tests.fakes.rate_simulator import Simulation, World, simulate

A = ("lake", "posts", "raw", "a")
B = ("lake", "posts", "raw", "b")
C = ("lake", "media", "raw", "c")


def learned(rate: float, place: tuple[str, ...] = A[:3], **changed: float) -> RequestScheduler:
    """A scheduler that knows one node."""
    scheduler = RequestScheduler(RateSettings(**changed))  # type: ignore[arg-type]
    saved = {"format": 1, "limits": [{"path": list(place), "verb": "write", "rate": rate, "at": 1000.0}]}
    scheduler.restore(saved, 0.0, 1000.0)
    return scheduler


def drain(scheduler: RequestScheduler, until: float, start: float = 0.0) -> list[tuple[float, Ticket]]:
    """Release on time and accept at once."""
    found: list[tuple[float, Ticket]] = []
    now = start
    while (when := scheduler.next_release(now)) is not None and when <= until:
        now = when
        for ticket in scheduler.release(now):
            found.append((now, ticket))
            scheduler.report(now, ticket, Outcome.ACCEPTED)
    return found


def test_requests_are_spaced_by_the_rate() -> None:
    scheduler = learned(10.0, plateau_seconds=1e9)
    first = scheduler.submit(0.0, A, Verb.WRITE)
    assert first.released
    for _ in range(5):
        assert not scheduler.submit(0.0, A, Verb.WRITE).released
    times = [when for when, _ in drain(scheduler, 2.0)]
    assert times == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5], abs=0.001)
    assert scheduler.next_release(2.0) is None


def test_reads_and_writes_are_separate() -> None:
    scheduler = learned(2.0)
    assert scheduler.submit(0.0, A, Verb.WRITE).released
    assert not scheduler.submit(0.0, A, Verb.WRITE).released
    assert scheduler.submit(0.0, A, Verb.READ).released
    assert scheduler.rate(A, Verb.WRITE) == 2.0
    assert scheduler.rate(A, Verb.READ) == RateSettings().initial


def test_retries_go_first_within_their_prefix_and_do_not_starve_the_others() -> None:
    scheduler = learned(10.0, ("lake",), plateau_seconds=1e9)
    scheduler.submit(0.0, A, Verb.WRITE)
    for name in ("fresh 1", "fresh 2"):
        scheduler.submit(0.0, A, Verb.WRITE, payload=name)
    scheduler.submit(0.0, C, Verb.WRITE, payload="other 1")
    scheduler.submit(0.0, C, Verb.WRITE, payload="other 2")
    for name in ("retry 1", "retry 2"):
        scheduler.submit(0.0, A, Verb.WRITE, retry=True, payload=name)
    order = [ticket.payload for _, ticket in drain(scheduler, 5.0)]
    assert [name for name in order if name[:5] != "other"] == ["retry 1", "retry 2", "fresh 1", "fresh 2"]
    assert {"other 1", "other 2"} <= set(order[:4])


def test_a_lonely_prefix_is_not_behind_a_crowd() -> None:
    scheduler = learned(10.0, ("lake",), plateau_seconds=1e9)
    for _ in range(500):
        scheduler.submit(0.0, A, Verb.WRITE)
    lonely = [scheduler.submit(0.0, C, Verb.WRITE) for _ in range(10)]
    drain(scheduler, 2.2)
    assert all(ticket.released for ticket in lonely)


@pytest.mark.parametrize("boundary", [1, 3])
def test_no_waiting_prefix_gets_less_than_half_its_fair_share(boundary: int) -> None:
    folders = tuple(("lake", f"t{i}", "b", "p") for i in range(12))
    weights = (100.0,) + (4.0,) * 11
    world = World(60.0, boundary=boundary, folders=folders, weights=weights, workers=144, seconds=20.0)
    result = simulate(world)
    fair = 60.0 * 20.0 / (12 if boundary == 1 else 1)
    assert min(result.by_folder.values()) >= fair / 2, result.by_folder


def test_a_place_below_a_blocked_one_does_not_block_its_sibling() -> None:
    scheduler = learned(1.0, A)
    for _ in range(4):
        scheduler.submit(0.0, A, Verb.WRITE)
    assert not scheduler.release(0.01)
    assert scheduler.submit(0.01, B, Verb.WRITE).released


@settings(max_examples=25, deadline=None, derandomize=True)
@given(rate=st.floats(2.0, 3000.0), seed=st.integers(0, 1000), idle=st.floats(0.0, 500.0))
def test_never_more_than_twenty_milliseconds_of_slots_at_once(rate: float, seed: int, idle: float) -> None:
    scheduler = learned(rate, plateau_seconds=1e9)
    chance = random.Random(seed)  # noqa: S311 - a simulation
    now, sent = idle, [t for _ in range(200) if (t := scheduler.submit(idle, A, Verb.WRITE)).released]
    assert len(sent) <= 1
    for _ in range(60):
        now = (scheduler.next_release(now) or now) + chance.choice([0.0, 0.001, 0.5])  # a timer may be late
        released = scheduler.release(now)
        assert len(released) <= 0.02 * rate + 1
        for ticket in released:
            scheduler.report(now, ticket, Outcome.FAILED)


def test_a_multi_delete_goes_out_whole_and_pays_afterwards() -> None:
    scheduler = learned(20.0, plateau_seconds=1e9)
    whole = scheduler.submit(0.0, A, Verb.WRITE, cost=1000)
    assert whole.released
    scheduler.report(0.1, whole, Outcome.ACCEPTED)
    assert not scheduler.submit(0.1, A, Verb.WRITE).released
    assert [when for when, _ in drain(scheduler, 60.0, 0.1)] == [pytest.approx(50.0, abs=0.1)]


def test_a_refused_multi_delete_pays_for_one_request_and_wakes_the_queue() -> None:
    scheduler = learned(20.0, plateau_seconds=1e9)
    whole = scheduler.submit(0.0, A, Verb.WRITE, cost=1000)
    scheduler.submit(0.0, A, Verb.WRITE)
    scheduler.release(0.0)
    scheduler.report(0.1, whole, Outcome.THROTTLED)
    when = scheduler.next_release(0.1)
    assert when is not None
    assert when < 0.3
    assert len(drain(scheduler, 1.0, 0.1)) == 1


def test_a_stream_of_multi_deletes_neither_bursts_nor_stops() -> None:
    result = simulate(World(200.0, "bucket", 1.0, costs=(1, 1, 100), workers=16, seconds=30.0))
    assert result.goodput >= 0.85
    assert result.accepted <= 200 * 31 + 3 * 100


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.data())
def test_the_accounts_balance_whatever_happens_to_the_tickets(data: st.DataObject) -> None:
    scheduler = RequestScheduler(RateSettings())
    open_tickets: list[Ticket] = []
    now = 0.0
    for _ in range(data.draw(st.integers(1, 80))):
        now += data.draw(st.sampled_from([0.0, 0.001, 0.05]))
        step = data.draw(st.sampled_from(["submit", "submit", "release", "report"]))
        if step == "submit":
            path = data.draw(st.sampled_from([A, B, C, ("other",)]))
            cost, retry = data.draw(st.sampled_from([1, 1, 50])), data.draw(st.booleans())
            open_tickets.append(scheduler.submit(now, path, data.draw(st.sampled_from(Verb)), cost, retry))
        elif step == "release":
            scheduler.release(now)
        elif open_tickets:
            ticket = open_tickets.pop(data.draw(st.integers(0, len(open_tickets) - 1)))
            outcome = data.draw(st.sampled_from(Outcome)) if ticket.released else Outcome.WITHDRAWN
            scheduler.report(now, ticket, outcome)
            scheduler.report(now, ticket, Outcome.THROTTLED)  # a second time changes nothing
        queued = sum(not ticket.released for ticket in open_tickets)
        assert scheduler.queued == queued
        assert sum(node.queued for node in scheduler.nodes() if len(node.path) == 1) == queued
        flying = sum(ticket.released for ticket in open_tickets)
        assert sum(node.in_flight for node in scheduler.nodes() if len(node.path) == 1) == flying
    for _ in range(4000):
        if (when := scheduler.next_release(now)) is None:
            break
        now = when
        for ticket in scheduler.release(now):
            scheduler.report(now, ticket, Outcome.ACCEPTED)
            open_tickets.remove(ticket)
        while (sent := next((ticket for ticket in open_tickets if ticket.released), None)) is not None:
            scheduler.report(now, sent, Outcome.FAILED)
            open_tickets.remove(sent)
    assert scheduler.queued == 0
    for ticket in open_tickets:
        assert ticket.released
        scheduler.report(now, ticket, Outcome.WITHDRAWN)
    assert all(node.queued == 0 and node.in_flight == 0 for node in scheduler.nodes())


def test_a_withdrawn_ticket_is_never_released() -> None:
    scheduler = learned(10.0)
    scheduler.submit(0.0, A, Verb.WRITE)
    gone, stays = (scheduler.submit(0.0, A, Verb.WRITE) for _ in range(2))
    scheduler.report(0.01, gone, Outcome.WITHDRAWN)
    assert [ticket for _, ticket in drain(scheduler, 5.0)] == [stays]
    assert scheduler.queued == 0


def test_a_probe_whose_answer_never_comes_does_not_stop_the_rest() -> None:
    scheduler = learned(100.0)
    for now in (0.0, 0.02):
        ticket = scheduler.submit(now, A, Verb.WRITE)
        scheduler.report(now + 0.005, ticket, Outcome.THROTTLED)
    tickets = [scheduler.submit(0.03, A, Verb.WRITE) for _ in range(3)]
    now = 0.03
    while now < 5.0 and (when := scheduler.next_release(now)) is not None:
        now = when
        scheduler.release(now)
    assert sum(ticket.released for ticket in tickets) >= 2


def test_many_slow_answers_do_not_hold_a_cold_start_back() -> None:
    scheduler = RequestScheduler(RateSettings())
    tickets = [scheduler.submit(0.0, A, Verb.WRITE) for _ in range(64)]
    now = 0.0
    while (when := scheduler.next_release(now)) is not None and when < 4.0:
        now = when
        scheduler.release(now)
    assert all(ticket.released for ticket in tickets)


def test_keys_directly_in_the_bucket_do_not_starve_those_in_folders() -> None:
    scheduler = learned(10.0, ("lake",), plateau_seconds=1e9)
    for _ in range(100):
        scheduler.submit(0.0, ("lake",), Verb.WRITE, payload="top")
    inside = scheduler.submit(0.0, A, Verb.WRITE)
    drain(scheduler, 0.5)
    assert inside.released


def test_the_number_of_remembered_places_is_bounded_and_learned_ones_stay_longer() -> None:
    scheduler = learned(33.0, max_nodes=100)
    for i in range(1000):
        ticket = scheduler.submit(float(i), ("lake", f"p{i}", "x", "y"), Verb.WRITE)
        scheduler.report(i + 0.1, ticket, Outcome.ACCEPTED)
        assert len(scheduler.nodes()) <= 104
    assert scheduler.rate(A, Verb.WRITE) == 33.0


def test_a_place_with_work_is_never_forgotten() -> None:
    scheduler = RequestScheduler(RateSettings(max_nodes=20))
    busy = scheduler.submit(0.0, A, Verb.WRITE)
    for i in range(200):
        scheduler.report(i, scheduler.submit(i, (f"b{i}",), Verb.READ), Outcome.ACCEPTED)
    assert sum(node.in_flight for node in scheduler.nodes() if node.path == A) == 1
    scheduler.report(300.0, busy, Outcome.ACCEPTED)


def test_learned_limits_survive_a_restart() -> None:
    before = Simulation(World(40.0, seconds=15.0))
    before.run()
    saved = json.loads(json.dumps(before.schedulers[0].to_json(before.now, 5000.0)))
    after = RequestScheduler(RateSettings())
    after.restore(saved, 3.0, 5600.0)
    rate = after.rate(A, Verb.WRITE)
    assert rate == pytest.approx(before.schedulers[0].rate(A, Verb.WRITE))
    assert 30 <= rate <= 50
    late = RequestScheduler(RateSettings())
    late.restore(saved, 3.0, 5000.0 + 2 * 86_400.0)
    assert late.rate(A, Verb.WRITE) == RateSettings().initial


@pytest.mark.parametrize(
    "damaged",
    [None, [], {}, {"format": 2, "limits": []}, {"format": 1, "limits": [{"path": ["a"]}]}, {"format": 1, "limits": 3}],
)
def test_damaged_state_is_refused_whole(damaged: object) -> None:
    scheduler = RequestScheduler(RateSettings())
    with pytest.raises(ValueError, match="saved limits are damaged"):
        scheduler.restore(damaged, 0.0, 0.0)
    assert scheduler.nodes() == []
