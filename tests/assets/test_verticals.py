"""Scores, thresholds and tags."""

from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.verticals import scoring
from assets.transforms.verticals.scoring import by_vertical, score, score_accounts
from assets.transforms.verticals.thresholds import best_threshold, fit, fit_thresholds, tag

EAST, NORTH, DIAGONAL = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
CATALOGUE = {"east": EAST[None], "either": np.stack([EAST, NORTH])}


def test_a_vertical_scores_by_its_nearest_description() -> None:
    found = scoring.similarity(np.stack([EAST, DIAGONAL]), CATALOGUE)
    assert np.allclose(found, np.array([[1, 1], [0.6, 0.8]]))


def test_a_post_is_its_best_chunk_and_an_account_the_mean_of_its_posts() -> None:
    chunks = pl.DataFrame({"account_bucket": 0, "account_id": ["a"] * 3, "post_id": ["p", "p", "q"]})
    chunks = chunks.with_columns(text_hash="post_id")
    catalogue = {"east": EAST[None], "north": NORTH[None]}
    # p's best chunks: east 0.6, north 1.0; q: east 1.0, north 0.0. Of two numbers each is one deviation from the mean.
    posts = score(chunks, np.stack([NORTH, DIAGONAL, EAST]), catalogue)
    assert posts.columns == [
        "account_bucket", "item_kind", "item_id", "account_id", "scores", "text_hash",
    ]  # fmt: skip
    found = pl.concat([posts, score_accounts(posts)])
    assert found["text_hash"].to_list() == ["p", "q", None]
    assert set(found.select("account_bucket", "account_id").iter_rows()) == {(0, "a")}
    named = by_vertical(found.lazy(), ["east", "north"]).collect()
    assert {tuple(row) for row in named.select("item_kind", "item_id", "vertical", "score").iter_rows()} == {
        ("post", "p", "east", -1.0), ("post", "p", "north", 1.0),
        ("post", "q", "east", 1.0), ("post", "q", "north", -1.0),
        ("account", "a", "east", 0.0), ("account", "a", "north", 0.0),
    }  # fmt: skip


def test_standardising_keeps_the_order_and_forgets_level_and_scale() -> None:
    cosines = np.array([[0.1, 0.2, 0.6], [0.3, 0.4, 0.8], [0.05, 0.1, 0.3], [0.5, 0.5, 0.5]])
    found = scoring.standardise(cosines)
    assert np.allclose(found[0], [-0.9258, -0.4629, 1.3887], atol=1e-3)
    assert np.allclose(found[0], found[1], atol=1e-5)
    assert np.allclose(found[0], found[2], atol=1e-5)
    assert (found[3] == 0).all()


def test_no_chunks_no_scores() -> None:
    texts = dict.fromkeys(["account_id", "post_id", "text_hash"], pl.String)
    chunks = pl.DataFrame(schema={"account_bucket": pl.Int32, **texts})
    assert score_accounts(score(chunks, np.empty((0, 2), np.float32), CATALOGUE)).is_empty()
    assert score(chunks, np.empty((0, 2), np.float32), CATALOGUE).is_empty()


def f1_of(threshold: float, scores: np.ndarray, member: np.ndarray) -> float:
    called = scores >= threshold
    true, false, missed = (int(found.sum()) for found in (called & member, called & ~member, ~called & member))
    return 2 * true / (2 * true + false + missed)


labelled = st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), st.booleans()), min_size=1).filter(
    lambda rows: any(member for _, member in rows)
)


@given(labelled)
def test_no_threshold_beats_the_best(rows: list[tuple[float, bool]]) -> None:
    scores, member = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    best = best_threshold(scores, member)
    f1 = f1_of(best, scores, member)
    for other in scores:
        assert f1 >= f1_of(other, scores, member) - 1e-12
        if (scores >= other).sum() < (scores >= best).sum():
            assert f1 > f1_of(other, scores, member)


