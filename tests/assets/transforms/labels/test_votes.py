"""What several annotators agree on: one vote each, the newest; reviewers settle; an even split is no label."""

from datetime import UTC, datetime

import polars as pl
import pytest

from assets.labels.gold import GOLD
from assets.labels.votes import VOTES
from assets.transforms.labels.votes import agree, disputed, judge, label_version, voters, with_reasons

DROPPED = datetime(2026, 3, 20, tzinfo=UTC)
DAY = [datetime(2026, 3, day, tzinfo=UTC) for day in range(1, 9)]


def votes(*rows: tuple[object, ...]) -> pl.DataFrame:
    """(item_id, is_member, voter, labelled_at, is_review, source_file), the last three optional."""
    full = [(*row, *(None, False, "f")[len(row) - 3 :]) for row in rows]
    return pl.DataFrame(
        [
            ("post", item, "food", is_member, voter, at, DROPPED, review, file, "e", number, "own")
            for number, (item, is_member, voter, at, review, file) in enumerate(full)
        ],
        schema={**VOTES.polars_schema, "account_id": pl.String()},
        orient="row",
    )


def gold(*rows: tuple[object, ...]) -> list[tuple[object, ...]]:
    return agree(votes(*rows)).sort("item_id").select("item_id", "is_member", "votes", "agreement").rows()


def test_a_majority_decides_and_an_even_split_is_no_label() -> None:
    rows = [
        ("even", True, "x"), ("even", False, "y"),
        ("most", True, "x"), ("most", True, "y"), ("most", False, "z"),
        ("not", False, "x"), ("not", True, "y"), ("not", False, "z"),
        ("one", True, "x"),
    ]  # fmt: skip
    assert gold(*rows) == [("most", True, 3, 0.666667), ("not", False, 3, 0.666667), ("one", True, 1, 1.0)]
    assert disputed(votes(*rows)).rows() == [("post", "even", "food")]


@pytest.mark.parametrize(
    ("first", "second", "is_member"),
    [
        (("p", True, "x", DAY[1]), ("p", False, "x", DAY[2]), False),
        (("p", True, "x", DAY[2]), ("p", False, "x", DAY[1]), True),
        (("p", True, "x", DAY[2]), ("p", False, "x", None), True),
        (("p", True, "x", None), ("p", False, "x", None), False),
        (("p", True, "x", None, False, "b"), ("p", False, "x", None, False, "a"), True),
        (("p", True, "x", DAY[1], False, "b"), ("p", False, "x", DAY[2], False, "a"), False),
    ],
)
def test_the_newest_vote_of_an_annotator_counts(
    first: tuple[object, ...], second: tuple[object, ...], is_member: bool
) -> None:
    assert gold(first, second) == [("p", is_member, 1, 1.0)]


def test_a_label_without_a_time_was_given_when_its_file_was_dropped() -> None:
    found = agree(votes(("said", True, "x", DAY[1]), ("said", True, "y", DAY[2]), ("not", True, "x")))
    assert dict(found.select("item_id", "labelled_at").iter_rows()) == {"said": DAY[2], "not": DROPPED}


def test_a_reviewer_settles_a_label_whatever_the_others_say() -> None:
    crowd = [("p", True, voter) for voter in "abc"]
    assert gold(*crowd, ("p", False, "r", DAY[0], True)) == [("p", False, 1, 1.0)]
    assert gold(*crowd, ("p", False, "r", DAY[0], True), ("p", True, "s", DAY[0], True)) == []


def test_rows_without_an_annotator_are_one_vote_a_file() -> None:
    names = pl.DataFrame({"annotator": [None, " ", "Ann  Lee ", "ann-lee"], "source_file": ["f", "g", "f", "g"]})
    found = names.select(voters(pl.col("annotator"), pl.col("source_file")))
    assert found.to_series().to_list() == ["file:f", "file:g", "ann-lee", "ann-lee"]


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
def test_which_labels_can_be_used(row: tuple[object, ...], reason: str | None) -> None:
    columns = {"item_kind": pl.String, "item_id": pl.String, "vertical": pl.String, "is_member": pl.Boolean}
    labels = with_reasons(pl.DataFrame([row], schema=columns, orient="row"))
    owners = pl.DataFrame(
        [("post", "p", "a"), ("account", "a", "a")], schema=["item_kind", "item_id", "account_id"], orient="row"
    )
    judged = judge(labels.drop("reason"), {"food", "music"}, owners)["reason"][0]
    assert (labels["reason"][0] or judged) == reason


def test_the_version_is_that_of_the_votes() -> None:
    one = agree(votes(("p", True, "x"), ("q", False, "y")))
    assert one.schema == pl.Schema(GOLD.polars_schema)
    assert label_version(one) == label_version(one.reverse())
    more = agree(votes(("p", True, "x"), ("q", False, "y"), ("q", False, "z")))
    assert label_version(one) != label_version(more)
    assert one.sort("item_id")["label_version"][0] == more.sort("item_id")["label_version"][0]
