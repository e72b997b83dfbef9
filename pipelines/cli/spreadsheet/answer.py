"""The sheet Answer: the cheapest option by case and quality, and an old estimate beside what the same work costs."""

from collections.abc import Sequence

from assets.transforms.estimates import Option
from pipelines.cli.spreadsheet.layout import FIRST, Formats, Sheet, cheapest, fit_of, lowest, span

QUALITIES = (73, 80, 86)
"""The scores of an 8B, of a small commercial model, and of a 70B."""
_HEADINGS = (
    *("case", "least quality (MMLU)", "cheapest USD", "provider", "model", "how", "largest account fits", "details on"),
)
_TOGETHER, _70B, _8B = (
    "together",
    "meta-llama/Meta-Llama-3.1-70B-Instruct-Turbo",
    "meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo",
)
_SAME_WORK = (
    ("every post, as it was estimated: a 70B, one by one", -1, _70B, "live"),
    ("every post, a 70B in batches", -1, _70B, "batch"),
    ("every post, an 8B one by one", -1, _8B, "live"),
    ("every post, an 8B in batches", -1, _8B, "batch"),
    ("at most 20,000 posts an account, a 70B one by one", -2, _70B, "live"),
    ("as Cippus samples it, a 70B one by one", -3, _70B, "live"),
    ("as Cippus samples it, a 70B in batches", -3, _70B, "batch"),
    ("as Cippus samples it, an 8B in batches", -3, _8B, "batch"),
)
"""What it is, the case counted from the last one, and the option."""


def write_answer(sheet: Sheet, formats: Formats, found: Sequence[list[Option]]) -> None:
    """Write both tables, by formulas over the options. ``found``: the options of each case."""
    sheet.set_column(0, 0, 66)
    sheet.set_column(1, 3, 14)
    sheet.set_column(4, 4, 52)
    sheet.set_column(5, 7, 16)
    sheet.write(0, 0, "Which option is cheapest, at which quality?", formats["bold"])
    sheet.set_row(2, 32)
    sheet.write_row(2, 0, _HEADINGS, formats["head"])
    row = 3
    for case, rows in enumerate(found):
        for least in QUALITIES:
            _cheapest(sheet, formats, row, case, rows, least)
            row += 1
    notes = (
        "Only models that are still offered and have a published score count.",
        "The model alone. All in has embedding, vectors and S3, once and a month: for many posts they cost more.",
        "Assumptions says what is sent, what is counted and what is assumed; prices and their sources are on Prices.",
    )
    for number, note in enumerate(notes, row + 1):
        sheet.write(number, 0, note)
    if len(found) > 2:
        _same_work(sheet, formats, row + len(notes) + 2, found)


def _cheapest(sheet: Sheet, formats: Formats, row: int, case: int, rows: list[Option], least: int) -> None:
    best, number = cheapest(rows, least), len(rows)
    worth = best.usd.value if best else "none"
    usd, offered, score = (span(case, column, number) for column in "HMD")
    sheet.write(row, 0, rows[0].workload.name)
    sheet.write(row, 1, least, formats["input"])
    sheet.write_formula(row, 2, lowest(case, number, f"$B{row + 1}"), formats["usd"], worth)
    chosen = f'({usd}=$C{row + 1})*({offered}="yes")*ISNUMBER({score})*({score}>=$B{row + 1})'
    place = f"MATCH(1,INDEX({chosen},0),0)"
    values = (best.offer.provider, best.offer.model, best.offer.lane, fit_of(best)) if best else ("none",) * 4
    for column, (source, value) in enumerate(zip("ABEL", values, strict=True), 3):
        formula = f'=IF($C{row + 1}="none","none",INDEX({span(case, source, number)},{place}))'
        sheet.write_formula(row, column, formula, formats["plain"], value)
    sheet.write(row, 7, f"Options {case + 1}")


def _same_work(sheet: Sheet, formats: Formats, row: int, found: Sequence[list[Option]]) -> None:
    """Write what the team's case was estimated at, and what the same model and a smaller one cost for it."""
    sheet.write(row, 0, "The team's old estimate, and what the same work costs otherwise", formats["bold"])
    sheet.write_row(
        row + 1, 0, ["what", "", "USD", "provider", "model", "how", "largest account fits", "still offered"],
        formats["head"],
    )  # fmt: skip
    number = row + 2
    for what, case, model, lane in _SAME_WORK:
        rows = found[case]
        wanted = (_TOGETHER, model, lane)
        at = next((n for n, o in enumerate(rows) if (o.offer.provider, o.offer.model, o.offer.lane) == wanted), None)
        if at is None:
            continue
        option, sheet_name = rows[at], f"'Options {len(found) + case + 1}'"
        sheet.write(number, 0, what)
        sheet.write_formula(number, 2, f"={sheet_name}!H{FIRST + at}", formats["usd"], option.usd.value)
        sheet.write_row(number, 3, [*wanted])
        for place, column, value in ((6, "L", fit_of(option)), (7, "M", "no" if option.offer.retired else "yes")):
            sheet.write_formula(number, place, f"={sheet_name}!{column}{FIRST + at}", formats["plain"], value)
        number += 1
