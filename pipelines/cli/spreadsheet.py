"""The spreadsheet of an estimate: an answer, the options with live formulas, assumptions to change, and sources."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xlsxwriter

from assets.transforms.estimates import Offer, Option, Workload, options
from pipelines.cli.all_in import FIRST, cheapest, column_of, fit_of, span, write_all_in
from resources.catalogues.prices import Service

_HEADINGS = (
    *("provider", "model", "size", "quality (MMLU)", "lane", "USD in / million", "USD out / million", "USD"),
    *("USD low (90 %)", "USD high (90 %)", "hours", "context fits", "still offered", "other sources say", "source"),
)
_NOTES = (
    "The encoder's tokens of every text are known; their ratio to a language model's tokens is what is counted.",
    "The team's case is the estimate that was made before: every post, no sampling, 193 billion tokens in 440,000 "
    "accounts, posts of 40 tokens. How they spread over accounts is not known: for 20,000 posts an account an "
    "exponential distribution is assumed.",
    "Prices are list prices per million tokens with the source and date on each row; enter your own in yellow.",
    "Quality is the published MMLU score of the model, the same test for all; higher is better. It does not say how "
    "good summaries are: `cippus evaluate summaries` does.",
    "A batch is answered within the hours that the provider promises, usually 24, at a lower price.",
    "A self-hosted model costs the hours of its machine. Speeds are assumed unless the source says that they were "
    "measured.",
    "Embedding, vectors and S3 are on the sheet All in, and in no other number.",
)
Sheet = Any


def write_estimate(
    path: Path,
    workloads: Sequence[Workload],
    offers: Sequence[Offer],
    tokens_per_minute: float,
    counted: str,
    services: Mapping[str, Service],
) -> None:
    """Write the workbook. Every formula has its value, so that viewers that do not calculate show it too.

    ``counted``: how the tokens are known. ``services``: what the rest of the pipeline costs, by id.
    """
    # A name of somebody's price file that begins with = is a text.
    with xlsxwriter.Workbook(str(path), {"strings_to_formulas": False, "strings_to_urls": False}) as book:
        formats = {
            "head": book.add_format({"bold": True, "bg_color": "#DDE6F0", "text_wrap": True, "valign": "top"}),
            "usd": book.add_format({"num_format": "[<1]$0.0000;$#,##0.00"}),
            "number": book.add_format({"num_format": "#,##0"}),
            "hours": book.add_format({"num_format": "#,##0.0"}),
            "input": book.add_format({"num_format": "#,##0.####", "bg_color": "#FFF6D6"}),
            "bold": book.add_format({"bold": True}),
        }
        answer = book.add_worksheet("Answer")
        costs = book.add_worksheet("All in")
        sheets = [book.add_worksheet(f"Options {number}") for number, _ in enumerate(workloads, 1)]
        assumptions = book.add_worksheet("Assumptions")
        _assumptions(assumptions, formats, workloads, tokens_per_minute, counted)
        found = [options(workload, offers, tokens_per_minute) for workload in workloads]
        for number, (sheet, rows) in enumerate(zip(sheets, found, strict=True)):
            _options(sheet, formats, rows, column_of(number))
        _answer(answer, formats, found)
        write_all_in(costs, formats, found, services)
        for sheet in book.worksheets():
            sheet.set_landscape()
            sheet.fit_to_pages(1, 0)


def _assumptions(
    sheet: Sheet, formats: dict[str, Any], workloads: Sequence[Workload], tokens_per_minute: float, counted: str
) -> None:
    sheet.set_column(0, 0, 50)
    sheet.set_column(1, len(workloads), 26)
    sheet.set_row(0, 48)
    sheet.write_row(
        0, 0, ["Change the yellow cells; every sheet follows.", *(w.name for w in workloads)], formats["head"]
    )
    rows = (
        ("accounts", [w.accounts for w in workloads]),
        ("tokens of the texts", [w.text_tokens.value for w in workloads]),
        ("tokens of the texts, low (90 %)", [w.text_tokens.low for w in workloads]),
        ("tokens of the texts, high (90 %)", [w.text_tokens.high for w in workloads]),
        ("tokens of instructions per account", [w.prompt_tokens for w in workloads]),
        ("tokens of an answer", [w.answer_tokens for w in workloads]),
        ("tokens of the largest account", [w.largest for w in workloads]),
        ("tokens per minute that a provider allows you", [tokens_per_minute] * len(workloads)),
        ("posts that are embedded and searched, whatever is sent", [w.posts for w in workloads]),
    )
    for number, (name, values) in enumerate(rows, 1):
        sheet.write(number, 0, name)
        sheet.write_row(number, 1, values, formats["input"])
    for number, note in enumerate((f"Tokens of your own corpus: {counted}.", *_NOTES), len(rows) + 2):
        sheet.write(number, 0, note)


def _options(sheet: Sheet, formats: dict[str, Any], rows: Sequence[Option], column: str) -> None:
    workload = rows[0].workload
    sheet.set_column(0, 1, 30)
    sheet.set_column(2, 13, 13)
    sheet.set_column(14, 14, 60)
    sheet.write(0, 0, f"What it costs: {workload.name}", formats["bold"])
    sheet.write(1, 0, "Cheapest first; models that are no longer offered come last. Tokens come from Assumptions.")
    sheet.set_row(FIRST - 2, 32)
    sheet.write_row(FIRST - 2, 0, _HEADINGS, formats["head"])
    sheet.freeze_panes(FIRST - 1, 2)
    accounts, low, high, mean, prompt, answer, largest, rate = (
        f"Assumptions!${column}${row}" for row in (2, 4, 5, 3, 6, 7, 8, 9)
    )
    for number, option in enumerate(rows, FIRST):
        offer, row = option.offer, number - 1
        score: Any = float(offer.mmlu) if offer.mmlu else "no score"
        sheet.write_row(row, 0, [offer.provider, offer.model, offer.size or "unknown", score, offer.lane])
        sheet.write_row(row, 5, [float(offer.input_usd), float(offer.output_usd)], formats["input"])
        for place, tokens, value in ((7, mean, option.usd.value), (8, low, option.usd.low), (9, high, option.usd.high)):
            cost = f"=(({tokens}+{accounts}*{prompt})*F{number}+{accounts}*{answer}*G{number})/1000000"
            sheet.write_formula(row, place, cost, formats["usd"], value)
        read, written = f"({mean}+{accounts}*{prompt})", f"{accounts}*{answer}"
        hours = f"=({read}+{written})/{rate}/60"
        if offer.prefill:
            hours = f"=({read}/{offer.prefill}+{written}/{offer.decode})/3600"
        sheet.write_formula(row, 10, f"={offer.hours}" if offer.hours else hours, formats["hours"], option.hours)
        fits = f'=IF({largest}+{prompt}+{answer}<={offer.context or 0},"yes","no")'
        if offer.context is None:
            sheet.write(row, 11, fit_of(option))
        else:
            sheet.write_formula(row, 11, fits, None, fit_of(option))
        source = f"{offer.source} {offer.date}".strip()
        sheet.write_row(row, 12, ["no" if offer.retired else "yes", offer.also, source])


def _answer(sheet: Sheet, formats: dict[str, Any], found: Sequence[Sequence[Option]]) -> None:
    """Write the cheapest option still offered by case and quality, by formulas over the options."""
    sheet.set_column(0, 0, 66)
    sheet.set_column(1, 3, 14)
    sheet.set_column(4, 4, 52)
    sheet.set_column(5, 6, 20)
    sheet.write(0, 0, "Which option is cheapest, at which quality?", formats["bold"])
    sheet.write_row(
        2,
        0,
        ["case", "least quality (MMLU)", "cheapest USD", "provider", "model", "lane", "largest account fits"],
        formats["head"],
    )
    row = 3
    for number, rows in enumerate(found, 1):
        for least in (0, 73, 80, 86):
            best = cheapest(rows, least)
            if best is None:
                continue
            usd, offered, score = (span(number, column, len(rows)) for column in "HMD")
            lowest = f'=_xlfn.MINIFS({usd},{offered},"yes",{score},">="&B{row + 1})'
            sheet.write(row, 0, best.workload.name)
            sheet.write(row, 1, least, formats["input"])
            sheet.write_formula(row, 2, lowest, formats["usd"], best.usd.value)
            for place, column, value in (
                (3, "A", best.offer.provider),
                (4, "B", best.offer.model),
                (5, "E", best.offer.lane),
                (6, "L", fit_of(best)),
            ):
                match = f"=INDEX({span(number, column, len(rows))},MATCH(C{row + 1},{usd},0))"
                sheet.write_formula(row, place, match, None, value)
            row += 1
    sheet.write(
        row + 1,
        0,
        "Only models that are still offered and have a published score count. Where the largest account does not fit, "
        "its posts must be sampled. See Assumptions for what is counted, and All in for embedding, vectors and S3.",
    )
