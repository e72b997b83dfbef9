"""Read a dropped audience report: one row per account, dimension, value and date."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from itertools import islice
from typing import Protocol

import polars as pl

from assets.transforms.delimited import Table, UnusableReportError, plain
from assets.transforms.erasure import ErasedAccounts
from assets.transforms.numbers import AMBIGUOUS, decimal_signs, number
from assets.transforms.spreadsheets import changed

ROWS_SCHEMA = {
    "account_id": pl.String,
    "dimension": pl.String,
    "value": pl.String,
    "as_of": pl.Date,
    "share_percent": pl.Float64,
}
"""Usable rows. ``share_percent`` is 0 to 100; the shares of a dimension need not add up to 100."""
REJECT_SCHEMA = {"line": pl.Int64, "account_id": pl.String, "cells": pl.String, "reason": pl.String}
COLUMN_SCHEMA = {"column": pl.String, "filled": pl.Int64, "reason": pl.String}
KEY = ("account_id", "dimension", "value", "as_of")
MOST_SHARES = 5_000_000
"""A report may hold thousands of shares in a kilobyte."""
_ROUNDING = 1e-9
"""Shares that were added up may be 100.00000000000001."""
_ABSENT = ("", "-", "–", "n/a", "na", "null", "none")
_DATE = re.compile(r"(?<!\d)(\d{4})-(\d{2})-(\d{2})(?!\d)")
_BATCH_ROWS = 50_000


class ColumnMap(Protocol):
    """Tells the meaning of headers and cells."""

    def role(self, header: str) -> str | None: ...  # noqa: D102
    def share(self, header: str) -> tuple[str, str] | None: ...  # noqa: D102
    def is_ignored(self, header: str) -> bool: ...  # noqa: D102
    def dimension(self, text: str) -> str | None: ...  # noqa: D102
    def value(self, dimension: str, text: str) -> str: ...  # noqa: D102
    def date(self, text: str) -> date | None: ...  # noqa: D102


@dataclass(frozen=True)
class Report:
    """Usable rows, rejected rows and unknown columns of a file. Rejects and columns have a reason."""

    rows: pl.DataFrame
    rejects: pl.DataFrame
    unknown_columns: pl.DataFrame


def read_report(name: str, body: bytes, columns: ColumnMap) -> Report:
    """Read a file; encoding, separator and decimal sign are detected. Raise UnusableReportError.

    ``name`` may hold the report's date. Memory: the file's text and its usable rows.
    """
    table = Table(body, lambda header: bool(columns.role(header) or columns.share(header)))
    header = table.header
    layout = _Layout.of(header, columns, _date_in(name))
    signs = layout.decimal_signs(table)
    readings = [pl.DataFrame(schema={"line": pl.Int64, **ROWS_SCHEMA})]
    rejects = [pl.DataFrame(schema=REJECT_SCHEMA)]
    filled, count, lines = [0] * len(header), 0, table.lines()
    for batch in iter(lambda: list(islice(lines, _BATCH_ROWS)), []):
        fitted = {line: found for line, cells in batch if (found := table.fitted(cells)) is not None}
        cells = pl.DataFrame([(line, *found) for line, found in fitted.items()],
                             schema={"line": pl.Int64, **dict.fromkeys(map(str, range(len(header))), pl.String)},
                             orient="row")  # fmt: skip
        filled = [before + some for before, some in zip(filled, _filled(cells), strict=True)]
        read = layout.readings(cells, columns, signs)
        count += read.height
        if count > MOST_SHARES:
            raise UnusableReportError(f"the file has more than {MOST_SHARES:,} shares, so it has to be split")
        readings.append(read.filter(pl.col("reason").is_null()).select(readings[0].columns))
        ragged = [(line, found) for line, found in batch if line not in fitted]
        rejects += [_rejects(read, dict(batch), header), _ragged(ragged, header)]
    usable, contradicted = _without_contradictions(pl.concat(readings))
    unknown = [(header[at], filled[at], "the column is not in audience_columns.yaml") for at in layout.unknown]
    return Report(
        usable,
        pl.concat([*rejects, contradicted]).sort("line", maintain_order=True),
        pl.DataFrame(unknown, schema=COLUMN_SCHEMA, orient="row"),
    )


@dataclass(frozen=True)
class _Layout:
    """The columns of a file, by number.

    ``long`` are the dimension, value and share of a row that names them; it is empty if one is missing. ``shares`` maps
    each column that holds the share of a single value to its dimension and value.
    """

    account: int
    as_of: int | None
    default: date | None
    long: Sequence[int]
    shares: Mapping[int, tuple[str, str]]
    unknown: Sequence[int]

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
        named = [roles[role] for role in ("dimension", "value", "share_percent") if role in roles]
        long = named if len(named) == 3 else []
        shares = {at: share for at, name in enumerate(header) if at not in roles.values()
                  and (share := columns.share(name))}  # fmt: skip
        if not long and not shares:
            raise UnusableReportError("no column holds the share of a value")
        known = {*shares, *roles.values()}.difference([] if long else named)
        unknown = [at for at, name in enumerate(header) if at not in known and not columns.is_ignored(name)]
        return cls(roles["account_id"], roles.get("as_of"), default, long, shares, unknown)

    def readings(self, cells: pl.DataFrame, columns: ColumnMap, signs: Mapping[int, frozenset[str]]) -> pl.DataFrame:
        """Return one row per share that a row states: line, the columns of ROWS_SCHEMA, and a reason or null.

        ``cells`` has the columns "line", "0", "1", …; ``signs`` are the decimal signs of each column of shares. A row
        without an account or a date has one reading.
        """
        stated = pl.lit("") if self.as_of is None else pl.col(str(self.as_of))
        found = stated.map_elements(columns.date, return_dtype=pl.Date)
        of_row = ["line", "account_id", "as_of", "reason"]
        rows = cells.with_columns(
            account_id=pl.col(str(self.account)),
            as_of=pl.when(stated == "").then(pl.lit(self.default, pl.Date)).otherwise(found),
        ).with_columns(
            reason=pl.when(pl.col("account_id") == "")
            .then(pl.lit("account_id is missing"))
            .when(changed("account_id").is_not_null())
            .then(changed("account_id"))
            .when(pl.col("as_of").is_null())
            .then(pl.when(stated == "").then(pl.lit("as_of is missing")).otherwise(pl.lit("as_of is not a date")))
        )
        usable = rows.filter(pl.col("reason").is_null())
        wide = [
            usable.select(
                *of_row,
                dimension=pl.lit(dimension),
                value=pl.lit(value),
                share=str(at),
                at=pl.lit(at),
                where=pl.lit(f"the share of {dimension} {value}"),
            ).filter(~pl.col("share").str.to_lowercase().is_in(_ABSENT))
            for at, (dimension, value) in self.shares.items()
        ]
        pieces = [rows.filter(pl.col("reason").is_not_null()).select(of_row), *self._long(usable, columns), *wide]
        read = pl.concat(pieces, how="diagonal").sort("line", maintain_order=True)
        shares = _shares(read, signs)
        return read.with_columns(share_percent=shares["share_percent"]).with_columns(
            reason=pl.when(pl.col("reason").is_not_null())
            .then("reason")
            .when(pl.col("dimension").is_null())
            .then(pl.lit("the dimension is not in audience_columns.yaml"))
            .when(pl.col("value") == "")
            .then(pl.lit("the value is missing"))
            .when(changed("value").is_not_null() & pl.col("at").is_in(self.long[2:]))
            .then(changed("value"))
            .when(shares["is_ambiguous"])
            .then(pl.col("where") + " has a separator that may be decimal or of thousands")
            .when(pl.col("share_percent").is_null())
            .then(pl.col("where") + " is not a number from 0 to 100")
        )

    def decimal_signs(self, table: Table) -> Mapping[int, frozenset[str]]:
        """Return the decimal signs that each column of shares proves. Reads the whole table."""
        texts: dict[int, set[str]] = {at: set() for at in (*self.long[2:], *self.shares)}
        for _, row in table.lines():
            if cells := table.fitted(row):
                for at, seen in texts.items():
                    seen.add(cells[at])
        return {at: decimal_signs(seen) for at, seen in texts.items()}

    def _long(self, rows: pl.DataFrame, columns: ColumnMap) -> Iterator[pl.DataFrame]:
        """Yield the readings of rows that name their dimension and value."""
        if self.long:
            named, value, share = (str(at) for at in self.long)
            dimensions = [columns.dimension(text) for text in rows[named]]
            values = [columns.value(dimension, text) if dimension and text else text
                      for dimension, text in zip(dimensions, rows[value], strict=True)]  # fmt: skip
            yield rows.select(
                *("line", "account_id", "as_of", "reason"),
                dimension=pl.Series(dimensions, dtype=pl.String),
                value=pl.Series(values, dtype=pl.String),
                share=share,
                at=pl.lit(self.long[2]),
                where=pl.lit("share_percent"),
            )


def _filled(cells: pl.DataFrame) -> tuple[int, ...]:
    """Return how many cells of each column are not blank."""
    return cells.select((pl.exclude("line") != "").sum()).row(0)


def _shares(readings: pl.DataFrame, signs: Mapping[int, frozenset[str]]) -> pl.DataFrame:
    """Return ``share_percent``, null unless it is from 0 to 100, and ``is_ambiguous`` of the texts in ``share``."""
    if "share" not in readings.columns:  # every row lacks its account or its date
        return readings.select(share_percent=pl.lit(None, pl.Float64), is_ambiguous=pl.lit(value=False))
    texts = readings.select("at", "share").drop_nulls().unique()
    found = [number(text, signs[at]) for at, text in texts.iter_rows()]
    read = texts.with_columns(
        percent=pl.Series([one if isinstance(one, float) else None for one in found], dtype=pl.Float64),
        is_ambiguous=pl.Series([one == AMBIGUOUS for one in found], dtype=pl.Boolean),
    )
    is_share = pl.col("percent").is_between(-_ROUNDING, 100 + _ROUNDING)
    return (
        readings.select("at", "share")
        .join(read, on=["at", "share"], how="left", maintain_order="left")
        .select(
            share_percent=pl.when(is_share).then(pl.col("percent").clip(0, 100)),
            is_ambiguous=pl.col("is_ambiguous").fill_null(value=False),
        )
    )


def _rejects(readings: pl.DataFrame, cells: Mapping[int, Sequence[str]], header: Sequence[str]) -> pl.DataFrame:
    """Return the readings that have a reason, with their row's cells as a JSON object."""
    found = readings.filter(pl.col("reason").is_not_null())
    shown = [json.dumps(dict(zip(header, cells[line], strict=False)), ensure_ascii=False) for line in found["line"]]
    return found.select("line", "account_id", pl.Series("cells", shown, pl.String), "reason")


