"""A summary stands while the posts that it cites, and most of the others, do."""

import polars as pl
import pytest

from assets.transforms.summaries.standing import current_summaries, text_names


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