def test_f1_is_judged_on_folds_that_took_no_part() -> None:
    scores = np.array([0.9, 0.8, 0.2, 0.1])
    member = np.array([True, True, False, False])
    assert fit(scores, member, np.array([0, 1, 0, 1])) == (0.5, 1.0)
    # Fold 0 alone sets the bar at 0.6, above the member that fold 1 holds; fold 1 alone calls what is above 0.4.
    found = fit(np.array([0.9, 0.4, 0.3]), np.array([True, True, False]), np.array([0, 1, 0]))
    assert found[1] == pytest.approx(2 / 3)


def test_a_fold_without_members_outside_it_is_not_judged() -> None:
    assert fit(np.array([0.9, 0.1]), np.array([True, False]), np.array([0, 1])) == (0.5, 0.0)


@given(labelled, st.randoms(use_true_random=False))
def test_a_fit_does_not_depend_on_row_order(rows: list[tuple[float, bool]], random: Random) -> None:
    numbered = [(score, member, number % 3) for number, (score, member) in enumerate(rows)]
    shuffled = random.sample(numbered, len(numbered))
    first, second = (
        fit(np.array([row[0] for row in of]), np.array([row[1] for row in of]), np.array([row[2] for row in of]))
        for of in (numbered, shuffled)
    )
    assert first == second


def labelled_frame(members: int, others: int) -> pl.DataFrame:
    rows = [("post", "food", 0.5 + n / 100, True, f"m{n}") for n in range(members)]
    rows += [("post", "food", 0.1 + n / 100, False, f"o{n}") for n in range(others)]
    columns = ["item_kind", "vertical", "score", "is_member", "account_id"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.mark.parametrize(("members", "others", "fitted"), [(5, 5, True), (4, 5, False), (5, 4, False)])
def test_a_threshold_is_fitted_where_there_are_enough_labels(members: int, others: int, fitted: bool) -> None:
    frame = fit_thresholds(labelled_frame(members, others), {"food": 0.33, "pets": 0.22}, ["post", "account"])
    rows = {(row["item_kind"], row["vertical"]): row for row in frame.iter_rows(named=True)}
    assert len(rows) == 4
    food = rows["post", "food"]
    assert (food["fitted"], food["members"], food["non_members"]) == (fitted, members, others)
    assert food["threshold"] == pytest.approx(0.32 if fitted else 0.33)
    assert food["f1"] == (1.0 if fitted else None)
    assert rows["account", "pets"]["threshold"] == 0.22


def test_an_item_is_tagged_at_its_threshold() -> None:
    scores = pl.DataFrame(
        {
            "account_bucket": 0,
            "item_kind": ["post", "post", "account"],
            "item_id": ["p", "q", "a"],
            "account_id": "a",
            "scores": [[2.0, 0.3], [-1.0, 0.29], [0.0, 0.9]],
        }
    )
    thresholds = pl.DataFrame({"item_kind": ["post", "account"], "vertical": "food", "threshold": [0.3, 0.95]})
    found = tag(scores, thresholds, ["cars", "food"])
    assert found.select("item_id", "vertical", "score", "threshold").rows() == [("p", "food", 0.3, 0.3)]


def test_scores_do_not_depend_on_the_order_or_number_of_rows() -> None:
    draw = np.random.default_rng(3)
    vectors = draw.normal(size=(900, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    catalogue = {f"v{n}": vectors[n : n + 2] for n in range(6)}
    chunks = pl.DataFrame(
        {
            "account_bucket": 0,
            "account_id": [f"a{n % 7}" for n in range(900)],
            "post_id": [f"a{n % 7}p{n % 311}" for n in range(900)],
            "text_hash": [f"{n % 7}{n % 311}" for n in range(900)],
        }
    )

    def both(chunks: pl.DataFrame, vectors: np.ndarray) -> pl.DataFrame:
        posts = score(chunks, vectors, catalogue)
        return pl.concat([posts, score_accounts(posts[draw.permutation(posts.height)])]).sort(order)

    order = ["item_kind", "item_id", "account_id"]
    expected = both(chunks, vectors)
    for _ in range(5):
        shuffled = draw.permutation(900)
        assert both(chunks[shuffled], vectors[shuffled]).equals(expected)
    few = (chunks["account_id"] == "a3").to_numpy()
    alone = both(chunks.filter(few), vectors[few])
    assert alone.equals(expected.filter(pl.col("account_id") == "a3"))
