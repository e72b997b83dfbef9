"""The sheet Prices, and a sheet of options for each case, whose costs are formulas over prices and assumptions."""

from collections.abc import Sequence
from typing import Any

from assets.transforms.estimates import Offer, Option
from pipelines.cli.spreadsheet.layout import FIRST, Formats, Sheet, assumption, fit_of

_PRICES = (
    *("provider", "model", "size", "quality (MMLU)", "how", "USD in / million", "USD out / million"),
    *("USD an hour of the machine", "tokens read a second", "tokens written a second", "hours promised"),
    *("context, tokens", "still offered", "other sources say", "source"),
)
_OPTIONS = (
    *("provider", "model", "size", "quality (MMLU)", "how", "USD in / million", "USD out / million", "USD"),
    *("USD low (90 %)", "USD high (90 %)", "hours", "largest account fits", "still offered"),
)


def write_prices(sheet: Sheet, formats: Formats, offers: Sequence[Offer]) -> None:
    """Write a row for each offer."""
    sheet.set_column(0, 0, 14)
    sheet.set_column(1, 1, 52)
    sheet.set_column(2, 13, 12)
    sheet.set_column(14, 14, 90)
    sheet.write(0, 0, "Prices, in USD per million tokens", formats["bold"])
    sheet.write(1, 0, "List prices with their source and date. Enter your own in the yellow cells: every case follows.")
    sheet.set_row(FIRST - 2, 48)
    sheet.write_row(FIRST - 2, 0, _PRICES, formats["head"])
    sheet.freeze_panes(FIRST - 1, 2)
    for row, offer in enumerate(offers, FIRST - 1):
        sheet.write_row(row, 0, [offer.provider, offer.model, offer.size or "unknown"])
        sheet.write(row, 3, float(offer.mmlu) if offer.mmlu else "no score", formats["input"])
        sheet.write(row, 4, offer.lane)
        if offer.prefill:
            hour = float(offer.input_usd) / 1e6 * offer.prefill * 3600
            sheet.write_row(row, 7, [hour, offer.prefill, offer.decode], formats["input"])
            for place, speed, usd in ((5, "I", offer.input_usd), (6, "J", offer.output_usd)):
                formula = f"=H{row + 1}/3600/{speed}{row + 1}*1000000"
                sheet.write_formula(row, place, formula, formats["price"], float(usd))
        else:
            sheet.write_row(row, 5, [float(offer.input_usd), float(offer.output_usd)], formats["input"])
        if offer.hours:
            sheet.write(row, 10, offer.hours, formats["input"])
        if offer.context:
            sheet.write(row, 11, offer.context, formats["input"])
        source = f"{offer.source} {offer.date}".strip()
        sheet.write_row(row, 12, ["no" if offer.retired else "yes", offer.also, source])


def write_options(sheet: Sheet, formats: Formats, case: int, rows: Sequence[Option], offers: Sequence[Offer]) -> None:
    """Write what each offer costs in a case, by number from 0."""
    sheet.set_column(0, 0, 14)
    sheet.set_column(1, 1, 52)
    sheet.set_column(2, 12, 13)
    sheet.write(0, 0, f"What it costs: {rows[0].workload.name}", formats["bold"])
    sheet.write(
        1,
        0,
        "Cheapest first at list prices; what is no longer offered comes last. Rows stay where they are when you change "
        "the sheets Prices and Assumptions.",
    )
    sheet.set_row(FIRST - 2, 32)
    sheet.write_row(FIRST - 2, 0, _OPTIONS, formats["head"])
    sheet.freeze_panes(FIRST - 1, 2)
    places = {(offer.provider, offer.model, offer.lane): row for row, offer in enumerate(offers, FIRST)}
    for row, option in enumerate(rows, FIRST - 1):
        offer = option.offer
        price = places[offer.provider, offer.model, offer.lane]
        sheet.write_row(row, 0, [offer.provider, offer.model, offer.size or "unknown"])
        sheet.write(row, 4, offer.lane)
        for place, formula, name, value in _cells(case, price, row + 1, option):
            sheet.write_formula(row, place, formula, formats[name], value)


def _cells(case: int, price: int, row: int, option: Option) -> list[tuple[int, str, str, Any]]:
    """Return (column, formula, format, value) of an option in ``row``, whose price is in a row of Prices."""
    offer = option.offer
    accounts, text, overhead, low, high, prompt, answer, largest, rate, read, written = (
        assumption(case, name)
        for name in (
            *("accounts", "text", "overhead", "low", "high", "prompt", "answer", "largest", "rate"),
            *("read", "written"),
        )
    )

    def usd(tokens: str) -> str:
        return f"=({tokens}*F{row}+{written}*G{row})/1000000"

    def at(share: str) -> str:
        return f"{accounts}*({text}*{share}+{overhead}+{prompt})"

    if offer.hours:
        hours = f"=Prices!K{price}"
    elif offer.prefill:
        hours = f"=({read}/Prices!I{price}+{written}/Prices!J{price})/3600"
    else:
        hours = f"=({read}+{written})/{rate}/60"
    known = f'IF({largest}+{prompt}+{answer}<=Prices!L{price},"yes","no")'
    return [
        (3, f"=Prices!D{price}", "plain", float(offer.mmlu) if offer.mmlu else "no score"),
        (5, f"=Prices!F{price}", "price", float(offer.input_usd)),
        (6, f"=Prices!G{price}", "price", float(offer.output_usd)),
        (7, usd(read), "usd", option.usd.value),
        (8, usd(at(low)), "usd", option.usd.low),
        (9, usd(at(high)), "usd", option.usd.high),
        (10, hours, "hours", option.hours),
        (11, f'=IF(Prices!L{price}="","unknown",{known})', "plain", fit_of(option)),
        (12, f"=Prices!M{price}", "plain", "no" if offer.retired else "yes"),
    ]
