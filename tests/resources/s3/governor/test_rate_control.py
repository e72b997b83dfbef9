"""The rate algorithm against the simulated S3: it converges, follows jumps, shares with other hosts, wastes little."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resources.s3.governor.rate_control import LearnedRate, RateSettings, Verb
from tests.fakes.rate_simulator import SERVERS, Kind, World, jain, simulate

FEW = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
SERVER_KINDS = st.sampled_from(sorted(SERVERS))


@FEW
@given(
    limit=st.floats(10.0, 400.0), server=SERVER_KINDS, rtt=st.floats(0.001, 0.03), workers=st.sampled_from([8, 64, 128])
)
def test_an_unknown_limit_is_found_and_kept(limit: float, server: str, rtt: float, workers: int) -> None:
    kind, capacity = SERVERS[server]
    result = simulate(World(round(limit), kind, capacity, rtt=rtt, workers=workers, seconds=20.0))
    late = sum(result.per_second[10:20]) / (10 * round(limit))
    assert result.goodput >= 0.85, (result.per_second, result.throttled_per_second)
    assert late >= 0.85, result.per_second
    assert result.wasted <= 0.12, result.throttled_per_second


@pytest.mark.parametrize("server", sorted(SERVERS))
def test_the_bar_at_twenty_a_second_cold_start_included(server: str) -> None:
    kind, capacity = SERVERS[server]
    results = [simulate(World(20.0, kind, capacity, seconds=25.0, seed=seed)) for seed in range(4)]
    assert sorted(result.goodput for result in results)[1] >= 0.92
    assert sorted(result.wasted for result in results)[2] <= 0.08
    assert min(result.goodput for result in results) >= 0.88


@pytest.mark.parametrize(
    ("limit", "verb", "seconds"), [(2.0, Verb.WRITE, 40.0), (3500.0, Verb.WRITE, 6.0), (5500.0, Verb.READ, 6.0)]
)
def test_the_ends_of_the_range(limit: float, verb: Verb, seconds: float) -> None:
    result = simulate(World(limit, "bucket", 0.25, seconds=seconds, verb=verb))
    end = result.per_second[int(seconds) // 2 : int(seconds)]
    assert sum(end) / (limit * len(end)) >= 0.8, result.per_second
    assert result.throttled <= max(15, 0.03 * result.answers)


@pytest.mark.parametrize("kind", ["bucket", "fixed", "sliding"])
@pytest.mark.parametrize(("before", "after"), [(400.0, 40.0), (40.0, 400.0), (200.0, 20.0), (100.0, 150.0)])
def test_a_limit_that_jumps_is_followed(before: float, after: float, kind: Kind) -> None:
    result = simulate(World(before, kind, 1.0, seconds=42.0, jumps=((12.0, after),)))
    assert sum(result.per_second[36:42]) / (6 * after) >= 0.8, result.per_second
    assert sum(result.throttled_per_second[36:42]) <= 0.1 * 6 * after, result.throttled_per_second


@pytest.mark.parametrize("hosts", [2, 4, 8, 16])
def test_hosts_that_do_not_know_of_each_other_share_the_limit(hosts: int) -> None:
    result = simulate(World(200.0, hosts=hosts, workers=16, seconds=40.0))
    assert result.goodput >= 0.92
    assert result.wasted <= 0.08
    assert result.fairness >= 0.35
    assert min(result.by_host) > 0


@FEW
@given(server=SERVER_KINDS, limit=st.sampled_from([20.0, 60.0, 200.0]), children=st.sampled_from([4, 16, 64]))
def test_the_boundary_may_lie_above_the_depth(server: str, limit: float, children: int) -> None:
    kind, capacity = SERVERS[server]
    folders = tuple(("lake", f"t{i}", f"b{i % 8}", "p") for i in range(children))
    result = simulate(World(limit, kind, capacity, boundary=1, folders=folders, workers=128, seconds=20.0))
    assert result.goodput >= 0.85, result.per_second
    assert result.wasted <= 0.1, result.throttled_per_second


@FEW
@given(
    server=st.sampled_from(["bucket .05s", "bucket .25s", "bucket 1s", "bucket 2s"]),
    limit=st.sampled_from([20.0, 60.0, 200.0]),
    children=st.sampled_from([2, 4, 8]),
)
def test_the_boundary_may_lie_below_the_depth(server: str, limit: float, children: int) -> None:
    kind, capacity = SERVERS[server]
    folders = tuple(("lake", "posts", "raw", f"g{i}") for i in range(children))
    result = simulate(World(limit, kind, capacity, boundary=4, folders=folders, workers=128, seconds=20.0))
    assert result.goodput >= 0.85, result.per_second
    assert result.wasted <= 0.08, result.throttled_per_second


def test_an_unlimited_server_is_given_the_ceiling_and_never_more() -> None:
    limited = RateSettings(write_ceiling=800.0)
    result = simulate(World(1e5, seconds=6.0, settings=limited))
    assert result.throttled == 0
    assert 780 <= max(result.per_second) <= 818


def test_a_slow_client_does_not_inflate_the_rate_and_an_idle_one_saves_nothing_up() -> None:
    slow = simulate(World(1000.0, open_rate=20.0, seconds=20.0))
    assert slow.schedulers[0].rate(("lake", "posts", "raw"), Verb.WRITE) == RateSettings().initial
    idle = simulate(World(50.0, "bucket", 0.05, seconds=30.0, idle=(10.0, 25.0)))
    after = [when for when, _, _ in idle.sends if 25.0 <= when < 25.2]
    assert len(after) <= 0.2 * 60 + 2
    assert sum(idle.throttled_per_second[25:30]) <= 10


@given(st.lists(st.tuples(st.sampled_from(["accepted", "throttled", "bound"]), st.floats(0.0, 0.5)), max_size=200))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_rate_stays_between_floor_and_ceiling_whatever_happens(events: list[tuple[str, float]]) -> None:
    chosen = RateSettings(write_ceiling=900.0)
    rate = LearnedRate(chosen, 900.0)
    now = 0.0
    for event, pause in events:
        now += pause
        assert rate.ready_at(now) <= now + 1.0 / chosen.floor
        rate.charge(now, 1, waited=event == "bound")
        rate.in_flight -= 1
        if event == "throttled":
            rate.throttled(now + 0.01, now)
        else:
            rate.accepted(now + 0.01, now, 1, bound=event == "bound")
        assert chosen.floor <= rate.rate <= 900.0


def test_a_503_lowers_the_rate_once_for_all_that_were_sent_before_it() -> None:
    rate = LearnedRate(RateSettings(), 3500.0)
    rate.restore(100.0)
    assert rate.throttled(1.0, 0.9)
    once = rate.rate
    assert 85.0 <= once <= 95.0
    assert not rate.throttled(1.01, 0.95)
    assert rate.rate == once


def test_jains_index() -> None:
    assert jain([5, 5, 5]) == pytest.approx(1.0)
    assert jain([9, 0, 0]) == pytest.approx(1 / 3)
