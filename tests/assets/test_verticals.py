"""Features, scores, thresholds and tags."""

from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.verticals.accounts import score_accounts
from assets.transforms.verticals.scoring import score
from assets.transforms.verticals.taggers.features import features, similarity, standardise
from assets.transforms.verticals.taggers.zero_shot import ZeroShot
from assets.transforms.verticals.thresholds import best_threshold, fit, fit_each, tag, thresholds_of

EAST, NORTH, DIAGONAL = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
CATALOGUE = {"east": EAST[None], "either": np.stack([EAST, NORTH])}


def test_a_vertical_is_almost_as_near_as_the_nearest_of_its_descriptions() -> None:
    found = similarity(np.stack([EAST, DIAGONAL]), CATALOGUE)
    assert np.allclose(found[:, 0], [1, 0.6])
    assert 0.5 < found[0, 1] < 1, "between the mean and the nearest"
    assert 0.7 < found[1, 1] < 0.8
    narrow = similarity(np.array([[0.05, np.sqrt(1 - 0.05**2)]], np.float32), {"both": np.stack([EAST, NORTH])})
    assert narrow < similarity(NORTH[None], {"both": np.stack([NORTH, NORTH])})


def test_a_post_is_its_best_chunk_and_the_mean_of_their_vectors() -> None:
    chunks = pl.DataFrame({"post_id": ["q", "p", "p"], "chunk_no": [0, 1, 0], "text_language": ["en", None, None]})
    posts, found = features(chunks, np.stack([EAST, DIAGONAL, NORTH]), {"east": EAST[None], "north": NORTH[None]})
    assert posts["post_id"].to_list() == ["p", "q"]
    # p's best chunks: east 0.6, north 1.0; q: east 1.0, north 0.0. Of two numbers each is one deviation from the mean.
    assert np.allclose(found.nearness, [[-1, 1], [1, -1]])
    assert np.allclose(found.vectors, [(NORTH + DIAGONAL) / np.linalg.norm(NORTH + DIAGONAL), EAST])
    assert found.languages.tolist() == ["", "en"]


def test_standardising_keeps_the_order_and_forgets_level_and_scale() -> None:
    cosines = np.array([[0.1, 0.2, 0.6], [0.3, 0.4, 0.8], [0.05, 0.1, 0.3], [0.5, 0.5, 0.5]])
    found = standardise(cosines)
    assert np.allclose(found[0], [-0.9258, -0.4629, 1.3887], atol=1e-3)
    assert np.allclose(found[0], found[1], atol=1e-5)
    assert np.allclose(found[0], found[2], atol=1e-5)
    assert (found[3] == 0).all()


def scored(chunks: pl.DataFrame, vectors: np.ndarray, catalogue: dict[str, np.ndarray]) -> pl.DataFrame:
    posts, found = features(chunks, vectors, catalogue)
    none = np.full((len(found), len(catalogue)), np.nan)
    tagger = ZeroShot([0.5] * len(catalogue)).fit(found, none, np.full(len(found), "a"))
    return score(posts, found, {"zero_shot": tagger})


def test_no_chunks_no_scores() -> None:
    texts = dict.fromkeys(["account_id", "post_id", "text_hash", "text_language"], pl.String)
    chunks = pl.DataFrame(schema={"account_bucket": pl.Int32, "chunk_no": pl.Int32, **texts})
    found = scored(chunks, np.empty((0, 2), np.float32), CATALOGUE)
    assert found.is_empty()
    assert score_accounts(
        found, pl.DataFrame(schema={"item_id": pl.String, "posted_at": pl.Datetime("us", "UTC")})
    ).is_empty()


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


def test_an_item_is_called_by_a_threshold_that_took_no_part() -> None:
    scores = np.array([0.9, 0.8, 0.2, 0.1])
    member = np.array([True, True, False, False])
    threshold, called = fit(scores, member, np.array([0, 1, 0, 1]), 0.5)
    assert (threshold, called.tolist()) == (0.5, [True, True, False, False])
    # Without fold 1 the only member is at 0.9, and the threshold lies above fold 1's member.
    _, called = fit(np.array([0.9, 0.4, 0.3]), np.array([True, True, False]), np.array([0, 1, 0]), 0.6)
    assert called.tolist() == [True, False, False]


def test_a_fold_without_members_outside_it_is_not_called() -> None:
    assert not fit(np.array([0.9, 0.1]), np.array([True, False]), np.array([0, 1]), 0.5)[1].any()


def test_few_members_draw_a_threshold_to_the_common_one() -> None:
    scores, member = np.array([0.9, 0.1]), np.array([True, False])
    few, _ = fit(scores, member, np.zeros(2, np.int64), 0.2)
    many, _ = fit(np.tile(scores, 200), np.tile(member, 200), np.zeros(400, np.int64), 0.2)
    assert 0.2 < few < 0.3
    assert many == pytest.approx(0.5, abs=0.01)


