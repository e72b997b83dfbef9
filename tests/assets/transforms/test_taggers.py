"""Taggers: calibration, the probe, cross-validation, and the choice of a method."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from assets.transforms.verticals.taggers.calibration import Calibration, calibrate
from assets.transforms.verticals.taggers.choice import choose, compare
from assets.transforms.verticals.taggers.contrastive import train
from assets.transforms.verticals.taggers.cross_validation import folds_of, held_out
from assets.transforms.verticals.taggers.interface import Floats, Posts
from assets.transforms.verticals.taggers.labels import judged, label_matrix
from assets.transforms.verticals.taggers.methods import methods, packed, unpacked
from assets.transforms.verticals.taggers.probe import Probe
from assets.transforms.verticals.taggers.zero_shot import ZeroShot, ZeroShotTagger

VERTICALS = ["cars", "food", "pets"]
METHODS = methods([1.0, 1.0, 1.0])


def made(posts: int, seed: int = 0) -> tuple[Posts, Floats, np.ndarray]:
    """Posts whose vector tells cars apart, whose nearness tells food apart; of pets nobody has labels."""
    draw = np.random.default_rng(seed)
    member = draw.random((posts, 2)) < 0.3
    vectors = draw.normal(size=(posts, 8)).astype(np.float32)
    vectors[:, 0] += 3 * member[:, 0]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    nearness = draw.normal(size=(posts, 3))
    nearness[:, 1] += 2 * member[:, 1]
    labels = np.full((posts, 3), np.nan)
    labels[:, :2] = member
    languages = np.where(draw.random(posts) < 0.5, "en", "es")
    return Posts(vectors, nearness, languages), labels, np.array([f"a{n % 60}" for n in range(posts)])


def loss(probabilities: Floats, labels: Floats) -> float:
    clipped = np.clip(probabilities, 1e-6, 1 - 1e-6)
    return float(-np.where(labels == 1, np.log(clipped), np.log(1 - clipped)).mean())


def test_calibrated_probabilities_mean_what_they_say() -> None:
    posts, labels, accounts = made(3_000)
    found = METHODS["zero_shot"].fit(posts, labels, accounts).probabilities(posts)
    for vertical in (0, 1):
        for low, high in ((0.0, 0.3), (0.3, 0.6)):
            inside = (found[:, vertical] >= low) & (found[:, vertical] < high)
            if inside.sum() > 200:
                assert found[inside, vertical].mean() == pytest.approx(labels[inside, vertical].mean(), abs=0.04)


def test_a_vertical_without_labels_keeps_the_catalogues_curve() -> None:
    posts, labels, accounts = made(300)
    taught = METHODS["zero_shot"].fit(posts, labels, accounts).probabilities(posts)
    untaught = METHODS["zero_shot"].fit(posts, np.full_like(labels, np.nan), accounts).probabilities(posts)
    assert np.array_equal(taught[:, 2], untaught[:, 2])
    assert np.array_equal(untaught >= 0.5, posts.nearness >= 1.0)
    assert loss(taught[:, :2], labels[:, :2]) < loss(untaught[:, :2], labels[:, :2])


def test_a_language_with_other_scores_has_another_curve_and_an_unknown_one_the_common() -> None:
    posts, labels, _ = made(2_000)
    shifted = posts.nearness + np.where(posts.languages == "es", 2.0, 0.0)[:, None]
    default = Calibration.default(np.ones(3), np.zeros(3))
    found = calibrate(shifted, labels, posts.languages, default)
    one = np.full((1, 3), 1.0)
    of_en, of_es, of_other = (found.probabilities(one, np.array([name]))[0, 1] for name in ("en", "es", "xx"))
    assert of_es < of_other < of_en


def test_the_probe_learns_what_descriptions_do_not_say_and_abstains_without_labels() -> None:
    posts, labels, accounts = made(600)
    others, truth, _ = made(600, seed=1)
    probe, zero_shot = (METHODS[name].fit(posts, labels, accounts) for name in ("probe", "zero_shot"))
    assert loss(probe.probabilities(others)[:, 0], truth[:, 0]) < 0.75 * loss(
        zero_shot.probabilities(others)[:, 0], truth[:, 0]
    )
    assert np.isnan(probe.probabilities(others)[:, 2]).all()
    assert probe.covers.tolist() == [True, True, False]
    assert not Probe().fit(posts, np.full_like(labels, np.nan), accounts).covers.any()


@pytest.mark.parametrize("name", list(METHODS))
def test_parameters_come_back_and_equal_fits_have_equal_bytes(name: str) -> None:
    posts, labels, accounts = made(200)
    tagger = METHODS[name].fit(posts, labels, accounts)
    assert packed(tagger) == packed(METHODS[name].fit(posts, labels, accounts))
    restored = unpacked(METHODS[name], packed(tagger))
    assert np.array_equal(restored.probabilities(posts), tagger.probabilities(posts), equal_nan=True)


@pytest.mark.parametrize("name", list(METHODS))
def test_a_post_is_scored_the_same_alone(name: str) -> None:
    posts, labels, accounts = made(200)
    tagger = METHODS[name].fit(posts, labels, accounts)
    together, alone = tagger.probabilities(posts)[7:9], tagger.probabilities(posts[7:9])
    assert np.allclose(together, alone, atol=1e-9, equal_nan=True)


def test_a_head_draws_members_together_and_apart_from_others_on_posts_that_it_did_not_see() -> None:
    draw = np.random.default_rng(0)
    member = draw.random(800) < 0.3
    vectors = draw.normal(size=(800, 32)).astype(np.float32)
    vectors[:, 0] += 1.5 * member
    head = train(vectors[:400], member[:400, None].astype(np.float64))
    centred = vectors[400:] - vectors[:400].mean(axis=0)
    before = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    unseen = member[400:]

    def gap(rows: Floats) -> float:
        same = rows[unseen] @ rows[unseen].T
        return float(same.mean() - (rows[unseen] @ rows[~unseen].T).mean())

    assert gap(head(vectors[400:])) > 1.2 * gap(before)
    assert np.allclose(np.linalg.norm(head(vectors), axis=1), 1)


def test_a_head_without_labels_is_the_identity() -> None:
    posts, labels, _ = made(20)
    assert np.allclose(train(posts.vectors, np.full_like(labels, np.nan))(posts.vectors), posts.vectors)


class Remembering(ZeroShot):
    """Zero-shot that says 1 for posts of accounts that it was fitted on, which it knows by their first number."""

    def fit(self, posts: Posts, labels: Floats, accounts: np.ndarray) -> ZeroShotTagger:
        seen = set(posts.vectors[:, 0].tolist())

        class Seen(ZeroShotTagger):
            def probabilities(self, posts: Posts) -> Floats:
                return np.array([[float(number in seen)] for number in posts.vectors[:, 0].tolist()])

        return Seen(super().fit(posts, labels, accounts).calibration)


def test_no_account_is_judged_by_a_tagger_that_saw_it() -> None:
    numbers = np.arange(400) % 40
    posts = Posts(numbers[:, None].astype(np.float32), np.zeros((400, 1)), np.full(400, "en"))
    accounts = np.array([f"a{n}" for n in numbers])
    assert not held_out(Remembering([1.0]), posts, np.ones((400, 1)), accounts).any()
    assert len(set(folds_of(accounts).tolist())) == 5


def test_a_post_takes_its_accounts_label_unless_it_has_its_own() -> None:
    posts = pl.DataFrame({"post_id": ["p", "q"], "account_id": ["a", "a"]})
    gold = pl.DataFrame(
        [("account", "a", "cars", True), ("post", "q", "cars", False), ("post", "q", "pets", True)],
        schema=["item_kind", "item_id", "vertical", "is_member"],
        orient="row",
    )
    assert np.array_equal(label_matrix(posts, gold, VERTICALS), [[1, np.nan, np.nan], [0, np.nan, 1]], equal_nan=True)


def test_labelled_items_are_judged_where_they_have_labels() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    posts = pl.DataFrame(
        {"account_bucket": 0, "account_id": "a", "post_id": ["p", "q"], "posted_at": now, "text_hash": ""}
    )
    gold = pl.DataFrame(
        [("account", "a", "cars", True), ("post", "q", "pets", False), ("post", "gone", "pets", True)],
        schema=["item_kind", "item_id", "vertical", "is_member"],
        orient="row",
    )
    found = judged(posts, np.array([[0.2, 0.5, 0.1], [0.4, 0.5, np.nan]]), "m", gold, VERTICALS)
    assert found.select("item_kind", "item_id", "vertical", "is_member", "probability").rows() == [
        ("account", "a", "cars", True, 0.3),
        ("post", "q", "pets", False, None),
    ]


def calls(right: dict[str, float], accounts: int = 200) -> pl.DataFrame:
    draw = np.random.default_rng(3)
    member = draw.random(accounts) < 0.5
    return pl.concat(
        [
            pl.DataFrame(
                {
                    "method": method,
                    "item_id": [f"i{n}" for n in range(accounts)],
                    "account_id": [f"a{n}" for n in range(accounts)],
                    "vertical": "food",
                    "is_member": member,
                    "is_called": member ^ (draw.random(accounts) > share),
                }
            )
            for method, share in right.items()
        ]
    )


def test_another_method_replaces_the_first_only_when_it_is_better_beyond_chance() -> None:
    assert choose(calls({"first": 0.7, "other": 0.9}), ["first", "other"]) == "other"
    assert choose(calls({"first": 0.7, "other": 0.72}), ["first", "other"]) == "first"
    assert choose(calls({"first": 0.9, "other": 0.7}), ["first", "other"]) == "first"
    assert choose(calls({"first": 0.9}), ["first", "other"]) == "first"
    found = compare(calls({"first": 0.7, "other": 0.9}), "first", "other")
    assert found.low < found.second - found.first < found.high


def test_an_interval_of_equal_methods_holds_zero() -> None:
    same = calls({"first": 0.8})
    both = pl.concat([same, same.with_columns(method=pl.lit("other"))])
    found = compare(both, "first", "other")
    assert (found.low, found.high) == (0, 0)
    assert compare(both.clear(), "first", "other").high == 0


def test_thresholds_of_the_catalogue_are_where_probability_is_a_half() -> None:
    posts = Posts(np.zeros((2, 4), np.float32), np.array([[2.0], [1.9]]), np.array(["", "en"]))
    tagger = ZeroShot([2.0]).fit(posts, np.full((2, 1), np.nan), np.array(["a", "b"]))
    found = tagger.probabilities(posts)[:, 0]
    assert found[0] == 0.5
    assert found[1] < 0.5
