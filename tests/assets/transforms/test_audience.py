"""Audience reports: whatever encoding, separator and layout they come in, and what of them cannot be used."""

import csv
import io
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms import audience
from assets.transforms.audience import (
    COLUMN_SCHEMA,
    MOST_SHARES,
    REJECT_SCHEMA,
    ROWS_SCHEMA,
    Report,
    judge,
    read_report,
)
from assets.transforms.delimited import MOST_BYTES, UnusableReportError, decode
from resources.catalogues.audience import load_audience_columns

COLUMNS = load_audience_columns()
DAY = date(2026, 3, 1)


def read(body: str | bytes, name: str = "report-2026-03-01.csv") -> Report:
    return read_report(name, body.encode() if isinstance(body, str) else body, COLUMNS)


def said(body: str | bytes, name: str = "report-2026-03-01.csv") -> list[tuple[Any, ...]]:
    report = read(body, name)
    assert report.rejects.is_empty(), report.rejects
    return report.rows.rows()


FEMALE = ("a", "gender", "female", DAY, 51.5)
IN_GERMANY = ("a", "country", "DE", DAY, 40.0)


@pytest.mark.parametrize(
    "text",
    [
        "account_id,Gender: Female,country_DE\na,51.5,40\n",
        "sep=\t\naccount_id\tfemale\tcountry_DE\na\t51,5\t40\n",
        '"sep=;"\r\naccount_id;female;country_DE\r\na;51,5;40\r\n',
        "sep = ;\naccount_id;female;country_DE\na;51,5;40\n",
        '"sep=;";;\naccount_id;female;country_DE\na;51,5;40\n',
        "SEP=\\t\raccount_id\tfemale\tcountry_DE\ra\t51,5\t40\r",
        'sep=";"\naccount_id;female;country_DE\na;51,5;40\n',
        "sep=;\naccount_id,female,country_DE\na,51.5,40\n",
        "sep=\naccount_id,female,country_DE\na,51.5,40\n",
        "account_id,female,country_DE\na,51.5,40,\n",
        "account_id,female,country_DE\na,51.5,40, ,,\n",
        "account_id,female,country_DE,,\na,51.5,40\n",
        "account_id,female,country_DE,\na,51.5,40,,\n",
        """account_id,female,country_DE\n'a,"'51.5",'+40%\n""".replace("'a", "a"),
        '="account_id",female,country_DE\n"=""a""","=""51,5""","4e1"\n'.replace('="account_id"', "account_id"),
        'Account ID,"GENDER - female (%)",Country DE\r\na,"51,5",40%\r\n',
        "account_id;Gender: Female;country_DE\na;51,5;40 %\n",
        "sep=;\naccount_id;Gender: Female;country_DE\na;51,5;40,0\n",
        "\n\naccount_id\tfemale\tCOUNTRY_CODE de\n\n a \t51.5 %\t40\n",
        "account_id|date|Dimension|Segment|Share\na|2026-03-01|Sex|F|51.5\na|01.03.2026|country|de|40\n",
        "account_id,as_of,female,country_DE,Country_AT,male\na,2026-03-01,51.5,40,,-\n",
        "network,account_id,Followers,female,country DE\nyoutube,a,1000,51.5,40\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_layouts_separators_and_encodings_say_the_same(text: str, encoding: str) -> None:
    assert said(text.encode(encoding)) == [FEMALE, IN_GERMANY]


def test_the_column_decides_what_a_separator_means() -> None:
    header = "account_id;female;male;18-24\n"
    report = read(header + "a;1,234;1,234;1.234\nb;51,5;2;0.5\n")
    assert report.rejects.select("account_id", "reason").rows() == [
        ("a", "the share of gender male has a separator that may be decimal or of thousands")
    ]
    assert [(row[0], row[2], row[4]) for row in report.rows.rows()] == [
        ("a", "female", 1.234), ("a", "18-24", 1.234), ("b", "female", 51.5), ("b", "male", 2), ("b", "18-24", 0.5)
    ]  # fmt: skip
    thousands = read(header + "a;1.234;;\nb;51,5;;\n")
    assert thousands.rejects["reason"].to_list() == ["the share of gender female is not a number from 0 to 100"]


def test_the_column_decides_across_the_batches_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "_BATCH_ROWS", 1)
    assert [row[4] for row in said("account_id;dimension;value;share\na;sex;f;1,234\nb;sex;f;0,5\n")] == [1.234, 0.5]


def test_ids_that_a_spreadsheet_was_told_to_take_as_text() -> None:
    text = 'account_id,female\n\'007,1\n"=""0042""",2\n\'@me,3\n\'quoted\',4\n'
    assert [row[0] for row in said(text)] == ["007", "0042", "@me", "'quoted'"]


def test_a_file_with_too_many_shares_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_SHARES == 5_000_000
    monkeypatch.setattr(audience, "MOST_SHARES", 1)
    with pytest.raises(UnusableReportError, match="the file has more than 1 shares, so it has to be split"):
        read("account_id,female,male\na,1,2\n")


def test_values_are_called_by_one_name() -> None:
    text = "account_id,dimension,value,share_percent\n" + "".join(
        f"a,{dimension},{value},1\n"
        for dimension, value in [
            ("Age Group", "65 plus"),
            ("sex", "Woman"),
            ("Country", "gb "),
            ("interests", "Caffè & Tè"),
        ]
    )
    rows = said(text.encode("cp1252"))
    assert [row[1:3] for row in rows] == [
        ("age", "65+"),
        ("gender", "female"),
        ("country", "GB"),
        ("interest", "caffè & tè"),
    ]


def test_the_date_is_a_columns_or_the_names() -> None:
    both = "account_id,as of,female\na,2026-01-31T10:00:00Z,1\nb,,2\n"
    assert [row[3] for row in said(both)] == [date(2026, 1, 31), DAY]
    assert [row[3] for row in said("account_id,female\na,1\n", "2026-13-01 to 2026-02-28.csv")] == [date(2026, 2, 28)]
    assert read(both, "report.csv").rejects["reason"].to_list() == ["as_of is missing"]


def test_shares_need_not_add_up() -> None:
    assert [row[4] for row in said("account_id,female,male,18-24,25-34\na,80,60,100,0\n")] == [80, 60, 100, 0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("account_id,female\n ,1\n", "account_id is missing"),
        ("account_id,female\na,1,2\n", "the row has 3 cells and the header 2"),
        ("account_id,female\na\n", "the row has 1 cells and the header 2"),
        ("account_id,as_of,female\na,soon,1\n", "as_of is not a date"),
        ("account_id,as_of,female\na,infinity,1\n", "as_of is not a date"),
        ("account_id,as_of,female\na,-infinity,1\n", "as_of is not a date"),
        ("account_id,as_of,female\na,294276-01-01,1\n", "as_of is not a date"),
        ("account_id,as_of,female\na,0000-01-01,1\n", "as_of is not a date"),
        ("account_id,female\na,1e3\n", "the share of gender female is not a number from 0 to 100"),
        ("account_id,female\na,1e999\n", "the share of gender female is not a number from 0 to 100"),
        ("account_id,female\na,101\n", "the share of gender female is not a number from 0 to 100"),
        ("account_id,female\na,-1\n", "the share of gender female is not a number from 0 to 100"),
        ("account_id,female\na,about 5\n", "the share of gender female is not a number from 0 to 100"),
        ('account_id,female\na,"1.234,5"\n', "the share of gender female is not a number from 0 to 100"),
        ("account_id,female\na,nan\n", "the share of gender female is not a number from 0 to 100"),
        ("account_id,dimension,value,share\na,mood,good,1\n", "the dimension is not in audience_columns.yaml"),
        ("account_id,dimension,value,share\na,gender,,1\n", "the value is missing"),
        ("account_id,dimension,value,share\na,gender,f,\n", "share_percent is not a number from 0 to 100"),
    ],
)
def test_a_row_that_cannot_be_used_keeps_its_cells_and_has_a_reason(text: str, reason: str) -> None:
    report = read("\nsep=,\n" + text)
    [found] = report.rejects.to_dicts()
    assert found["reason"] == reason
    assert found["line"] == 4
    assert all(cell.strip() in found["cells"] for cell in next(csv.reader([text.splitlines()[1]])))
    assert report.rows.is_empty()


