"""Judgements of readers: whose counts, what they say about accounts, and what a file may hold."""

import datetime as dt
from typing import Any

import polars as pl
import pytest

from assets.search.judgements import JUDGEMENTS
from assets.transforms.search.votes import FILE_SCHEMA, folded, graded_accounts, with_judgement, with_reasons

NOW = dt.datetime(2026, 11, 29, 12, tzinfo=dt.UTC)
POSTS = pl.DataFrame({"post_id": ["a/1", "a/2", "b/1", "c/1"], "account_id": ["a", "a", "b", "c"]})


def judged(*rows: tuple[str, str, str, str, int]) -> pl.DataFrame:
    """(judge, query, item_kind, item_id, grade), a minute apart."""
    names = ("judge", "query", "item_kind", "item_id", "grade")
    values = [
        {**dict(zip(names, row, strict=True)), "judged_at": NOW + dt.timedelta(minutes=number), "row": number}
        for number, row in enumerate(rows)
    ]
    return pl.DataFrame(values, schema=JUDGEMENTS.polars_schema)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("eva", "q", "account", "a", 1), ("eva", "q", "account", "b", 0)], {"q": {"a": 1, "b": 0}}),
        ([("eva", " Q\t ", "post", "a/1", 0), ("eva", "q", "post", "a/2", 1), ("eva", "q", "post", "b/1", 0)],
         {"q": {"a": 1, "b": 0}}),
        ([("eva", "q", "post", "a/1", 1), ("ann", "q", "account", "a", 0), ("ann", "q", "account", "b", 1)],
         {"q": {"a": 0, "b": 1}}),
        ([("eva", "q", "account", "a", 0), ("eva", "q", "account", "a", 1), ("eva", "q", "account", "b", 0)],
         {"q": {"a": 1, "b": 0}}),
        ([("eva", "q", "account", "a", 1), ("ann", "q", "account", "a", 0), ("eva", "q", "account", "b", 0)], {}),
        ([("eva", "q", "account", "a", 1), ("eva", "q", "account", "gone", 0)], {}),
        ([("eva", "q", "account", "a", 1), ("eva", "other", "account", "b", 0)], {}),
    ],
    ids=["own", "posts", "account wins", "newest", "even split", "not searchable", "one of each"],
)  # fmt: skip
def test_judgements_become_grades_of_accounts(rows: list[Any], expected: dict[str, dict[str, int]]) -> None:
    assert graded_accounts(judged(*rows), POSTS) == expected


def test_a_judgement_is_replaced_and_taken_back() -> None:
    rows = pl.DataFrame(pl.from_arrow(FILE_SCHEMA.empty_table()))
    row = {"query": folded("  Vegan\nRecipes "), "item_kind": "post", "item_id": "a/1", "grade": 1, "judge": "eva"}
    once = with_judgement(rows, row, NOW)
    assert with_judgement(once, row, NOW).equals(once)
    twice = with_judgement(with_judgement(once, {**row, "item_id": "a/2"}, NOW), {**row, "grade": 0}, NOW)
    assert twice.select("item_id", "grade").rows() == [("a/2", 1), ("a/1", 0)]
    assert twice["query"].unique().to_list() == ["vegan recipes"]
    assert with_judgement(twice, {**row, "grade": None}, NOW)["item_id"].to_list() == ["a/2"]


def test_rows_that_are_no_judgements_have_a_reason() -> None:
    good = ("eva", "q", "post", "a/1", 1)
    odd: list[Any] = [("eva", " ", "post", "a/1", 1), ("eva", "q", "brand", "a/1", 1), ("eva", "q", "post", "a/1", 2),
                      (None, "q", "post", "a/1", 1)]  # fmt: skip
    reasons = with_reasons(judged(good, *odd))["reason"].to_list()
    assert reasons[0] is None
    assert [bool(reason) for reason in reasons[1:]] == [True] * len(odd)
