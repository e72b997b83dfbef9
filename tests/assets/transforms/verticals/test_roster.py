"""The roster on sets with known truth, and each of its rules."""

import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, landau

from assets.transforms.verticals.intervals import Share, correlation, f1, percentiles, resampled, shares, wilson
from assets.transforms.verticals.roster import (
    DROP,
    ERROR,
    NEEDS_LABELS,
    SHIP,
    Bar,
    Decision,
    Measured,
    Override,
    decide,
    levels_of,
)
from tests.worlds.roster_trials import CLEAR, HARDEST, TEN, trial

BAR = Bar(0.7, 0.5)
SEEDS = range(20)


def share(hits: float, trials: float) -> Share:
    return Share(hits, trials, trials)


def measured(right: float, called: float, members: float) -> Measured:
    return Measured(share(right, called), share(right, members))


def decided(found: Measured, **how: object) -> Decision:
    (one,) = decide({"food": found}, {"food": BAR}, **how)  # type: ignore[arg-type]
    return one


def test_of_simulated_sets_few_ship_a_vertical_below_its_bar_and_intervals_hold() -> None:
    found = [trial(seed, [BAR] * 33, positives=500) for seed in SEEDS]
    assert sum(one.wrong for one in found) <= 1
    assert sum(one.covered for one in found) / sum(one.intervals for one in found) >= 0.93
    assert sum(one.shipped[TEN] for one in found) / sum(one.decided[TEN] for one in found) >= 0.8
    assert sum(one.shipped[CLEAR] for one in found) / sum(one.decided[CLEAR] for one in found) >= 0.6


def test_verticals_just_below_their_bar_are_rarely_shipped() -> None:
    assert sum(trial(seed, [BAR] * 33, 100, HARDEST).wrong for seed in range(40)) <= 4


@pytest.mark.parametrize(("count", "good"), [(1, 0), (5, 0), (33, 0), (5, 3)])
def test_all_verticals_at_their_bar_together_are_shipped_at_most_at_the_error(count: int, good: int) -> None:
    chance = np.random.default_rng(count)
    uniform, wrong, draws = chance.random((1_500, count)), 0, 1_500
    for values in uniform:
        named = {f"v{place}": float(value) for place, value in enumerate(values)}
        levels = levels_of(named | {f"good{place}": 1e-4 for place in range(good)})
        wrong += any(value <= levels[name] for name, value in named.items())
    assert 0.5 * ERROR <= wrong / draws <= ERROR + 0.015


def test_a_level_is_that_of_the_harmonic_mean_in_every_group() -> None:
    found = levels_of({"first": 0.03, "second": 0.045, "third": 0.09})
    pair, least = 2 * (math.log(2) + 0.874 + math.pi / 2 * landau.isf(0.05)), 1 / 0.05
    triple = 3 * (math.log(3) + 0.874 + math.pi / 2 * landau.isf(0.05))
    groups = [least, pair - 0.9 / 0.09, triple - 0.9 / 0.09 - 0.9 / 0.045]
    assert found["first"] == pytest.approx(0.9 / max(groups), rel=1e-3)


def test_verticals_above_their_bar_support_each_other() -> None:
    assert levels_of({"good": 0.03, "other": 0.04})["good"] > levels_of({"good": 0.03, "other": 0.4})["good"]
    assert levels_of({"good": 0.03, **{f"clear{place}": 0.0 for place in range(9)}})["good"] == pytest.approx(0.045)


def test_verticals_far_below_their_bar_cost_the_others_nothing() -> None:
    alone = levels_of({"good": 0.03})["good"]
    assert levels_of({"good": 0.03, **{f"bad{place}": 0.99 for place in range(30)}})["good"] == alone
    assert levels_of({"good": 0.03, "other": 0.6})["good"] < alone


