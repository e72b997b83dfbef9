"""The spreadsheet of an estimate: an answer, all costs, options with live formulas, prices and assumptions to change.

Belongs here: the sheets. Not here: what costs how much (assets/transforms/estimates.py) and prices (resources/spend).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import xlsxwriter

from assets.transforms.estimates import Offer, Workload, options
from pipelines.cli.spreadsheet.all_in import write_all_in
from pipelines.cli.spreadsheet.answer import write_answer
from pipelines.cli.spreadsheet.assumptions import write_assumptions
from pipelines.cli.spreadsheet.priced import write_options, write_prices
from resources.catalogues.prices import Service


def write_estimate(
    path: Path,
    cases: Sequence[Workload],
    offers: Sequence[Offer],
    tokens_per_minute: float,
    counted: str,
    services: Mapping[str, Service],
) -> None:
    """Write the workbook. Every formula has its value, so that viewers that do not calculate show it too.

    ``cases``: at most 20, the team's three last. ``counted``: how the tokens are known. ``services``: what the rest of
    the pipeline costs, by id.
    """
    # A name of somebody's price file that begins with = is a text.
    with xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False}) as book:
        usd, yellow = "[<1]$0.0000;$#,##0.00", {"bg_color": "#FFF6D6"}
        formats = {
            "head": book.add_format({"bold": True, "bg_color": "#DDE6F0", "text_wrap": True, "valign": "top"}),
            "bold": book.add_format({"bold": True}),
            "plain": book.add_format({"indent": 0}),
            "usd": book.add_format({"num_format": usd}),
            "price": book.add_format({"num_format": "0.0###"}),
            "number": book.add_format({"num_format": "#,##0"}),
            "hours": book.add_format({"num_format": "[<1]0.000;#,##0.0"}),
            "input": book.add_format({"num_format": "[<10]0.####;#,##0", **yellow}),
            "share": book.add_format({"num_format": "0.000", **yellow}),
        }
        answer, costs = book.add_worksheet("Answer"), book.add_worksheet("All in")
        sheets = [book.add_worksheet(f"Options {number}") for number, _ in enumerate(cases, 1)]
        prices, assumptions = book.add_worksheet("Prices"), book.add_worksheet("Assumptions")
        write_assumptions(assumptions, formats, cases, tokens_per_minute, counted)
        write_prices(prices, formats, offers)
        found = [options(case, offers, tokens_per_minute) for case in cases]
        for number, (sheet, rows) in enumerate(zip(sheets, found, strict=True)):
            write_options(sheet, formats, number, rows, offers)
        write_answer(answer, formats, found)
        write_all_in(costs, formats, found, services)
        for sheet in book.worksheets():
            sheet.set_landscape()
            sheet.fit_to_pages(1, 0)
