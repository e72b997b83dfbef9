"""The measured quality of methods, on calls small enough to count by hand."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest

from assets.transforms.verticals.quality import WORST, confusions, methods, mistakes, quality, reliability

COLUMNS = ["item_id", "account_id", "vertical", "is_member", "probability", "is_called"]
NAMES = ["food", "pets", "travel"]
ROWS = [
    ("p1", "a", "food", True, 0.9, True),
    ("p1", "a", "pets", False, 0.1, False),
    ("p2", "a", "food", True, 0.4, False),
    ("p2", "a", "pets", True, 0.8, True),
    ("p3", "b", "food", False, 0.95, True),
    ("p3", "b", "pets", True, 0.3, False),
    ("p4", "b", "food", False, 0.2, False),
    ("p4", "b", "pets", False, 0.6, True),
]  # fmt: skip


def calls(rows: Sequence[tuple[object, ...]] = ROWS, kind: str = "post", method: str = "probe") -> pl.DataFrame:
    made = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    return made.with_columns(method=pl.lit(method), item_kind=pl.lit(kind), threshold=pl.lit(0.5))


def test_each_vertical_is_counted() -> None:
    found = {row["vertical"]: row for row in quality(calls(), NAMES).iter_rows(named=True)}
    assert set(found) == {"food", "pets"}  # travel has no labels
    food = found["food"]
    counts = [food[name] for name in ("members", "non_members", "called", "right", "accounts")]
    assert counts == [2, 2, 2, 1, 2]
    assert (food["precision"], food["recall"], food["f1"]) == (0.5, 0.5, 0.5)
    assert food["precision_low"] < 0.5 < food["precision_high"]
    assert food["f1_low"] <= 0.5 <= food["f1_high"]
    assert (food["confused_with"], food["confused_items"]) == ("pets", 1)
    assert found["pets"]["confused_with"] is None  # p4 is a member of nothing
    # Each probability alone in its tenth: |0.9−1|, |0.4−1|, |0.95−0| share a tenth with 0.9, |0.2−0|.
    assert food["calibration_error"] == pytest.approx((2 * abs(0.925 - 0.5) + 0.6 + 0.2) / 4)


def test_methods_and_kinds_are_measured_apart() -> None:
    perfect = [(*row[:4], float(bool(row[3])), row[3]) for row in ROWS]
    both = pl.concat([calls(), calls(perfect, method="llm"), calls(perfect, kind="account")])
    found = {(row["method"], row["item_kind"]): row for row in methods(both, NAMES).iter_rows(named=True)}
    assert len(found) == 3
    assert found["llm", "post"]["macro_f1"] == found["llm", "post"]["micro_f1"] == 1.0
    assert found["llm", "post"]["calibration_error"] == 0.0
    probe = found["probe", "post"]
    assert (probe["verticals"], probe["items"], probe["accounts"]) == (2, 4, 2)
    assert (probe["macro_f1"], probe["micro_f1"]) == (0.5, 0.5)
    assert quality(both, NAMES).height == 6


def test_intervals_are_wider_where_posts_come_from_few_accounts() -> None:
    chance = np.random.default_rng(5)
    right = np.repeat(chance.random(30) < 0.7, 20)
    rows = [(f"p{n}", f"a{n // 20}", "food", True, 0.9, bool(ok)) for n, ok in enumerate(right)]
    apart = [(item, item, *rest) for item, _, *rest in rows]
    few, many = (quality(calls(each), NAMES).row(0, named=True) for each in (rows, apart))
    assert few["recall"] == many["recall"]
    for name in ("recall", "f1"):
        assert few[f"{name}_high"] - few[f"{name}_low"] > 2.5 * (many[f"{name}_high"] - many[f"{name}_low"])


def test_a_draw_without_a_rare_vertical_says_nothing_of_it() -> None:
    rows = [(f"p{n}", f"a{n}", "food", True, 0.9, True) for n in range(20)]
    rows.append(("q", "a20", "pets", True, 0.9, True))
    [found] = methods(calls(rows), NAMES).iter_rows(named=True)
    assert (found["macro_f1"], found["macro_f1_low"], found["macro_f1_high"]) == (1.0, 1.0, 1.0)


def test_the_worst_mistakes_come_first_and_are_bounded() -> None:
    rows = [(f"p{n:03}", "a", "food", False, 0.5 + n / 200, True) for n in range(60)]
    rows += [("q", "a", "food", True, 0.1, False), ("r", "a", "food", True, 0.9, True)]
    found = mistakes(calls(rows)).sort("is_member", "rank")
    assert found.height == WORST + 1
    assert found["item_id"].to_list()[:2] == ["p059", "p058"]
    assert found["item_id"].to_list()[-1] == "q"


def test_scores_that_are_no_probabilities_have_no_calibration() -> None:
    rows = [(*row[:4], row[4] * 3, row[5]) for row in ROWS]
    assert quality(calls(rows), NAMES)["calibration_error"].null_count() == 2
    assert reliability(calls())["items"].sum() == 8


def test_nothing_labelled_nothing_measured() -> None:
    empty = calls().clear()
    assert quality(empty, NAMES).is_empty()
    assert methods(empty, NAMES).is_empty()
    assert mistakes(empty).is_empty()
    assert confusions(empty).is_empty()