def test_one_bad_cell_does_not_hold_up_the_rows_others() -> None:
    report = read("account_id,female,male\na,51.5,much\n")
    assert report.rows.rows() == [FEMALE]
    assert report.rejects.height == 1


def test_a_share_that_is_repeated_counts_once_and_one_that_is_contradicted_not_at_all() -> None:
    report = read("account_id,female,male\na,51.5,1\na,51.5,2\n")
    assert report.rows.rows() == [FEMALE]
    assert report.rejects.select("line", "account_id", "reason").rows() == [
        (2, "a", "the file says another share too"),
        (3, "a", "the file says another share too"),
    ]
    assert read("account_id,as_of,female\na,2026-01-01,1\na,2026-02-01,2\n").rows.height == 2


def test_unknown_columns_are_named_with_how_much_is_in_them() -> None:
    report = read("account_id,female,Shoe size,,dimension\na,1,43,x,gender\nb,1,,,\n")
    reason = "the column is not in audience_columns.yaml"
    assert report.unknown_columns.rows() == [("Shoe size", 1, reason), ("", 1, reason), ("dimension", 1, reason)]
    assert report.rows.height == 2


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\r\n\r\n", "the file is empty"),
        (b"handle,female\na,1\n", "no column means account_id"),
        (b"account_id,shoe\na,1\n", "no column holds the share of a value"),
        (b"account_id,Creator ID,female\na,a,1\n", "the columns 'account_id' and 'Creator ID' both mean account_id"),
        (b'account_id,female\na,"1\n', "line 2 cannot be read: unexpected end of data"),
        (b"account_id,female\na,\x81\n", "the file is not text in UTF-8, UTF-16 or Windows-1252"),
        (b"\xff\xfea", "the file is not text in UTF-8, UTF-16 or Windows-1252"),
        (b"PK\x03\x04\x00\x00", "the file is not text in UTF-8, UTF-16 or Windows-1252"),
    ],
)
def test_a_file_that_cannot_be_used_has_one_reason(body: bytes, reason: str) -> None:
    with pytest.raises(UnusableReportError) as raised:
        read(body)
    assert str(raised.value) == reason


