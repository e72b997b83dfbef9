"""Wrong labels come first, and nobody is asked twice."""

import numpy as np
import polars as pl
import pytest

from assets.labels.gold import GOLD
from assets.transforms.labels.files import rows_of_csv
from assets.transforms.labels.issues import ISSUE_SCHEMA, confident_issues, doubtful_labels, ranked, review_sheet
from assets.transforms.labels.probe import folds_of, label_matrix, out_of_sample

VERTICALS, ITEMS = ["food", "music", "pets"], 400


@pytest.fixture(scope="module")
def items() -> pl.DataFrame:
    """Two posts of each account."""
    numbers = range(ITEMS)
    return pl.DataFrame({"item_id": [f"p{n:03}" for n in numbers], "account_id": [f"a{n // 2}" for n in numbers]})


@pytest.fixture(scope="module")
def world(items: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Vectors, and which items are members: those near to a direction of the vertical."""
    random = np.random.default_rng(7)
    vectors = random.normal(size=(items.height, 24)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, vectors[:, : len(VERTICALS)] > 0.2


def gold(items: pl.DataFrame, members: np.ndarray, reviewed: np.ndarray | None = None) -> pl.DataFrame:
    frames = [
        items.select(
            item_kind=pl.lit("post"), item_id="item_id", account_id="account_id", vertical=pl.lit(name),
            is_member=pl.Series(members[:, column]), votes=pl.lit(1, pl.Int64), agreement=pl.lit(1.0),
            is_reviewed=pl.Series(np.zeros(items.height, bool) if reviewed is None else reviewed[:, column]),
            labelled_at=pl.lit(None, pl.Datetime("us", "UTC")), label_version=pl.lit("v"),
        )
        for column, name in enumerate(VERTICALS)
    ]  # fmt: skip
    return pl.concat(frames).select(GOLD.schema.names)


def test_turned_labels_are_in_the_first_rows(items: pl.DataFrame, world: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, members = world
    turned = np.random.default_rng(1).random(members.shape) < 0.1
    found = ranked(doubtful_labels(gold(items, members ^ turned), items, vectors))
    assert found.columns == [*ISSUE_SCHEMA, "rank"]
    assert found["rank"].to_list() == list(range(1, members.size + 1))
    wrong = {(items["item_id"][int(row)], VERTICALS[column]) for row, column in np.argwhere(turned)}
    first = found.filter(pl.col("rank") <= 0.15 * found.height).select("item_id", "vertical").rows()
    assert len(wrong & set(first)) >= 0.8 * len(wrong)
    flagged = set(found.filter("is_issue").select("item_id", "vertical").rows())
    assert len(flagged & wrong) > 0.6 * len(flagged)


def test_reviewed_labels_teach_and_are_not_asked_about(
    items: pl.DataFrame, world: tuple[np.ndarray, np.ndarray]
) -> None:
    vectors, members = world
    reviewed = np.random.default_rng(2).random(members.shape) < 0.5
    every = doubtful_labels(gold(items, members), items, vectors)
    some = doubtful_labels(gold(items, members, reviewed), items, vectors)
    assert some.height == members.size - reviewed.sum()
    assert some.equals(every.join(some, on=["item_id", "vertical"], how="semi", maintain_order="left"))


def test_a_probe_never_saw_the_account(items: pl.DataFrame, world: tuple[np.ndarray, np.ndarray]) -> None:
    """The labels of one account do not change its own probabilities, apart from the curve that all share."""
    vectors, members = world
    folds, labels = folds_of(items["account_id"]), members.astype(float)
    own = (items["account_id"] == "a3").to_numpy()
    changed = labels.copy()
    changed[own] = 1 - changed[own]
    before, after = (out_of_sample(vectors, given, folds)[own] for given in (labels, changed))
    assert np.abs(before - after).max() < 0.05
    assert (folds[own] == folds[own][0]).all()


def test_too_few_labels_give_no_probability(items: pl.DataFrame, world: tuple[np.ndarray, np.ndarray]) -> None:
    vectors, members = world
    few = gold(items, members).filter((pl.col("vertical") == "food") | (pl.col("item_id") < "p004"))
    labels = label_matrix(few, items, ["food", "pets"])
    assert np.isnan(labels[:, 1]).sum() == ITEMS - 4
    found = out_of_sample(vectors, labels, folds_of(items["account_id"]))
    assert np.isnan(found[:, 1]).all()
    assert ((found[:, 0] > 0) & (found[:, 0] < 1)).all()


def test_what_is_confidently_of_the_other_class() -> None:
    members = np.array([True, True, True, False, False, False])
    probabilities = np.array([0.9, 0.8, 0.1, 0.1, 0.2, 0.95])
    assert confident_issues(members, probabilities).tolist() == [False, False, True, False, False, True]


def test_the_sheet_is_a_label_file_once_it_is_filled_in(
    items: pl.DataFrame, world: tuple[np.ndarray, np.ndarray]
) -> None:
    vectors, members = world
    found = ranked(doubtful_labels(gold(items, members), items, vectors)).head(3)
    texts = found.select("item_id", text=pl.Series(['=cmd|"/c"', "two\nlines; é", None]))
    sheet = review_sheet(found, texts)
    assert sheet["text"].to_list() == ['\'=cmd|"/c"', "two\nlines; é", None]
    filled = sheet.with_columns(is_member=pl.Series(["yes", "no", None]), annotator=pl.lit("Eva"))
    rows = pl.concat([pl.DataFrame(pl.from_arrow(part)) for part in rows_of_csv(filled.write_csv().encode())])
    assert rows["is_member"].to_list() == [True, False, None]
    assert rows["is_review"].to_list() == [True] * 3
    assert rows.select("item_kind", "item_id", "vertical").equals(found.select("item_kind", "item_id", "vertical"))
    assert rows["reason"].null_count() == 3
