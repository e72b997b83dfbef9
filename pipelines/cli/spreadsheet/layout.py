"""Where the sheets of an estimate have what the others use."""

from typing import Any

from assets.transforms.estimates import Option

Sheet = Any
Formats = dict[str, Any]
FIRST = 5
"""Row of the first option on its sheet, and of the first price, from 1."""
ROWS = (
    *("accounts", "text", "overhead", "low", "high", "prompt", "answer", "largest", "rate", "posts_each"),
    *("read", "written", "posts"),
)
"""The rows of the sheet Assumptions, from its second row on."""


def column_of(case: int) -> str:
    """Return the column of a case on the sheets Assumptions and All in, by its number from 0."""
    return chr(ord("B") + case)


def assumption(case: int, row: str) -> str:
    """Return the cell of an assumption of a case, by the name of its row."""
    return f"Assumptions!${column_of(case)}${ROWS.index(row) + 2}"


def span(case: int, column: str, rows: int) -> str:
    """Return a column of the options of a case."""
    return f"'Options {case + 1}'!${column}${FIRST}:${column}${FIRST + rows - 1}"


def fit_of(option: Option) -> str:
    """Return whether the largest account is within the model's context, in a word."""
    return {True: "yes", False: "no", None: "unknown"}[option.fits]


def cheapest(rows: list[Option], least: float) -> Option | None:
    """Return the cheapest option still offered whose score is at least ``least``."""
    scored = [o for o in rows if not o.offer.retired and o.offer.mmlu and float(o.offer.mmlu) >= least]
    return min(scored, key=lambda option: option.usd.value, default=None)


def lowest(case: int, rows: int, least: str) -> str:
    """Return the formula of the cheapest USD of options still offered with a score of at least the value ``least``."""
    usd, offered, score = (span(case, column, rows) for column in "HMD")
    some = f'COUNTIFS({offered},"yes",{score},">="&{least})'
    return f'=IF({some}=0,"none",_xlfn.MINIFS({usd},{offered},"yes",{score},">="&{least}))'
