"""`cippus export`: every kind of file reads back as the mart's values; a bad request is one sentence."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from python_calamine import CalamineWorkbook

from assets.audit import Audit
from assets.marts.tables import MARTS
from assets.transforms.marts.csv_files import escaped, in_one_line
from pipelines.cli import export
from pipelines.cli.files import duckdb_file, spreadsheet_rows, table_file
from resources.delta.table import Column, Contents, LakeResource, TableSpec
from resources.errors import InputError
from resources.spend.store import S3Store
from tests.assets.transforms.marts.test_csv_files import BMP

MOMENT = datetime(2026, 7, 1, 12, 30, 5, tzinfo=UTC)
SPEC = TableSpec.of(
    "mart/odd",
    {
        "id": Column(pa.int64(), "Number."),
        "text": Column(pa.string(), "It's a text."),
        "real": Column(pa.float64(), "Real."),
        "yes": Column(pa.bool_(), "Whether."),
        "at": Column(pa.timestamp("us", tz="UTC"), "Time."),
        "day": Column(pa.date32(), "Day."),
    },
    ("id",),
    partitioned=False,
)
TEXTS = ["=1+1", "http://example.com", "", None, "1", "true", "_x0041_", " spaces ", "x" * 40_000, *BMP[:300]]
ROWS = pl.DataFrame(
    {
        "id": [2**62, *range(1, len(TEXTS))],
        "text": TEXTS,
        "real": [0.1, None] + [1.0] * (len(TEXTS) - 2),
        "yes": [True, None] + [False] * (len(TEXTS) - 2),
        "at": [MOMENT, None] + [datetime(1, 1, 1, tzinfo=UTC)] * (len(TEXTS) - 2),
        "day": [date(2026, 7, 1), None] + [date(1900, 1, 1)] * (len(TEXTS) - 2),
    },
    schema=SPEC.polars_schema,
)
LAZY = ROWS.lazy()


class OneTable:
    """A lake with one table of one part."""

    def contents(self, _spec: TableSpec) -> dict[int, Contents]:
        return {-1: Contents("", 0, 0)}

    def scan(self, _spec: TableSpec, _bucket: int | None = None) -> pl.LazyFrame:
        return LAZY


def test_parquet_has_the_values(tmp_path: Path) -> None:
    assert table_file.parquet(tmp_path / "a.parquet", LAZY, SPEC) == ROWS.height
    assert pl.read_parquet(tmp_path / "a.parquet").equals(ROWS)


def test_csv_has_the_documented_texts(tmp_path: Path) -> None:
    table_file.csv(tmp_path / "a.csv", LAZY, SPEC)
    found = pl.read_csv(tmp_path / "a.csv", infer_schema=False)
    assert found["text"].to_list() == ROWS.select(escaped(pl.col("text")))["text"].to_list()
    assert found["id"][0] == str(2**62)


def test_xlsx_reads_back_with_types_and_without_formulas(tmp_path: Path) -> None:
    assert spreadsheet_rows.xlsx(tmp_path / "a.xlsx", LAZY, SPEC) == ROWS.height
    book = CalamineWorkbook.from_path(str(tmp_path / "a.xlsx"))
    header, *rows = book.get_sheet_by_name("rows").to_python()
    assert header == SPEC.schema.names
    texts = ROWS.select(in_one_line(pl.col("text")).str.slice(0, 32_767))["text"].to_list()
    assert [row[1] for row in rows] == [text or "" for text in texts]
    assert rows[0][0] == str(2**62), "a double would be another number"
    assert rows[0][2:] == [0.1, True, MOMENT.replace(tzinfo=None), date(2026, 7, 1)]
    assert rows[1] == [1.0, "http://example.com", "", "", "", ""]
    assert rows[2][4:] == ["0001-01-01 00:00:00+00:00", "1900-01-01"]
    meanings = book.get_sheet_by_name("columns").to_python()
    assert meanings[2] == ["text", "It's a text."]


def test_xlsx_keeps_every_character_of_the_plane(tmp_path: Path) -> None:
    texts = ["".join(BMP[start : start + 64]) + "x" for start in range(0, len(BMP), 64)]
    rows = pl.DataFrame({"text": texts})
    spreadsheet_rows.xlsx(tmp_path / "a.xlsx", rows.lazy(), SPEC)
    _, *found = CalamineWorkbook.from_path(str(tmp_path / "a.xlsx")).get_sheet_by_name("rows").to_python()
    assert [row[0] for row in found] == [
        "".join(c for c in text if c not in "\ufffe\uffff") for text in rows.select(in_one_line(pl.col("text")))["text"]
    ]


def test_a_device_or_a_pipe_is_refused_and_a_link_stays(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for special in (tmp_path / "pipe.csv", Path("/dev/null")):
        with pytest.raises(InputError, match="is a device or a pipe; expected a file to write"):
            export.export("mart/creators", special, export.Format.CSV, "")
    (tmp_path / "real.parquet").touch()
    (tmp_path / "a.parquet").symlink_to("real.parquet")
    table_file.parquet(tmp_path / "a.parquet", LAZY, SPEC)
    assert (tmp_path / "a.parquet").is_symlink()
    assert pl.read_parquet(tmp_path / "real.parquet").equals(ROWS)


def test_too_many_rows_for_a_sheet_are_refused(tmp_path: Path) -> None:
    many = pl.LazyFrame({"id": range(spreadsheet_rows.MOST_ROWS + 1)})
    with pytest.raises(InputError, match="1,048,576 rows are more than a sheet holds"):
        spreadsheet_rows.xlsx(tmp_path / "a.xlsx", many, SPEC)
    assert not list(tmp_path.iterdir())


def test_duckdb_has_the_values_and_what_they_mean(tmp_path: Path) -> None:
    file = tmp_path / "marts.duckdb"
    file.write_text("an older file")
    assert duckdb_file.write(file, [SPEC], cast("LakeResource", OneTable())) == ROWS.height
    with duckdb.connect(str(file), read_only=True) as connection:
        found = connection.execute('SELECT id, text, yes, "at", day FROM odd ORDER BY id').fetchall()
        meaning = connection.execute("SELECT meaning FROM columns WHERE \"column\" = 'text'").fetchall()
        comments = connection.execute("SELECT comment FROM duckdb_columns() WHERE column_name = 'text'").fetchall()
    plain = ROWS.sort("id")["text"].str.replace_all(r"[\x00-\x08\x0B-\x1F\x7F-\x{9F}]", "").to_list()
    assert [row[1] for row in found] == plain
    assert found[-1] == (2**62, "=1+1", True, MOMENT.replace(tzinfo=None), date(2026, 7, 1))
    assert meaning == [("It's a text.",)]
    assert ("It's a text.",) in comments


@pytest.mark.parametrize(
    ("what", "name", "options", "said"),
    [
        ("mart/other", "a.csv", {}, "mart/other is no mart; expected all, mart/creators"),
        ("mart/creators", "a.txt", {}, "does not end in .csv"),
        ("mart/creators", "a", {}, "does not end in .csv"),
        ("mart/creators", "a.duckdb", {}, "cippus export all marts.duckdb"),
        ("all", "a.csv", {}, "cippus export all marts.duckdb"),
        ("all", "a.duckdb", {"where": "followers > 1"}, "leave it out to export all"),
        ("mart/creators", "none/a.csv", {}, "is not a folder"),
        ("mart/creators", "folder.csv", {}, "is a folder"),
    ],
)
def test_a_bad_request_is_refused(tmp_path: Path, what: str, name: str, options: dict[str, Any], said: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=said):
        export.export(what, tmp_path / name, **{"format_": None, "where": "", **options})


def test_an_export_is_in_the_audit_log_and_a_refused_one_is_not(
    lake: LakeResource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.wiring.resources", lambda: SimpleNamespace(lake=lake))
    monkeypatch.setattr("pipelines.cli.export.require_stack", lambda: None)
    monkeypatch.setenv("SUDO_USER", "ann")
    with pytest.raises(InputError):
        export.export("mart/creators", tmp_path / "a.csv", None, "nothing = 1")
    export.export("mart/creators", tmp_path / "a.csv", None, "account_id = 'secret'")
    export.export("all", tmp_path / "a.duckdb", None, "")
    events = Audit(S3Store(lake.s3)).events()
    assert {event.what for event in events} == {"exported mart/creators as csv", "exported all as duckdb"}
    assert {event.who.partition("@")[0] for event in events} == {"ann"}
    assert (tmp_path / "a.csv").read_bytes().startswith(b'"account_id"')


@pytest.mark.parametrize(
    ("where", "kept"), [("id = 3", 1), ("text LIKE '%example%' AND id < 5", 1), ("text IS NULL", 1), ("id > 1e30", 0)]
)
def test_a_condition_selects_rows(where: str, kept: int) -> None:
    assert export.selected(LAZY, where, SPEC).collect().height == kept


@pytest.mark.parametrize("where", ["nothing = 1", "id >", "id = 1; DROP TABLE x", "SUM(id) OVER", "text + 1 > '"])
def test_a_condition_that_is_none_is_refused(where: str) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        export.selected(LAZY, where, SPEC)


def test_every_mart_has_a_file_name_of_its_own() -> None:
    names: list[str] = [spec.name.removeprefix("mart/") for spec in MARTS]
    keep: Callable[[str], bool] = str.isidentifier
    assert all(map(keep, names))
    assert len(set(names)) == len(names)