def test_a_file_without_any_date_or_beyond_the_limit_is_refused() -> None:
    with pytest.raises(UnusableReportError, match="the date that it speaks of"):
        read("account_id,female\na,1\n", "report.csv")
    with pytest.raises(UnusableReportError, match="larger than 256 MiB"):
        decode(bytes(MOST_BYTES + 1))


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)
SHARE = st.integers(0, 10_000).map(lambda hundredths: hundredths / 100)


def is_plain(cell: str) -> bool:
    """Return whether a cell has text, without a mark by which spreadsheets take it as text: ``'007``, ``="007"``."""
    return not cell.strip().startswith(("'", '="')) and bool(cell.strip())


@given(
    st.lists(
        st.tuples(CELL.filter(is_plain), SHARE, SHARE), min_size=1, max_size=5, unique_by=lambda row: row[0].strip()
    ),
    st.sampled_from(",;\t|"),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.booleans(),
)
def test_what_is_written_is_read(
    rows: list[tuple[str, float, float]], separator: str, encoding: str, has_commas: bool
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator)
    writer.writerow(["account_id", "Gender: Female", "Age 65+"])
    for account, female, old in rows:
        shown = (f"{share:.2f}".replace(".", "," if has_commas else ".") for share in (female, old))
        writer.writerow([account, *shown])
    report = read(buffer.getvalue().encode(encoding))
    assert report.rejects.is_empty()
    expected = {(account.strip(), "gender", "female", DAY, female) for account, female, _ in rows}
    expected |= {(account.strip(), "age", "65+", DAY, old) for account, _, old in rows}
    assert set(report.rows.rows()) == expected


@given(st.binary(max_size=200))
def test_no_file_breaks_the_reading(body: bytes) -> None:
    for start in (b"", b"account_id,female\n", b"account_id;dimension;value;share\n"):
        try:
            report = read(start + body)
        except UnusableReportError as error:
            reasons = [str(error)]
        else:
            assert dict(report.rows.schema) == ROWS_SCHEMA
            assert dict(report.rejects.schema) == REJECT_SCHEMA
            assert dict(report.unknown_columns.schema) == COLUMN_SCHEMA
            reasons = report.rejects["reason"].to_list()
        assert all(reason and "\n" not in reason for reason in reasons)


def test_judge() -> None:
    reported = pl.DataFrame(
        {"account_id": ["live", "gone", "new", "new"], "source_file": ["f"] * 4, "share_percent": [1.0, 2.0, 3.0, 4.0]}
    )
    accounts = pl.DataFrame({"account_id": ["live", "gone"], "deleted_at": [None, date(2026, 1, 1)]})
    rows, unknown = judge(reported, accounts)
    assert rows["account_id"].to_list() == ["live"]
    assert unknown.rows() == [("new", "f", 2, "account_id is not in the lake")]