@given(labelled, st.randoms(use_true_random=False))
def test_a_fit_does_not_depend_on_row_order(rows: list[tuple[float, bool]], random: Random) -> None:
    numbered = [(score, member, number % 3, number) for number, (score, member) in enumerate(rows)]
    shuffled = random.sample(numbered, len(numbered))

    def fitted(of: list[tuple[float, bool, int, int]]) -> tuple[float, list[int]]:
        scores, member, folds = (np.array([row[place] for row in of]) for place in range(3))
        threshold, called = fit(scores, member, folds, 0.3)
        return threshold, sorted(row[3] for row, is_called in zip(of, called, strict=True) if is_called)

    assert fitted(numbered) == fitted(shuffled)


def judged(members: int, others: int, method: str = "zero_shot") -> pl.DataFrame:
    rows = [(method, "post", f"m{n}", f"m{n}", "food", True, 0.5 + n / 100) for n in range(members)]
    rows += [(method, "post", f"o{n}", f"o{n}", "food", False, 0.1 + n / 100) for n in range(others)]
    columns = ["method", "item_kind", "item_id", "account_id", "vertical", "is_member", "probability"]
    return pl.DataFrame(rows, schema=columns, orient="row")


@pytest.mark.parametrize(("members", "others", "fitted"), [(5, 5, True), (4, 5, False), (5, 4, False)])
def test_a_threshold_is_fitted_where_there_are_enough_labels(members: int, others: int, fitted: bool) -> None:
    calls = fit_each(judged(members, others))
    frame = thresholds_of(calls, ["food", "pets"], {"post": "zero_shot", "account": "zero_shot"}, "zero_shot")
    rows = {(row["item_kind"], row["vertical"]): row for row in frame.iter_rows(named=True)}
    assert len(rows) == 4
    food = rows["post", "food"]
    assert (food["fitted"], food["members"], food["non_members"]) == (fitted, members, others)
    assert food["threshold"] == pytest.approx(0.32 if fitted else 0.5)
    assert food["f1"] == (1.0 if fitted else None)
    assert (rows["account", "pets"]["threshold"], rows["account", "pets"]["members"]) == (0.5, 0)


def test_the_chosen_method_tags_where_it_has_labels_and_the_first_elsewhere() -> None:
    calls = fit_each(pl.concat([judged(5, 5), judged(6, 5, "probe").with_columns(vertical=pl.lit("cars"))]))
    frame = thresholds_of(calls, ["cars", "food"], {"post": "probe"}, "zero_shot")
    assert frame.select("vertical", "method", "members").rows() == [("cars", "probe", 6), ("food", "zero_shot", 5)]


def test_an_item_is_tagged_at_its_threshold_by_the_method_of_its_vertical() -> None:
    scores = pl.DataFrame(
        {
            "account_bucket": 0,
            "item_kind": ["post", "post", "account", "post"],
            "item_id": ["p", "q", "a", "r"],
            "account_id": "a",
            "method": ["zero_shot", "zero_shot", "zero_shot", "probe"],
            "scores": [[1.0, 0.3], [0.0, 0.29], [0.0, 0.9], [0.0, 0.8]],
            "scores_low": [None, None, [0.0, 0.4], None],
            "scores_high": [None, None, [0.2, 0.98], None],
        }
    )
    limits = {"item_kind": ["post", "account"], "vertical": "food", "method": "zero_shot", "threshold": [0.3, 0.95]}
    thresholds = pl.DataFrame(limits)
    roster = thresholds.select("item_kind", "vertical", status=pl.lit("ship"))
    assert tag(scores, thresholds, ["cars", "food"], roster.with_columns(status=pl.lit("drop"))).is_empty()
    found = tag(scores, thresholds, ["cars", "food"], roster)
    columns = ["item_id", "vertical", "score", "score_low", "score_high", "threshold"]
    assert found.select(columns).rows() == [("p", "food", 0.3, None, None, 0.3)]
    lower = thresholds.with_columns(threshold=pl.lit(0.5))
    found = tag(scores, lower, ["cars", "food"], roster)
    assert found.select(columns).rows() == [("a", "food", 0.9, 0.4, 0.98, 0.5)]


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
            "posted_at": [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=n % 311) for n in range(900)],
            "chunk_no": range(900),
            "text_language": "en",
        }
    )

    def both(chunks: pl.DataFrame, vectors: np.ndarray) -> pl.DataFrame:
        posts = scored(chunks, vectors, catalogue)
        posted = chunks.select("posted_at", item_id="post_id").unique("item_id")
        return pl.concat([posts, score_accounts(posts[draw.permutation(posts.height)], posted)]).sort(order)

    order = ["item_kind", "item_id", "account_id"]
    expected = both(chunks, vectors)
    for _ in range(5):
        shuffled = draw.permutation(900)
        assert both(chunks[shuffled], vectors[shuffled]).equals(expected)
    few = (chunks["account_id"] == "a3").to_numpy()
    alone = both(chunks.filter(few), vectors[few])
    assert alone.equals(expected.filter(pl.col("account_id") == "a3"))