def _ragged(lines: Sequence[tuple[int, list[str]]], header: Sequence[str]) -> pl.DataFrame:
    """Return rows whose number of cells differs from the header's, with their cells as a JSON array."""
    rows = [
        (
            line,
            None,
            json.dumps(cells, ensure_ascii=False),
            f"the row has {len(cells)} cells and the header {len(header)}",
        )
        for line, cells in lines
    ]
    return pl.DataFrame(rows, schema=REJECT_SCHEMA, orient="row")


def _date_in(name: str) -> date | None:
    for found in _DATE.finditer(name):
        with suppress(ValueError):
            return date(*map(int, found.groups()))
    return None


def _without_contradictions(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return each row once, and as rejects all rows of a value for which the file states different shares."""
    contradicted = rows.filter(pl.col("share_percent").n_unique().over(KEY) > 1)
    shown = pl.struct(*KEY, "share_percent").struct.json_encode()
    rejects = contradicted.select("line", "account_id", cells=shown, reason=pl.lit("the file says another share too"))
    usable = rows.join(contradicted, on=KEY, how="anti").unique(KEY, keep="first", maintain_order=True)
    return usable.drop("line"), rejects


def judge(reports: pl.DataFrame, accounts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows of live accounts, and (account_id, source_file, rows, reason) of unknown accounts.

    ``accounts`` has ``account_id`` and ``deleted_at``. Rows of deleted accounts are in neither.
    """
    live = accounts.filter(pl.col("deleted_at").is_null())
    unknown = reports.join(accounts, on="account_id", how="anti").group_by("account_id", "source_file")
    return (
        reports.join(live, on="account_id", how="semi"),
        unknown.agg(rows=pl.len(), reason=pl.lit("account_id is not in the lake")),
    )


def without_accounts(report: Report, erased: ErasedAccounts) -> Report:
    """Return a report without erased accounts. A reject without an account is left out if any cell is an erased id."""
    if not erased:
        return report
    gone = pl.Series(sorted(erased.accounts_among(report.rows["account_id"].unique())), dtype=pl.String)
    ids = [
        {account} if account is not None else {plain(str(cell)) for cell in json.loads(cells)}
        for account, cells in report.rejects.select("account_id", "cells").iter_rows()
    ]
    kept = pl.Series([not erased.accounts_among(of_line) for of_line in ids], dtype=pl.Boolean)
    rows = report.rows.filter(~pl.col("account_id").is_in(gone.implode()))
    return replace(report, rows=rows, rejects=report.rejects.filter(kept))
