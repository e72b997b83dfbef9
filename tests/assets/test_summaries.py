"""Representative posts."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from assets.transforms.summaries import (
    POSTS_PER_SUMMARY,
    current_summaries,
    excerpt,
    representatives,
    summarise,
    text_names,
)


def unit(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    made = np.array(rows, dtype=np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def test_the_middle_first_then_what_differs_from_it() -> None:
    vectors = unit((1, 0.1, 0), (1, 0, 0), (1, -0.1, 0), (0, 0, 1))
    assert representatives(vectors, 2) == [1, 3]


def test_relevance_is_the_cosine_to_the_centroid() -> None:
    # Against the plain dot product, which is less where posts differ much, the fourth would count for more.
    angles = np.radians([-90, -130, -10, -100])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    assert representatives(vectors, 3) == [0, 2, 3]


@settings(max_examples=50)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 1000))
def test_distinct_rows_and_no_more_than_there_are(rows: int, count: int, seed: int) -> None:
    made = np.random.default_rng(seed).normal(size=(rows, 4)) + 0.1
    chosen = representatives(unit(*made), count)
    assert len(chosen) == len(set(chosen)) == min(rows, count)
    assert set(chosen) <= set(range(rows))


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 10, "short"),
        ("exactly ten", 11, "exactly ten"),
        ("one two three", 9, "one two…"),
        ("one two three", 10, "one two…"),
        ("a fghijklmnop", 10, "a fghijkl…"),  # the only space would leave less than half
        ("x" * 20, 5, "xxxx…"),
    ],
)
def test_excerpt(text: str, limit: int, expected: str) -> None:
    assert excerpt(text, limit) == expected


def test_a_summary_cites_its_own_posts_once() -> None:
    chunks = pl.DataFrame(
        {
            "account_bucket": [0] * 6, "account_id": ["a"] * 5 + ["b"], "post_id": ["p1", "p1", "p2", "p3", "p4", "q"],
            "chunk_no": [1, 0, 0, 0, 0, 0], "text": ["tail", "head", "two", "three", "four", "other"],
        },
        schema_overrides={"account_bucket": pl.Int32},
    )  # fmt: skip
    vectors = unit((1, 0), (1, 0.1), (1, 0.2), (0.2, 1), (1, 0.05), (0, 1))
    found = {row["account_id"]: row for row in summarise(chunks, vectors).iter_rows(named=True)}
    assert found["a"]["posts"] == 4
    assert len(set(found["a"]["post_ids"])) == POSTS_PER_SUMMARY
    assert "tail" not in found["a"]["summary"]
    assert found["b"] == {"account_bucket": 0, "account_id": "b", "summary": "other", "post_ids": ["q"], "posts": 1}


def test_a_long_post_weighs_as_much_as_a_short_one() -> None:
    """A post of two unlike chunks has a short mean; only its direction counts."""
    chunks = pl.DataFrame({"account_bucket": 0, "account_id": "a", "post_id": ["p1", "p1", "p2", "p3"],
                           "chunk_no": [0, 1, 0, 0], "text": ["one", "rest", "two", "three"]})  # fmt: skip
    angles = np.radians([60, -60, 30, -30])
    found = summarise(chunks, np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32))
    assert found["post_ids"].to_list() == [["p1", "p2", "p3"]]
    assert found["summary"].to_list() == ["one\ntwo\nthree"]


def test_a_summary_does_not_depend_on_row_order() -> None:
    rng = np.random.default_rng(1)
    vectors = unit(*rng.normal(size=(9, 5)))
    chunks = pl.DataFrame({"account_bucket": 0, "account_id": list("aabbabcdc"), "post_id": [f"p{n}" for n in range(9)],
                           "chunk_no": 0, "text": [f"t{n}" for n in range(9)]})  # fmt: skip
    order = rng.permutation(9)
    assert summarise(chunks[order], vectors[order]).equals(summarise(chunks, vectors))


def account(*texts: str, name: str = "a") -> pl.DataFrame:
    """An account's chunks: a post a text."""
    numbers = range(len(texts))
    return pl.DataFrame(
        {"account_id": name, "post_id": [f"{name}{n}" for n in numbers], "chunk_no": 0, "content_hash": texts},
        schema_overrides={"chunk_no": pl.Int32},
    )


def stands(then: pl.DataFrame, now: pl.DataFrame, cited: list[str]) -> list[str]:
    made_of = text_names(then).group_by("account_id").agg(made_of_texts="text_name")
    summaries = made_of.with_columns(post_ids=pl.lit(cited, pl.List(pl.String)))
    return current_summaries(summaries, text_names(now))["account_id"].to_list()


HUNDRED = [f"text {n}" for n in range(100)]


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (HUNDRED, ["a"]),
        ([*HUNDRED, "new"], ["a"]),
        ([*HUNDRED[:98], "edited", "edited"], ["a"]),  # 98 of 102 are both
        ([*HUNDRED[:97], "edited", "edited", "edited"], []),  # 97 of 103
        ([*HUNDRED, *(f"new {n}" for n in range(6))], []),
        (HUNDRED[:95], ["a"]),
        (HUNDRED[:94], []),
        (["edited", *HUNDRED[1:]], []),  # it cites the first
    ],
)
def test_a_summary_stands_while_its_posts_and_most_others_do(now: list[str], expected: list[str]) -> None:
    assert stands(account(*HUNDRED), account(*now), cited=["a0", "a1"]) == expected


def test_a_summary_falls_with_a_cited_post_and_with_its_account() -> None:
    then = account(*HUNDRED)
    assert stands(then, then.filter(pl.col("post_id") != "a1"), cited=["a1"]) == []
    assert stands(then, then.filter(pl.col("post_id") != "a2"), cited=["a1"]) == ["a"]
    assert stands(then, account(*HUNDRED, name="b"), cited=["a1"]) == []
    assert stands(then, then.clear(), cited=["a1"]) == []


def test_texts_are_named_by_post_and_contents() -> None:
    swapped = account("y", "x")
    names = {name for frame in (account("x", "y"), swapped, account("x", "y", name="b"))
             for name in text_names(frame)["text_name"]}  # fmt: skip
    assert len(names) == 6
