"""From a dropped audience report, as bytes, to one row an account, dimension and value."""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Protocol

import polars as pl

from assets.transforms.erasure import ErasedAccounts

ROWS_SCHEMA = {
    "account_id": pl.String,
    "dimension": pl.String,
    "value": pl.String,
    "as_of": pl.Date,
    "share_percent": pl.Float64,
}
"""What a report says. ``share_percent`` is 0 to 100; the shares of a dimension need not add up to anything."""
REJECT_SCHEMA = {"line": pl.Int64, "account_id": pl.String, "cells": pl.String, "reason": pl.String}
COLUMN_SCHEMA = {"column": pl.String, "filled": pl.Int64, "reason": pl.String}
KEY = ("account_id", "dimension", "value", "as_of")
MOST_BYTES = 256 << 20
_SEPARATORS = (",", ";", "\t", "|")
_ENCODINGS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_NUMBER = re.compile(r"(\d{1,3}(?:[.,]\d+)?)\s*%?")
_ABSENT = {"", "-", "–", "n/a", "na", "null", "none"}
_DATE = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")
_BATCH_ROWS = 50_000


class ColumnMap(Protocol):
    """What headers and cells mean."""

    def role(self, header: str) -> str | None: ...  # noqa: D102
    def share(self, header: str) -> tuple[str, str] | None: ...  # noqa: D102
    def is_ignored(self, header: str) -> bool: ...  # noqa: D102
    def dimension(self, text: str) -> str | None: ...  # noqa: D102
    def value(self, dimension: str, text: str) -> str: ...  # noqa: D102
    def date(self, text: str) -> date | None: ...  # noqa: D102


class UnusableReportError(ValueError):
    """Nothing in a file can be used; the message is the reason, one clause."""


@dataclass(frozen=True)
class Report:
    """What a file says: usable rows, rows that cannot be used, and columns that are not known, each with a reason."""

    rows: pl.DataFrame
    rejects: pl.DataFrame
    unknown_columns: pl.DataFrame


def read_report(name: str, body: bytes, columns: ColumnMap) -> Report:
    """Read a file in the encoding, separator and decimal sign that it has. Raises UnusableReportError.

    ``name`` may hold the date that the report speaks of. Memory: the file's text and its usable rows.
    """
    table = _Table(decode(body), columns)
    layout = _Layout.of(table.header, columns, _date_in(name))
    rows: list[pl.DataFrame] = []
    rejects: list[tuple[object, ...]] = []
    filled = dict.fromkeys(layout.unknown, 0)
    batch: list[tuple[object, ...]] = []
    for line, cells in table:
        if len(cells) != len(table.header):
            reason = f"the row has {len(cells)} cells and the header {len(table.header)}"
            rejects.append((line, None, json.dumps(cells, ensure_ascii=False), reason))
            continue
        for at in filled:
            filled[at] += bool(cells[at].strip())
        for reading in layout.readings(cells, columns):
            if isinstance(reading, str):
                shown = json.dumps(dict(zip(table.header, cells, strict=True)), ensure_ascii=False)
                rejects.append((line, cells[layout.account].strip(), shown, reading))
            else:
                batch.append((*reading, line))
        if len(batch) >= _BATCH_ROWS:
            rows.append(_frame(batch))
            batch = []
    usable, repeated = _once(pl.concat([*rows, _frame(batch)]))
    unknown = [(table.header[at], count, "the column is not in audience_columns.yaml") for at, count in filled.items()]
    return Report(
        usable,
        pl.concat([pl.DataFrame(rejects, schema=REJECT_SCHEMA, orient="row"), repeated]),
        pl.DataFrame(unknown, schema=COLUMN_SCHEMA, orient="row"),
    )


def decode(body: bytes) -> str:
    """The text of a file: by its byte order mark, else UTF-8, else Windows-1252. Raises UnusableReportError."""
    if len(body) > MOST_BYTES:
        raise UnusableReportError(f"the file is larger than {MOST_BYTES >> 20} MiB, so it has to be split")
    marked = next((encoding for mark, encoding in _ENCODINGS if body.startswith(mark)), None)
    for encoding in [marked] if marked else ["utf-8", "cp1252"]:
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise UnusableReportError("the file is not text in UTF-8, UTF-16 or Windows-1252")


class _Table:
    """The rows of separated text; the first that is not blank is the header, after Excel's ``sep=;`` if it is there."""

    def __init__(self, text: str, columns: ColumnMap) -> None:
        lines = text.lstrip("\r\n")
        first = lines.partition("\n")[0].strip().lower()
        declared = first.removeprefix("sep=") if first.startswith("sep=") else ""
        self._above = text[: len(text) - len(lines)].count("\n") + (1 if declared else 0)
        self._text = lines.partition("\n")[2] if declared else lines
        separators = [declared] if len(declared) == 1 else _SEPARATORS
        self._separator = max(separators, key=lambda separator: self._known(separator, columns))
        self.header = next((cells for _, cells in self._rows(self._separator)), [])
        if not self.header:
            raise UnusableReportError("the file is empty")

    def _known(self, separator: str, columns: ColumnMap) -> tuple[int, int]:
        try:
            header = next((cells for _, cells in self._rows(separator)), [])
        except UnusableReportError:
            return 0, 0
        return sum(bool(columns.role(cell) or columns.share(cell)) for cell in header), len(header)

    def _rows(self, separator: str) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=separator, strict=True)
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num + self._above, cells
        except csv.Error as error:
            raise UnusableReportError(f"line {reader.line_num + self._above} cannot be read: {error}") from None

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        rows = self._rows(self._separator)
        next(rows)
        return rows


