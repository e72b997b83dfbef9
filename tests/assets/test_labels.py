"""Label rows: which can be used, and what several annotators agree on."""

import polars as pl
import pytest

from assets.transforms.labels import GOLD_SCHEMA, agree, judge

SCHEMA = {"item_kind": pl.String, "item_id": pl.String, "vertical": pl.String, "is_member": pl.Boolean,
          "annotator": pl.String}  # fmt: skip


def labels(*rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame([(*row, None)[:5] for row in rows], schema=SCHEMA, orient="row")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("post", "p", "food", True), None),
        (("account", "a", "food", False), None),
        (("post", "p", "food", None), "a label column is missing"),
        ((None, "p", "food", True), "a label column is missing"),
        (("post", None, "food", True), "a label column is missing"),
        (("post", "p", None, True), "a label column is missing"),
        (("video", "p", "food", True), "item_kind is neither post nor account"),
        (("post", "p", "parkour", True), "vertical is not in the catalogue"),
        (("post", "a", "food", True), "item is not in the lake"),
        (("account", "p", "food", True), "item is not in the lake"),
    ],
)
def test_judge(row: tuple[object, ...], reason: str | None) -> None:
    judged = judge(labels(row), {"food", "music"}, pl.Series(["p"]), pl.Series(["a"]))
    assert judged["reason"].to_list() == [reason]


def gold(*rows: tuple[object, ...]) -> list[tuple[object, ...]]:
    return agree(labels(*rows)).sort("item_id").rows()


def test_a_majority_decides_and_an_even_split_is_no_membership() -> None:
    found = gold(
        ("post", "even", "food", True, "x"), ("post", "even", "food", False, "y"),
        ("post", "most", "food", True, "x"), ("post", "most", "food", True, "y"), ("post", "most", "food", False, "z"),
        ("post", "not", "food", False, "x"), ("post", "not", "food", True, "y"), ("post", "not", "food", False, "z"),
        ("post", "one", "food", True),
    )  # fmt: skip
    assert found == [
        ("post", "even", "food", False, 2, 0.5),
        ("post", "most", "food", True, 3, 0.666667),
        ("post", "not", "food", False, 3, 0.666667),
        ("post", "one", "food", True, 1, 1.0),
    ]


def test_an_annotators_last_word_counts_once() -> None:
    rows = [("post", "p", "food", True, "x")] * 3 + [
        ("post", "p", "food", False, "x"),
        ("post", "p", "food", True, "y"),
    ]
    assert gold(*rows) == [("post", "p", "food", False, 2, 0.5)]


def test_post_and_account_of_one_id_are_two_items() -> None:
    assert len(gold(("post", "i", "food", True), ("account", "i", "food", False))) == 2
    assert dict(agree(labels()).schema) == {name: dtype() for name, dtype in GOLD_SCHEMA.items()}
