"""`cippus estimate summaries`: what every provider would cost, before a cent is spent."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipelines.cli.terminal import Json, out, print_json, require_stack, shown
from resources.errors import InputError
from resources.spend.dollars import dollars

if TYPE_CHECKING:
    from assets.transforms.estimates import Option

estimate = typer.Typer(help="What paid work would cost.", no_args_is_help=True)


@estimate.callback()
def _group() -> None:
    """What paid work would cost."""


@estimate.command("summaries")
def summaries(
    model: Annotated[list[str] | None, typer.Option("--model", help="PROVIDER/MODEL to add; may be repeated.")] = None,
    as_json: Json = False,
    xlsx: Annotated[Path | None, typer.Option("--xlsx", help="Write a spreadsheet with live formulas here.")] = None,
    tokens_per_minute: Annotated[int, typer.Option(min=1, help="Your rate limit, for the hours.")] = 2_000_000,
) -> None:
    """Show what summaries of all accounts would cost by provider, model and lane, with a 90 % interval."""
    if xlsx is not None and not xlsx.resolve().parent.is_dir():
        message = f"{xlsx.resolve().parent} is not a folder; expected one to write {xlsx.name} into."
        raise InputError(message)
    require_stack()
    from assets.marts.estimates import as_row, corpus_workloads, offers
    from assets.transforms.estimates import options
    from assets.transforms.workloads import teams_case
    from resources.wiring import resources

    found = resources()
    book, budget = found.spend.price_book(), found.llm.summary_tokens
    offered = offers(book, model or [])
    workloads, ratio, asked, counted = corpus_workloads(found.lake, budget)
    if not workloads:
        message = "The corpus has no text; run `cippus run` first."
        raise InputError(message)
    chosen = [option for workload in workloads for option in options(workload, offered, tokens_per_minute)]
    if xlsx is not None:
        from pipelines.cli.spreadsheet import write_estimate

        cases = [*workloads, *teams_case(ratio, asked, budget)]
        write_estimate(xlsx, cases, offered, tokens_per_minute, counted, book.services())
    if as_json:
        print_json({"tokens": counted, "options": [as_row(option) for option in chosen]})
        return
    _print(chosen, counted)


def _print(chosen: "Sequence[Option]", counted: str) -> None:
    """Print the options of what a run sends, and the cheapest of whatever else could be sent."""
    by_workload: dict[str, list[Any]] = {}
    for option in chosen:
        by_workload.setdefault(option.workload.name, []).append(option)
    first, *others = by_workload.values()
    from pipelines.cli.spreadsheet.layout import fit_of

    table = Table("provider", "model", "lane", "USD", "90 %", "hours", "fits", title=f"{first[0].workload.name}")
    for option in first:
        offer, usd = option.offer, option.usd
        table.add_row(
            offer.provider,
            shown(offer.model) + (" (retired)" if offer.retired else ""),
            offer.lane,
            dollars(usd.value),
            "exact" if usd.low == usd.high else f"{dollars(usd.low)} to {dollars(usd.high)}",
            f"{option.hours:,.2f}",
            fit_of(option),
        )
    out.print(table)
    table = Table("what else could be sent", "tokens", "cheapest USD", "with")
    for options in others:
        best = options[0]
        tokens = best.workload.input_tokens.value + best.workload.output_tokens
        named = f"{best.offer.provider} {shown(best.offer.model)}, {best.offer.lane}"
        table.add_row(best.workload.name, f"{tokens:,.0f}", dollars(best.usd.value), named)
    out.print(table)
    out.print(f"Tokens: {counted}.")
