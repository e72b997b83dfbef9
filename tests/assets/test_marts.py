"""The tables that analysts see, and their CSV."""

import csv
import io
import re
from datetime import UTC, date, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms import marts

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MOMENT = pl.Datetime("us", "UTC")
COUNTS = ("likes", "comments", "views", "shares")


def accounts(*rows: dict[str, object]) -> pl.DataFrame:
    blank = {"network": "x", "handle": None, "bio": None, "deleted_at": None}
    return pl.DataFrame([{**blank, **row} for row in rows], schema_overrides={"deleted_at": MOMENT, "bio": pl.String})


def posts(*rows: dict[str, object]) -> pl.DataFrame:
    blank = {"account_id": "a", "network": "x", "posted_at": NOON, "deleted_at": None, **dict.fromkeys(COUNTS)}
    types: dict[str, pl.DataType | type[pl.DataType]] = {
        "deleted_at": MOMENT,
        "posted_at": MOMENT,
        **dict.fromkeys(COUNTS, pl.Int64),
    }
    return pl.DataFrame([{**blank, **row} for row in rows], schema_overrides=types)


def test_creators_are_live_accounts_with_what_they_did() -> None:
    tags = pl.DataFrame(
        {
            "item_kind": ["account", "account", "account", "post"],
            "account_id": ["a", "a", "a", "a"],
            "vertical": ["pets", "food", "art", "music"],
            "score": [0.7, 0.7, 0.5, 0.9],
        }
    )
    summaries = pl.DataFrame({"account_id": ["a"], "summary": ["s" * 3000]})
    found = marts.creators(
        accounts({"account_id": "a", "bio": "b" * 3000}, {"account_id": "b"}, {"account_id": "c", "deleted_at": NOON}),
        posts(
            {"likes": 1, "views": 10},
            {"likes": None, "views": 5, "posted_at": datetime(2026, 8, 1, tzinfo=UTC)},
            {"account_id": "c"},
        ),
        tags,
        summaries,
    )
    a, b = found.sort("account_id").iter_rows(named=True)
    assert (a["posts"], a["likes"], a["views"], a["comments"]) == (2, 1, 15, 0)
    assert a["last_posted_at"] == datetime(2026, 8, 1, tzinfo=UTC)
    assert (a["verticals"], a["top_vertical"], a["top_vertical_score"]) == ("art, food, pets", "food", 0.7)
    assert len(a["bio"]) == len(a["summary"]) == marts.TEXT_LIMIT
    assert (b["account_id"], b["posts"], b["likes"], b["verticals"], b["summary"]) == ("b", 0, 0, None, None)


def test_live_posts_are_undeleted_posts_of_live_accounts() -> None:
    rows = posts({"account_id": "a"}, {"account_id": "a", "deleted_at": NOON}, {"account_id": "b"}, {"account_id": "?"})
    owners = accounts({"account_id": "a"}, {"account_id": "b", "deleted_at": NOON})
    assert marts.live_posts(rows.lazy(), owners.lazy()).collect()["account_id"].to_list() == ["a"]


def test_a_day_is_a_day_in_utc() -> None:
    rows = posts(
        {"posted_at": datetime(2026, 7, 1, 23, 59, tzinfo=UTC), "likes": 2, "account_id": "a"},
        {"posted_at": datetime(2026, 7, 1, tzinfo=UTC), "likes": 3, "account_id": "b"},
        {"posted_at": datetime(2026, 7, 2, tzinfo=UTC), "account_id": "a"},
        {"posted_at": datetime(2026, 7, 2, tzinfo=UTC), "account_id": "a", "network": "y"},
        {"posted_at": None},
    )
    found = marts.posts_by_day(rows.lazy()).collect().sort("day", "network")
    assert found.select("day", "network", "posts", "accounts", "likes").rows() == [
        (None, "x", 1, 1, 0),
        (date(2026, 7, 1), "x", 2, 2, 5),
        (date(2026, 7, 2), "x", 1, 1, 0),
        (date(2026, 7, 2), "y", 1, 1, 0),
    ]


def test_coverage_counts_every_vertical_even_without_tags() -> None:
    tags = pl.DataFrame({"item_kind": ["post", "post", "account"], "vertical": ["food", "food", "food"]})
    thresholds = pl.DataFrame(
        {"item_kind": ["post", "account", "post", "post"], "vertical": ["food"] * 2 + ["pets", "old"]}
    )
    found = marts.vertical_coverage(tags.lazy(), thresholds, {"food": "Food", "pets": "Pets"})
    assert sorted(found.select("vertical", "item_kind", "tagged", "title").rows()) == [
        ("food", "account", 1, "Food"),
        ("food", "post", 2, "Food"),
        ("old", "post", 0, None),  # no longer in the catalogue
        ("pets", "post", 0, "Pets"),
    ]


def test_testimonials_show_the_handle_of_a_live_account() -> None:
    rows = pl.DataFrame(
        {"testimonial_id": ["1", "2", "3"], "account_id": ["a", "gone", None], "text": ["x" * 2500, "y", "z"]}
    ).with_columns(deleted_at=pl.Series([None, None, NOON], dtype=MOMENT))
    owners = accounts({"account_id": "a", "handle": "@a"}, {"account_id": "gone", "handle": "@g", "deleted_at": NOON})
    found = marts.testimonials(rows, owners)
    assert found.select("testimonial_id", "handle").rows() == [("1", "@a"), ("2", None)]
    assert len(found["text"][0]) == marts.TEXT_LIMIT


def test_csv_is_what_quicksight_reads() -> None:
    rows = pl.DataFrame(
        {"text": ['say "hi",\nthen go', None], "yes": [True, False], "n": [1, None], "at": [NOON, None]}
    )
    written = marts.as_csv(rows.with_columns(pl.col("at").cast(MOMENT)))
    assert written.decode("utf-8").splitlines() == [
        '"text","yes","n","at"',
        '"say ""hi"", ¶ then go",1,1,"2026-07-01 12:00:00"',
        ",0,,",
    ]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), min_size=1))
def test_any_text_is_one_csv_row_that_reads_back(texts: list[str]) -> None:
    written = marts.as_csv(pl.DataFrame({"n": range(len(texts)), "text": texts})).decode()
    rows = list(csv.DictReader(io.StringIO(written, newline="")))
    assert [row["n"] for row in rows] == [str(n) for n in range(len(texts))]
    assert [row["text"] for row in rows] == [re.sub(r"[\r\n]+", " ¶ ", text) for text in texts]


def test_a_manifest_names_a_prefix_and_a_header() -> None:
    manifest = marts.quicksight_manifest("s3://b/quicksight/creators/data/")
    assert manifest["fileLocations"] == [{"URIPrefixes": ["s3://b/quicksight/creators/data/"]}]
    assert manifest["globalUploadSettings"] == {
        "format": "CSV", "delimiter": ",", "textqualifier": '"', "containsHeader": "true"
    }  # fmt: skip
