"""Representative posts."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from assets.transforms.summaries.posts import POSTS_READ, chosen_posts, representatives


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


def chunks_of(languages: list[str | None], accounts: str | None = None) -> pl.DataFrame:
    """One chunk per post, of account `a` unless another is given."""
    numbers = range(len(languages))
    columns = {"account_bucket": 0, "account_id": list(accounts or "a" * len(languages))}
    return pl.DataFrame(
        {**columns, "post_id": [f"p{n:02}" for n in numbers], "chunk_no": 0, "text": [f"text {n}" for n in numbers],
         "text_language": languages},
        schema_overrides={"account_bucket": pl.Int32, "text_language": pl.String},
    )  # fmt: skip


def test_posts_are_of_the_language_that_most_are_in() -> None:
    found = chosen_posts(chunks_of(["de", "en", "de", None]), unit((1, 0), (0, 1), (1, 0.2), (0, 1)))
    assert found["post_id"].sort().to_list() == ["p00", "p02"]
    assert found["language"].unique().to_list() == ["de"]
    assert found["posts"].unique().to_list() == [4]


def test_an_account_of_any_size_has_few_posts_read() -> None:
    vectors = np.random.default_rng(1).normal(size=(POSTS_READ * 3, 8)) + 0.2
    found = chosen_posts(chunks_of(["en"] * len(vectors)), unit(*vectors))
    assert found.height == found["post_id"].n_unique() == POSTS_READ


def test_a_long_post_weighs_as_much_as_a_short_one() -> None:
    """A post of two unlike chunks has a short mean; only its direction counts."""
    chunks = chunks_of(["en"] * 4).with_columns(
        post_id=pl.Series(["p1", "p1", "p2", "p3"]), chunk_no=pl.Series([0, 1, 0, 0])
    )
    angles = np.radians([60, -60, 30, -30])
    found = chosen_posts(chunks, np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32))
    assert found["post_id"].to_list() == ["p1", "p2", "p3"]
    assert found["excerpt"][0] == "text 0"


def test_the_choice_does_not_depend_on_row_order() -> None:
    rng = np.random.default_rng(1)
    vectors, chunks = unit(*rng.normal(size=(9, 5))), chunks_of(["en"] * 9, "aabbabcdc")
    order = rng.permutation(9)
    assert chosen_posts(chunks[order], vectors[order]).equals(chosen_posts(chunks, vectors))