@dataclass(frozen=True)
class _Layout:
    """Where a file has what: the columns of the roles, and those that hold the share of one value each."""

    account: int
    as_of: int | None
    written_out: tuple[int, int, int] | None
    shares: tuple[tuple[int, str, str], ...]
    unknown: tuple[int, ...]
    default: date | None

    @classmethod
    def of(cls, header: Sequence[str], columns: ColumnMap, default: date | None) -> "_Layout":
        roles: dict[str, int] = {}
        for at, name in enumerate(header):
            role = columns.role(name)
            if role in roles:
                raise UnusableReportError(f"the columns {header[roles[role]]!r} and {name!r} both mean {role}")
            if role:
                roles[role] = at
        if "account_id" not in roles:
            raise UnusableReportError("no column means account_id")
        if "as_of" not in roles and default is None:
            raise UnusableReportError("neither a column nor the file's name says the date that it speaks of")
        long = [roles[role] for role in ("dimension", "value", "share_percent") if role in roles]
        found = {at: share for at, name in enumerate(header) if at not in roles.values()
                 and (share := columns.share(name))}  # fmt: skip
        if len(long) < 3 and not found:
            raise UnusableReportError("no column holds the share of a value")
        known = {*found, *roles.values()}
        unknown = [at for at, name in enumerate(header) if at not in known and not columns.is_ignored(name)]
        if 0 < len(long) < 3:
            unknown = sorted({*unknown, *long})
        written_out = (long[0], long[1], long[2]) if len(long) == 3 else None
        shares = tuple((at, dimension, value) for at, (dimension, value) in found.items())
        return cls(roles["account_id"], roles.get("as_of"), written_out, shares, tuple(unknown), default)

    def readings(self, cells: Sequence[str], columns: ColumnMap) -> Iterator[tuple[object, ...] | str]:
        """What a row says, as values of ROWS_SCHEMA, or why something in it cannot be used."""
        account = cells[self.account].strip()
        stated = cells[self.as_of].strip() if self.as_of is not None else ""
        as_of = columns.date(stated) if stated else self.default
        if not account:
            yield "account_id is missing"
        elif as_of is None:
            yield "as_of is not a date" if stated else "as_of is missing"
        else:
            for dimension, value, text, where in self._stated(cells, columns):
                share = _percent(text)
                if dimension is None:
                    yield "the dimension is not in audience_columns.yaml"
                elif not value:
                    yield "the value is missing"
                elif share is None:
                    yield f"{where} is not a number from 0 to 100"
                else:
                    yield account, dimension, value, as_of, share

    def _stated(self, cells: Sequence[str], columns: ColumnMap) -> Iterator[tuple[str | None, str, str, str]]:
        if self.written_out is not None:
            named, value, share = (cells[at].strip() for at in self.written_out)
            dimension = columns.dimension(named)
            yield dimension, columns.value(dimension, value) if dimension and value else value, share, "share_percent"
        for at, dimension, value in self.shares:
            if cells[at].strip().casefold() not in _ABSENT:
                yield dimension, value, cells[at].strip(), f"the share of {dimension} {value}"


def _percent(text: str) -> float | None:
    """A number from 0 to 100 with a point or a comma, perhaps with a percent sign."""
    found = _NUMBER.fullmatch(text.strip())
    share = float(found.group(1).replace(",", ".")) if found else None
    return share if share is not None and share <= 100 else None


def _date_in(name: str) -> date | None:
    for found in _DATE.finditer(name):
        try:
            return date(*(int(part) for part in found.groups()))
        except ValueError:
            continue
    return None


def _frame(batch: Sequence[tuple[object, ...]]) -> pl.DataFrame:
    return pl.DataFrame(batch, schema={**ROWS_SCHEMA, "line": pl.Int64}, orient="row")


def _once(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows once each; where a file says different shares of one value, all are rejects: none is the true one."""
    contradicted = rows.filter(pl.col("share_percent").n_unique().over(KEY) > 1)
    shown = pl.struct(*KEY, "share_percent").struct.json_encode()
    rejects = contradicted.select("line", "account_id", cells=shown, reason=pl.lit("the file says another share too"))
    usable = rows.join(contradicted, on=KEY, how="anti").unique(KEY, keep="first", maintain_order=True)
    return usable.drop("line"), rejects


def judge(reports: pl.DataFrame, accounts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of live accounts, and (account_id, source_file, rows, reason) of the accounts that are not known.

    ``accounts`` has ``account_id`` and ``deleted_at``; what is reported about a deleted account is in neither.
    """
    live = accounts.filter(pl.col("deleted_at").is_null())
    unknown = reports.join(accounts, on="account_id", how="anti")
    counted = unknown.group_by("account_id", "source_file").agg(rows=pl.len())
    return (
        reports.join(live, on="account_id", how="semi"),
        counted.with_columns(reason=pl.lit("account_id is not in the lake")),
    )


def without_accounts(report: Report, erased: ErasedAccounts) -> Report:
    """What a report says of accounts that were not erased. A line without an account is one's if any cell is its id."""
    if not erased:
        return report
    gone = erased.accounts_among(report.rows["account_id"].unique())
    ids = [
        {account} if account is not None else {str(cell).strip() for cell in json.loads(cells)}
        for account, cells in report.rejects.select("account_id", "cells").iter_rows()
    ]
    kept = pl.Series([not erased.accounts_among(of_line) for of_line in ids], dtype=pl.Boolean)
    rows = report.rows.filter(~pl.col("account_id").is_in(pl.Series(sorted(gone), dtype=pl.String).implode()))
    return replace(report, rows=rows, rejects=report.rejects.filter(kept))
