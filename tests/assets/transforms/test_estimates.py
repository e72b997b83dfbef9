"""Estimates: the interval covers the truth as often as it says, and the team's case comes out."""

from decimal import Decimal

import numpy as np
import pytest

from assets.transforms.estimates import TEAMS_CASE, Interval, Offer, Workload, exact, options, total_tokens

TOGETHER = Offer("together", "llama-3.1-70b", "live", Decimal("0.88"), Decimal("0.88"), context=131_072)


def corpus(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Bytes and tokens of 40,000 texts: short posts, long texts among short ones, two scripts."""
    chance = np.random.default_rng(5)
    sizes = np.maximum(3, chance.lognormal(4.2 if kind != "heavy" else 3.5, 0.7 if kind != "heavy" else 1.2, 40_000))
    sizes = sizes.astype(int)
    ratio = chance.normal(0.25, 0.05, 40_000).clip(0.1, 0.9)
    if kind == "scripts":
        ratio = np.where(chance.random(40_000) < 0.3, ratio * 1.8, ratio)
    return sizes, np.maximum(1, sizes * ratio).astype(int)


@pytest.mark.parametrize("kind", ["posts", "heavy", "scripts"])
def test_the_interval_of_a_one_percent_sample_covers_the_truth(kind: str) -> None:
    sizes, tokens = corpus(kind)
    chance, covered = np.random.default_rng(1), 0
    for _ in range(500):
        sample = chance.choice(len(sizes), len(sizes) // 100, replace=False)
        found = total_tokens(sizes[sample].tolist(), tokens[sample].tolist(), int(sizes.sum()), len(sizes))
        covered += found.low <= tokens.sum() <= found.high
    assert 0.86 <= covered / 500 <= 0.95


def test_a_whole_corpus_is_exact_and_an_empty_sample_is_wide() -> None:
    sizes, tokens = corpus("posts")
    whole = total_tokens(sizes.tolist(), tokens.tolist(), int(sizes.sum()), len(sizes))
    assert whole.low == pytest.approx(tokens.sum()) == pytest.approx(whole.high)
    prior = total_tokens([], [], int(sizes.sum()), len(sizes))
    assert prior.low < tokens.sum() < prior.high


def test_the_teams_case_is_170_thousand_dollars_and_half_in_batches() -> None:
    batch = Offer("together", "llama-3.1-70b", "batch", Decimal("0.44"), Decimal("0.44"))
    cheapest, live = options(TEAMS_CASE, [TOGETHER, batch], 1e6)
    assert round(live.usd.value, -3) == 170_000
    assert round(cheapest.usd.value, -3) == 85_000
    assert live.fits is False


def test_options_are_sorted_and_retired_models_come_last() -> None:
    workload = Workload("w", 10, Interval(1_000, 900, 1_100), 150)
    cheap = Offer("a", "m", "live", Decimal("0.01"), Decimal("0.01"), retired="2024", context=10_000)
    found = options(workload, [cheap, TOGETHER], 60_000)
    assert [option.offer.provider for option in found] == ["together", "a"]
    assert found[0].fits
    assert found[0].usd.value == pytest.approx(0.88e-6 * (1_000 + 3_500 + 2_000))
    assert found[0].usd.low < found[0].usd.value < found[0].usd.high
    assert found[0].hours == pytest.approx(6_500 / 60_000 / 60)


def test_counted_tokens_have_no_interval() -> None:
    assert exact(5) == Interval(5, 5, 5)
