"""The line that says what an account is about."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from assets.transforms.summaries.about import about

START = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "account_id": pl.String, "post_id": pl.String, "posted_at": pl.Datetime("us", "UTC"),
    "hashtags": pl.List(pl.String), "views": pl.Int64,
}  # fmt: skip
NO_VERTICALS = pl.DataFrame(schema={"account_id": pl.String, "vertical": pl.String, "score": pl.Float64}).lazy()


def posts(days: list[float], views: int | None = None, hashtags: list[str] | None = None) -> pl.LazyFrame:
    rows = [("a", f"p{n}", START + timedelta(days=day), hashtags, views) for n, day in enumerate(days)]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").lazy()


def line(found: pl.LazyFrame, verticals: pl.LazyFrame = NO_VERTICALS) -> str:
    return str(about(found, verticals)["about"][0])


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([0, 7, 14], "4 posts a month"),
        ([n / 2 for n in range(29)], "14 posts a week"),
        ([0, 40, 80], "less than a post a month"),
        ([0, 1, 2], ""),  # too few days
        ([0, 30], ""),  # too few posts
        ([0, 1, 2, 200, 207, 214], "4 posts a month"),  # what was long ago does not count
    ],
)
def test_how_often_it_posts_up_to_its_newest_post(days: list[float], expected: str) -> None:
    assert line(posts(days)) == expected


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        (None, ""), (0, ""), (7, "usually 7 views"), (1234, "usually 1,200 views"), (56789, "usually 57,000 views"),
        (999_999, "usually 1.0 million views"), (3_456_789, "usually 3.5 million views"),
    ],
)  # fmt: skip
def test_whom_it_usually_reaches(views: int | None, expected: str) -> None:
    assert line(posts([0], views)) == expected


def test_verticals_by_score_and_hashtags_by_posts() -> None:
    verticals = pl.DataFrame({"account_id": ["a"] * 4, "vertical": ["gaming", "home_garden", "music", "pets"],
                              "score": [0.2, 0.9, 0.5, 0.1]}).lazy()  # fmt: skip
    found = pl.concat([posts([0], hashtags=["#Bread", "bread", "once"]), posts([1], hashtags=["BREAD", " ", "#"])])
    found = found.with_columns(post_id=pl.Series(["p1", "p2"]))
    assert line(found, verticals) == "home garden, music, gaming · #bread"


def test_the_day_of_the_run_does_not_count() -> None:
    """The same posts give the same line, whatever comes after them in other accounts."""
    both = pl.concat([posts([0, 7, 14]), posts([400]).with_columns(account_id=pl.lit("b"))])
    assert about(both, NO_VERTICALS).filter(account_id="a")["about"].to_list() == ["4 posts a month"]
