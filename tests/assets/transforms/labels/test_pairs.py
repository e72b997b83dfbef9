"""Pairs to train on: hard negatives in blocks, balanced nested sets, and what the learning curve says."""

import numpy as np
import polars as pl

from assets.transforms.labels.curve import learning_curve, verdict
from assets.transforms.labels.pairs import NEGATIVE_COLUMNS, NEGATIVES, SETS, Mining, choose_anchors, training_pairs
from assets.transforms.labels.probe import folds_of

RANDOM = np.random.default_rng(5)
POSTS = 300
ITEMS = pl.DataFrame(
    {"item_id": [f"p{n:03}" for n in range(POSTS)], "account_id": [f"a{n // 3}" for n in range(POSTS)]}
)
VECTORS = RANDOM.normal(size=(POSTS, 16)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
MEMBERS = {"food": VECTORS[:, 0] > 0.25, "music": VECTORS[:, 1] > 0.25}
GOLD = pl.concat(
    ITEMS.head(200).with_columns(vertical=pl.lit(name), is_member=pl.Series(members[:200]))
    for name, members in MEMBERS.items()
)


def mined(rows: int) -> pl.DataFrame:
    anchors = choose_anchors(GOLD)
    of_anchor = VECTORS[[int(item[1:]) for item in anchors["item_id"]]]
    blocks = [(ITEMS[first : first + rows], VECTORS[first : first + rows]) for first in range(0, POSTS, rows)]
    return Mining.of(anchors, of_anchor, GOLD).mine(blocks)


def test_blocks_do_not_matter_and_no_member_is_a_negative() -> None:
    found = mined(POSTS)
    assert found.columns == NEGATIVE_COLUMNS
    for rows in (7, 64):
        other = mined(rows)
        assert other.drop("similarity").equals(found.drop("similarity"))
    members = GOLD.filter("is_member").select("vertical", "item_id")
    assert found.join(members, on=["vertical", "item_id"], how="semi").is_empty()
    owners = ITEMS.select(anchor_id="item_id", owner="account_id")
    assert found.join(owners, on="anchor_id").filter(pl.col("owner") == pl.col("account_id")).is_empty()
    assert found.group_by("vertical", "anchor_id").len()["len"].max() == NEGATIVES


def test_the_negatives_are_the_nearest_that_are_allowed() -> None:
    found = mined(50).filter("is_labelled").sort("similarity", descending=True)
    vertical, anchor, item = found.select("vertical", "anchor_id", "item_id").row(0)
    others = GOLD.filter(pl.col("vertical") == vertical, ~pl.col("is_member"))
    owner = dict(ITEMS.iter_rows())
    numbers = [int(other[1:]) for other in others["item_id"] if owner[other] != owner[anchor]]
    best = max(numbers, key=lambda number: float(VECTORS[number] @ VECTORS[int(anchor[1:])]))
    assert item == f"p{best:03}"


def test_sets_are_nested_balanced_and_true() -> None:
    found = training_pairs(GOLD, mined(POSTS))
    assert found["rank"].to_list() == list(range(1, found.height + 1))
    assert found.height <= SETS[-1]
    first = found.filter(pl.col("smallest_set") == SETS[0])
    assert first.height == SETS[0]
    assert first["is_same"].mean() == 0.5
    assert first["vertical"].value_counts()["count"].to_list() == [SETS[0] // 2] * 2
    assert found.select("vertical", "anchor_id", "other_id").is_duplicated().sum() == 0
    member = {(vertical, item) for item, _, vertical, is_member in GOLD.iter_rows() if is_member}
    for vertical, anchor, other, is_same in found.select("vertical", "anchor_id", "other_id", "is_same").iter_rows():
        assert (vertical, anchor) in member
        assert ((vertical, other) in member) == is_same
    assert "hard negative" in set(first["kind"])


def test_no_labels_give_no_pairs() -> None:
    assert training_pairs(GOLD.clear(), mined(POSTS).clear()).is_empty()


def test_the_curve_says_whether_more_labels_help() -> None:
    labels = np.column_stack([members.astype(float) for members in MEMBERS.values()])
    accounts = ITEMS["account_id"].to_list()
    rising = learning_curve(VECTORS, labels, folds_of(accounts), accounts)
    assert rising["labels"].to_list() == [38, 75, 150, 300, 600]
    assert rising["quality"][3] > rising["quality"][0] + 0.05
    noise = np.random.default_rng(1).random(labels.shape) < 0.2
    flat = learning_curve(VECTORS, noise.astype(float), folds_of(accounts), accounts)
    assert verdict(flat.with_columns(quality=pl.lit(0.2))).startswith("More labels of this kind would hardly help")
    climbing = rising.with_columns(quality=pl.Series([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert verdict(climbing) == (
        "More labels would help: from 300 to 600 labelled posts, "
        "mean average precision would go from 0.400 to about 0.500."
    )
    assert verdict(rising.clear()).startswith("There are too few labels")


def test_no_figure_of_a_curve_is_beyond_its_range() -> None:
    """A forecast and two standard errors reach over 1 where a few labels more help much."""
    chance = np.random.default_rng(11)
    found = []
    for _ in range(12):
        few = 60 + int(chance.integers(60))
        vectors = VECTORS[:few] + chance.normal(0, 0.1, (few, 16)).astype(np.float32)
        accounts = ITEMS["account_id"][:few]
        labels = np.column_stack([VECTORS[:few, 0] > 0.25, VECTORS[:few, 1] > 0.25]).astype(float)
        found.append(learning_curve(vectors, labels, folds_of(accounts), accounts.to_list()))
    figures = pl.concat(found).select("quality", "low", "high")
    assert figures.max().max_horizontal().item() == 1.0
    assert figures.min().min_horizontal().item() >= 0
