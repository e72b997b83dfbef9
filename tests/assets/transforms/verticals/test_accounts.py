"""Scores of accounts: recent posts count more, one post alone does not decide, and the interval says how sure it is."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.verticals.accounts import HALF_LIFE_DAYS, score_accounts
from assets.transforms.verticals.scoring import by_vertical, scored
from assets.transforms.verticals.taggers.interface import Floats

NEWEST = datetime(2026, 3, 1, tzinfo=UTC)
probabilities = st.lists(st.floats(0, 1).map(lambda value: round(value, 4)), min_size=1, max_size=30)


def account(
    scores: Sequence[Sequence[float | None]], ages: Sequence[float | None] | None = None
) -> dict[str, list[float | None]]:
    """Score one account; a post's age in days, None for a post without a time."""
    found = score_accounts(*posts_of(scores, ages))
    assert found.select("item_kind", "item_id", "account_id", "method", "text_hash").rows() == [
        ("account", "a", "a", "m", None)
    ]
    return {name: found[name][0].to_list() for name in ("scores", "scores_low", "scores_high")}


def posts_of(
    scores: Sequence[Sequence[float | None]], ages: Sequence[float | None] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    ids = [f"p{number:02}" for number in range(len(scores))]
    posts = pl.DataFrame({"account_bucket": 0, "account_id": "a", "post_id": ids, "text_hash": ""})
    values: Floats = np.array([[np.nan if value is None else value for value in row] for row in scores], dtype=float)
    times = [age if age is None else NEWEST - timedelta(days=age) for age in ages or [0.0] * len(ids)]
    posted = pl.DataFrame(
        {"item_id": ids, "posted_at": times}, schema_overrides={"posted_at": pl.Datetime("us", "UTC")}
    )
    return scored(posts, values, "m"), posted


def test_posts_of_one_day_count_alike_and_an_account_abstains_where_they_all_do() -> None:
    found = account([[0.2, None, None], [0.4, 0.5, None]])
    assert found["scores"] == [0.3, 0.5, None]
    assert found["scores_low"][2] is found["scores_high"][2] is None
    posts, posted = posts_of([[0.2], [0.4]])
    both = pl.concat([posts, score_accounts(posts, posted)])
    named = by_vertical(both.lazy(), ["x"]).collect()
    assert named.select("item_id", "vertical", "score").rows() == [
        ("p00", "x", 0.2),
        ("p01", "x", 0.4),
        ("a", "x", 0.3),
    ]


def test_a_post_counts_half_after_a_half_life_and_one_without_a_time_does_too() -> None:
    assert account([[0.9], [0.3]], [0, HALF_LIFE_DAYS])["scores"] == [0.7]
    assert account([[0.9], [0.3]], [0, None])["scores"] == [0.7]
    assert account([[0.9], [0.3]], [None, None])["scores"] == [0.6]


def test_what_counts_is_the_age_beside_the_accounts_newest_post() -> None:
    """So that a day without posts changes nothing."""
    assert account([[0.9], [0.3]], [1000, 1000 + HALF_LIFE_DAYS]) == account([[0.9], [0.3]], [0, HALF_LIFE_DAYS])


@pytest.mark.parametrize("others", [4, 5, 40])
def test_one_loud_post_does_not_decide(others: int) -> None:
    quiet = [[0.05] for _ in range(others)]
    assert account([*quiet, [1.0]])["scores"] == [0.05]
    assert account([*quiet, [1.0]], [*[400.0] * others, 0.0])["scores"] == [0.05], "even if it is the newest"
    assert account([*([0.9] for _ in range(others)), [0.0]])["scores"] == [0.9]


def test_two_loud_posts_are_heard_in_every_vertical_that_they_are_of() -> None:
    found = account([[0.9, 0.1], [0.8, 0.1], [0.1, 0.9], [0.1, 0.8], [0.1, 0.1], [0.1, 0.1]])["scores"]
    assert found == pytest.approx([1 / 3, 1 / 3], abs=1e-4)


def test_the_interval_narrows_with_posts_and_widens_where_few_of_them_are_recent() -> None:
    def width(count: int, old: int = 0) -> float:
        found = account([[0.5]] * count, [0.0] * (count - old) + [20 * HALF_LIFE_DAYS] * old)
        return (found["scores_high"][0] or 0) - (found["scores_low"][0] or 0)

    assert width(1) > width(4) > width(30)
    assert width(30, old=29) == pytest.approx(width(1), abs=0.02)


@given(probabilities, st.lists(st.none() | st.floats(0, 4000), min_size=30, max_size=30))
def test_a_score_lies_in_its_interval_and_among_its_posts(values: list[float], ages: list[float | None]) -> None:
    found = account([[value] for value in values], ages[: len(values)])
    [score, low, high] = [found[name][0] or 0.0 for name in ("scores", "scores_low", "scores_high")]
    assert 0 <= low <= score <= high <= 1
    assert min(values) - 1e-4 <= score <= max(values) + 1e-4
    mirrored = account([[1 - value] for value in values], ages[: len(values)])["scores"][0]
    assert mirrored == pytest.approx(1 - score, abs=2e-4)


def test_the_interval_covers_the_accounts_share_of_posts() -> None:
    """Of 400 accounts whose posts are clearly of a vertical or not, with shares from .1 to .9."""
    draw, hit = np.random.default_rng(5), 0
    for _ in range(400):
        share, count = draw.uniform(0.1, 0.9), int(draw.integers(3, 40))
        found = account([[value] for value in (draw.random(count) < share).astype(float).tolist()])
        hit += (found["scores_low"][0] or 0) <= share <= (found["scores_high"][0] or 0)
    assert hit / 400 >= 0.9
