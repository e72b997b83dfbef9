"""The CSV files of the marts: every reader gets the documented text of every value, one line per row, no formula."""

import csv
import io
import re
import unicodedata
from datetime import UTC, date, datetime

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.transforms.marts import csv_files

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MOMENT = pl.Datetime("us", "UTC")
BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
BMP = [chr(code) for code in range(1, 0x10000) if not 0xD800 <= code <= 0xDFFF]
"""Every character of the basic multilingual plane but surrogates and U+0000."""


def in_a_cell(text: str) -> str:
    in_one_line = re.sub(f"[{BREAKS}]+", " ¶ ", text).replace("\t", " ")
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
    body = csv_files.as_csv(pl.DataFrame({"text": [text], "n": [-1]}))
    [row] = csv.DictReader(io.StringIO(body.decode()))
    assert row["n"] == "-1"
    assert cell is None or row["text"] == cell
    assert cell is not None or row["text"].startswith("'")
    assert csv_files.longest_cell(body) <= csv_files.WRITTEN_LIMIT


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=50))
def test_cells_of_any_text_are_text(text: str) -> None:
    text = "".join(c for c in text if not "\ud800" <= c <= "\udfff")
    [_, row] = csv.reader(io.StringIO(csv_files.as_csv(pl.DataFrame({"text": [text]})).decode(), newline=""))
    [cell] = row or [""]
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert not any(unicodedata.category(c) == "Cc" for c in cell)


def test_csv_is_what_quicksight_reads() -> None:
    rows = pl.DataFrame(
        {"text": ['say "hi",\nthen go', None], "yes": [True, False], "n": [1, None], "at": [NOON, None]}
    )
    written = csv_files.as_csv(rows.with_columns(pl.col("at").cast(MOMENT)))
    assert written.endswith(b"\r\n")
    assert written.decode("utf-8").split("\r\n")[:-1] == [
        '"text","yes","n","at"',
        '"say ""hi"", ¶ then go",1,1,"2026-07-01 12:00:00"',
        ",0,,",
    ]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")), min_size=1))
def test_any_text_is_one_csv_row_that_reads_back(texts: list[str]) -> None:
    written = csv_files.as_csv(pl.DataFrame({"n": range(len(texts)), "text": texts})).decode()
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
    body = csv_files.as_csv(pl.DataFrame({"account_id": [text, "a"], "n": [1, 2], "display_name": ["b", text]}))
    assert csv_files.longest_cell(body) <= csv_files.WRITTEN_LIMIT == 2_047
    flat = re.sub(r"[\r\n]+", " ¶ ", text)
    rows = list(csv.DictReader(io.StringIO(body.decode(), newline="")))
    assert [rows[0]["account_id"], rows[1]["display_name"]] == [flat[:kept]] * 2
    assert [rows[1]["account_id"], rows[0]["display_name"]] == ["a", "b"]


@given(st.text(st.sampled_from('"\nx,🦊'), max_size=30), st.integers(0, 400))
def test_any_long_text_fits_and_keeps_its_beginning(text: str, times: int) -> None:
    body = csv_files.as_csv(pl.DataFrame({"text": [text * times]}))
    assert csv_files.longest_cell(body) <= csv_files.WRITTEN_LIMIT
    [row] = csv.DictReader(io.StringIO(body.decode(), newline=""))
    flat = re.sub(r"[\r\n]+", " ¶ ", text * times)
    assert flat.startswith(row["text"])
    assert row["text"] == flat or len(row["text"].replace('"', '""')) >= csv_files.WRITTEN_LIMIT - 3


def test_the_longest_cell_is_counted_as_it_is_written() -> None:
    assert csv_files.longest_cell(b'"a","b"\n1,"x\ny""z"\n,\n') == len('"x\ny""z"')
    assert csv_files.longest_cell(b"1,2\n") == 0


def test_a_manifest_names_a_prefix_and_a_header() -> None:
    manifest = csv_files.quicksight_manifest("s3://b/quicksight/creators/data/")
    assert manifest["fileLocations"] == [{"URIPrefixes": ["s3://b/quicksight/creators/data/"]}]
    assert manifest["globalUploadSettings"] == {
        "format": "CSV", "delimiter": ",", "textqualifier": '"', "containsHeader": "true"
    }  # fmt: skip


@pytest.fixture(scope="module")
def bmp_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    """A CSV file with every character of the plane, first in a text, within one, and before a quote."""
    texts = [text for c in BMP for text in (f"{c}x", f'a{c}"b')]
    path = tmp_path_factory.mktemp("bmp") / "bmp.csv"
    rows = pl.DataFrame(
        {"n": range(len(texts)), "text": texts, "empty": [""] * len(texts), "none": [None] * len(texts)}
    )
    path.write_bytes(csv_files.as_csv(rows.with_columns(pl.col("none").cast(pl.String))))
    return str(path), [in_a_cell(text) for text in texts]


def test_pythons_csv_reads_every_character(bmp_file: tuple[str, list[str]]) -> None:
    path, expected = bmp_file
    with open(path, encoding="utf-8", newline="") as file:  # noqa: PTH123 -- as a user does
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == expected


def test_duckdb_reads_every_character(bmp_file: tuple[str, list[str]]) -> None:
    path, expected = bmp_file
    with duckdb.connect() as connection:
        found = connection.execute("SELECT n, text, none FROM read_csv(?) ORDER BY n", [path]).fetchall()
    assert [text for _, text, _ in found] == expected
    assert {none for *_, none in found} == {None}


def test_polars_reads_every_character(bmp_file: tuple[str, list[str]]) -> None:
    path, expected = bmp_file
    found = pl.read_csv(path, infer_schema_length=None)
    assert found["text"].to_list() == expected
    assert found["none"].null_count() == found.height
    assert found["empty"].to_list() == [""] * found.height


def test_every_row_is_one_line_for_any_program(bmp_file: tuple[str, list[str]]) -> None:
    path, expected = bmp_file
    with open(path, "rb") as file:  # noqa: PTH123
        body = file.read().decode()
    assert len(body.splitlines()) == len(expected) + 1
    assert not re.search(f"[{BREAKS}]", body.replace("\r\n", ""))


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n@", " =", "\u3000＝"])
def test_only_texts_are_escaped(start: str) -> None:
    rows = pl.DataFrame({"text": [f"{start}1"], "n": [-1], "x": [-1.5], "day": [date(1, 1, 1)]})
    [row] = csv.DictReader(io.StringIO(csv_files.as_csv(rows).decode(), newline=""))
    assert not re.match(r"[=+\-@\t\r]", row["text"])
    assert (row["n"], row["x"], row["day"]) == ("-1", "-1.5", "0001-01-01")
