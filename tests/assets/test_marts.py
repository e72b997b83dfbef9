"""The tables that analysts see, and their CSV."""

import csv
import io
import re
import unicodedata
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
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


def in_a_cell(text: str) -> str:
    in_one_line = re.sub("[\r\n\x85\u2028\u2029]+", " ¶ ", text).replace("\t", " ")
    shown = "".join(character for character in in_one_line if unicodedata.category(character) != "Cc")
    return f"'{shown}" if re.match(r"\s*[=+\-@＝＋－＠]", shown) else shown


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+1 555", "'+1 555"),
        ("-5", "'-5"),
        ("@handle", "'@handle"),
        ("\t=1+1", "' =1+1"),
        ("\r\n=1", " ¶ =1"),
        ("\x00=1", "'=1"),
        ("＝1", "'＝1"),
        ("a=1", "a=1"),
        ("'tis", "'tis"),
        ("a\x1b]0;t\x07\x9b\x85b", "a]0;t ¶ b"),
        ("=" + '"' * 3_000, None),
        ("@" + "x" * 3_000, None),
    ],
)
def test_no_cell_is_a_formula_or_has_controls(text: str, cell: str | None) -> None:
    body = marts.as_csv(pl.DataFrame({"text": [text], "n": [-1]}))
    [row] = csv.DictReader(io.StringIO(body.decode()))
    assert row["n"] == "-1"
    assert cell is None or row["text"] == cell
    assert cell is not None or row["text"].startswith("'")
    assert marts.longest_cell(body) <= marts.WRITTEN_LIMIT


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=50))
def test_cells_of_any_text_are_text(text: str) -> None:
    text = "".join(c for c in text if not "\ud800" <= c <= "\udfff")
    [_, row] = csv.reader(io.StringIO(marts.as_csv(pl.DataFrame({"text": [text]})).decode(), newline=""))
    [cell] = row or [""]
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert not any(unicodedata.category(c) == "Cc" for c in cell)


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
    assert [row["text"] for row in rows] == [in_a_cell(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x" * 2_045, 2_045),
        ("x" * 2_046, 2_045),
        ("🦊" * 4_000, 2_045),
        ("\n" * 2 + "ab" * 2_000, 2_045),
        ("a\nb" * 1_500, 2_045),
        ('"' * 1_022, 1_022),
        ('"' * 1_023, 1_022),
        ("x" + '"' * 4_000, 1_023),
        ('"' * 1_022 + "x", 1_023),
        ("x" * 2_044 + '"', 2_044),
        ("x" * 2_043 + '"', 2_044),
    ],
)
def test_each_text_fits_as_it_is_written(text: str, kept: int) -> None:
    body = marts.as_csv(pl.DataFrame({"account_id": [text, "a"], "n": [1, 2], "display_name": ["b", text]}))
    assert marts.longest_cell(body) <= marts.WRITTEN_LIMIT == 2_047
    flat = re.sub(r"[\r\n]+", " ¶ ", text)
    rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
    assert [rows[0]["account_id"], rows[1]["display_name"]] == [flat[:kept]] * 2
    assert [rows[1]["account_id"], rows[0]["display_name"]] == ["a", "b"]


@given(st.text(st.sampled_from('"\nx,🦊'), max_size=30), st.integers(0, 400))
def test_any_long_text_fits_and_keeps_its_beginning(text: str, times: int) -> None:
    body = marts.as_csv(pl.DataFrame({"text": [text * times]}))
    assert marts.longest_cell(body) <= marts.WRITTEN_LIMIT
    [row] = csv.DictReader(io.StringIO(body.decode(), newline=""))
    flat = re.sub(r"[\r\n]+", " ¶ ", text * times)
    assert flat.startswith(row["text"])
    assert row["text"] == flat or len(row["text"].replace('"', '""')) >= marts.WRITTEN_LIMIT - 3


def test_the_longest_cell_is_counted_as_it_is_written() -> None:
    assert marts.longest_cell(b'"a","b"\n1,"x\ny""z"\n,\n') == len('"x\ny""z"')
    assert marts.longest_cell(b"1,2\n") == 0


def test_a_manifest_names_a_prefix_and_a_header() -> None:
    manifest = marts.quicksight_manifest("s3://b/quicksight/creators/data/")
    assert manifest["fileLocations"] == [{"URIPrefixes": ["s3://b/quicksight/creators/data/"]}]
    assert manifest["globalUploadSettings"] == {
        "format": "CSV", "delimiter": ",", "textqualifier": '"', "containsHeader": "true"
    }  # fmt: skip
