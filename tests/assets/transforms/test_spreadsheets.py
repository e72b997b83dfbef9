"""Ids that a spreadsheet has changed for good are refused with the reason; what people and networks write is not."""

from datetime import date

import polars as pl
import pytest

from assets.transforms.audience import read_report
from assets.transforms.labels.votes import with_reasons
from assets.transforms.spreadsheets import changed
from resources.catalogues.audience import load_audience_columns

ROUNDED, DAY, ERROR = "rounded number", "day of a calendar", "error of a formula"
CHANGED = {
    **dict.fromkeys(("1.23457E+16", "1,23457E+16", " 1.23457e+16 ", "1E+17", "1.2345678901234568e16"), ROUNDED),
    **dict.fromkeys(("2-Jan", "12-Oct", "1-Mar-26", "Jan-02", "Okt 26", "01. Mrz", "3-mars", "1-Mar-2026"), DAY),
    **dict.fromkeys(("#NAME?", "#N/A", "#REF!", "#VALUE!", "#DIV/0!", "########"), ERROR),
}  # fmt: skip
KEPT = (
    *("12345678901234567", "0042", "1e5", "12e4", "5E3", "1E5", "E+16", "1.2", "UC-9-kyTW8ZkZNDHQJ6FgpwQ", "a1.5E+16"),
    *("march-2", "2-January-x", "may", "Jan", "12-13", "2026-03-01", "#food", "#", "@me", "x#N/A", "", "dec-2026-a"),
)


def reasons(*ids: str | None) -> list[str | None]:
    return (
        pl.DataFrame({"item_id": ids}, schema={"item_id": pl.String}).select(changed("item_id")).to_series().to_list()
    )


@pytest.mark.parametrize(("text", "kind"), CHANGED.items())
def test_what_a_spreadsheet_made_of_an_id_is_refused(text: str, kind: str) -> None:
    [reason, kept] = reasons(text, "a")
    assert reason is not None
    assert kind in reason
    assert "as text" in reason
    assert kept is None


def test_other_ids_stay() -> None:
    assert reasons(None, *KEPT) == [None] * (1 + len(KEPT))


def test_ids_whose_digits_after_the_fifteenth_are_all_zero_were_rounded() -> None:
    cut = ["12345678901234500", "98765432109876500", "11122233344455500"]
    assert all(ROUNDED in (reason or "") for reason in reasons(*cut))
    assert reasons(*cut, "55", "name")[3:] == [None, None]
    assert reasons(*cut, "12345678901234567") == [None] * 4, "one long id is exact, so the column was not rounded"
    assert reasons(*cut[:2]) == [None] * 2, "four zeros may be chance"
    assert reasons(*([cut[0]] * 9)) == [None] * 9, "the same id again proves nothing"


def test_a_report_and_a_label_file_refuse_them() -> None:
    text = "account_id;dimension;value;share\n1,23457E+16;sex;f;10\na;age;12-Oct;20\na;sex;f;30\n#NAME?;sex;f;4\n"
    report = read_report("report-2026-03-01.csv", text.encode(), load_audience_columns())
    assert report.rows.rows() == [("a", "gender", "female", date(2026, 3, 1), 30.0)]
    found = [(line, reason.partition(":")[0]) for line, reason in report.rejects.select("line", "reason").rows()]
    assert found == [
        (2, "account_id is a rounded number"),
        (3, "value is a day of a calendar"),
        (5, "account_id is an error of a formula, or of a column that was too narrow"),
    ]
    rows = [("post", "1.23457E+16", "food", True), ("post", "p", "food", True), ("account", "2-Jan", "food", False)]
    votes = pl.DataFrame(rows, schema=["item_kind", "item_id", "vertical", "is_member"], orient="row")
    first, second, third = with_reasons(votes)["reason"]
    assert (ROUNDED in first, second, DAY in third) == (True, None, True)