def test_each_answer_has_its_sentence() -> None:
    shipped = decided(measured(95, 100, 110))
    assert (shipped.status, shipped.more_positives) == (SHIP, None)
    assert shipped.reason.startswith("Proved above its bar: precision 0.95 (0.89 to 0.98, bar 0.70), recall 0.86")
    dropped = decided(measured(40, 100, 60))
    assert (dropped.status, dropped.more_positives) == (DROP, None)
    assert "below its bar in precision" in dropped.reason
    open_ = decided(measured(16, 20, 28))
    assert open_.status == NEEDS_LABELS
    assert open_.more_positives
    assert f"About {open_.more_positives:,} more labelled members" in open_.reason
    unlabelled = decided(measured(0, 0, 0))
    assert (unlabelled.status, unlabelled.reason[:19]) == (NEEDS_LABELS, "No labelled member.")
    assert unlabelled.more_positives


def test_as_many_more_labels_as_are_asked_for_decide() -> None:
    first = decided(measured(16, 20, 28))
    scale = (28 + (first.more_positives or 0)) / 28 * 1.15
    assert decided(measured(16 * scale, 20 * scale, 28 * scale)).status == SHIP


def test_a_vertical_does_not_leave_by_chance_and_comes_back_when_earned() -> None:
    weak = measured(150, 200, 280)  # above the bar, not proved
    assert decided(weak).status == NEEDS_LABELS
    kept = decided(weak, shipped=["food"])
    assert (kept.status, kept.reason[:37]) == (SHIP, "It ships and still holds its bar: pre")
    assert decided(measured(138, 200, 280), shipped=["food"]).status != SHIP
    assert decided(measured(190, 200, 280)).status == SHIP


def test_a_person_overrides_both_ways_and_the_labels_still_speak() -> None:
    no = Override("drop", dt.date(2026, 1, 2), "Weak.")
    found = decided(measured(95, 100, 110), overrides={"food": no})
    assert (found.status, found.earned, found.override) == (DROP, SHIP, no)
    assert found.reason.startswith("Decided by a person on 2026-01-02: Weak. The labels say: ship. Proved above")
    yes = decided(measured(0, 0, 0), overrides={"food": Override("ship", dt.date(2026, 1, 2), "Demo.")})
    assert (yes.status, yes.earned) == (SHIP, NEEDS_LABELS)


@given(st.integers(1, 300).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_wilson_is_scipys(counts: tuple[int, int]) -> None:
    theirs = binomtest(*counts).proportion_ci(method="wilson")
    assert wilson(*counts) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(st.integers(1, 200), st.floats(0.05, 0.95), st.data())
def test_evidence_is_the_mid_p_of_the_binomial(trials: int, bar: float, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, trials))
    above = binomtest(hits, trials, bar, alternative="greater").pvalue
    beyond = binomtest(hits + 1, trials, bar, alternative="greater").pvalue if hits < trials else 0.0
    found = share(hits, trials)
    assert found.evidence_above(bar) == pytest.approx((above + beyond) / 2, abs=1e-9)
    assert found.evidence_above(bar) + found.evidence_below(bar) == pytest.approx(1.0, abs=1e-9)


def test_posts_of_one_account_are_not_as_many_witnesses() -> None:
    alike = np.array([[10.0], [0.0], [10.0], [0.0], [10.0]] * 8)
    mixed = np.full((40, 1), 6.0)
    trials = np.full((40, 1), 10.0)
    assert correlation(alike[:, 0], trials[:, 0]) == pytest.approx(1.0)
    assert correlation(mixed[:, 0], trials[:, 0]) == 0.0
    assert shares(mixed, trials)[0].effective == pytest.approx(400)
    assert shares(alike, trials)[0].effective == pytest.approx(40, rel=0.01)
    low, high = shares(alike, trials)[0].interval
    assert high - low > 2 * np.subtract(*shares(mixed, trials)[0].interval[::-1])


def test_draws_are_of_whole_accounts() -> None:
    counts = np.zeros((50, 1, 3))
    counts[:, 0] = [3.0, 4.0, 5.0]
    sums = resampled(counts, 150)
    assert sums.shape == (150, 1, 3)
    assert (sums == counts.sum(axis=0)).all()
    assert percentiles(f1(sums[:, 0, 0], sums[:, 0, 1], sums[:, 0, 2])) == pytest.approx((2 / 3, 2 / 3))
