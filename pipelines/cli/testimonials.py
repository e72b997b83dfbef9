"""`cippus testimonials`: what testimonials say of a brand or campaign, praise and criticism, each sentence cited."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from pipelines.cli.terminal import Json, err, out, print_json, require_stack, require_utf8, shown
from resources.errors import InputError

if TYPE_CHECKING:
    from assets.summaries.testimonials import BrandRow, BrandSummary, CitedSentence

_CITED = 3
"""Testimonials that are named behind a sentence."""


def print_testimonials(
    brand: Annotated[
        str | None, typer.Argument(help="Brand, in any case; '' for testimonials without one. Default: list brands.")
    ] = None,
    campaign: Annotated[str | None, typer.Option(help="Only this campaign of the brand, as it is written.")] = None,
    as_json: Json = False,
) -> None:
    """Print what testimonials say of a brand: ratings, themes, praise and criticism, each sentence with its source."""
    if brand is None and campaign is not None:
        message = f"The campaign is {campaign!r}, but no brand is given; name the brand first."
        raise InputError(message)
    require_utf8("The brand or the campaign", brand or "", campaign or "")
    require_stack()
    from assets.summaries.testimonials import brand_rows, brand_summary
    from resources.wiring import resources

    lake = resources().lake
    if brand is None:
        rows = brand_rows(lake)
        if as_json:
            print_json({"brands": [asdict(row) for row in rows]})
        else:
            show_brands(out, rows)
        return
    found = brand_summary(lake, brand, campaign)
    if found is None:
        which = f"No campaign {campaign!r} of the brand {brand!r}" if campaign is not None else f"No brand {brand!r}"
        message = f"{which} has testimonials; `cippus testimonials` lists the brands."
        raise InputError(message)
    if as_json:
        print_json(asdict(found))
    else:
        show(out, found)


def show_brands(console: Console, rows: "Sequence[BrandRow]") -> None:
    """Print the ratings of brands."""
    if not rows:
        err.print("cippus: there are no testimonials; run `cippus run`.", style="yellow", soft_wrap=True)
        return
    console.print(_ratings("brand", [(shown(named(row.brand)), row) for row in rows]))


def models_of(found: "BrandSummary") -> list[str]:
    """Return the names of the language models that wrote sentences."""
    every = (*found.praise, *found.criticism, *found.neither)
    return sorted({sentence.model for sentence in every if sentence.model is not None})


def show(console: Console, found: "BrandSummary") -> None:
    """Print what testimonials say of a brand or campaign."""
    own = found.brand
    name = named(own.brand) if own.campaign is None else f"{named(own.brand)}, {own.campaign}"
    console.print(f"[bold]{shown(name)}", highlight=False)
    console.print(ratings_line(own), highlight=False)
    if found.reason:
        console.print(shown(found.reason), highlight=False)
    if found.themes:
        words = (f"{shown(of.theme)} ({of.praise:,} praise, {of.criticism:,} criticise)" for of in found.themes)
        console.print(f"Themes: {'; '.join(words)}", highlight=False, soft_wrap=True)
    parts = (("Praise", found.praise), ("Criticism", found.criticism), ("Neither", found.neither))
    for title, sentences in parts:
        if sentences or title != "Neither":
            console.print(f"[bold]{title}", highlight=False)
            _show_sentences(console, sentences)
    if models := models_of(found):
        by = f"Sentences with - are claims of {', '.join(models)} that the testimonials support; the others are quoted."
        console.print(f"[dim]{shown(by)}", highlight=False, soft_wrap=True)
    if found.campaigns and own.campaign is None:
        console.print(_ratings("campaign", [(shown(row.campaign), row) for row in found.campaigns]))


def named(brand: str | None) -> str:
    """Return the name of a brand."""
    return brand or "without a brand"


def ratings_line(row: "BrandRow") -> str:
    """Return the number of testimonials and their ratings in a sentence."""
    counted = f"{row.testimonials:,} testimonial{'' if row.testimonials == 1 else 's'}"
    if row.average_rating is None:
        return f"{counted}, none with a rating."
    shares = f"{row.positive_percent:.0f} % praise (4, 5), {row.negative_percent:.0f} % criticise (1, 2)"
    return f"{counted}, {row.rated:,} with a rating: mean {row.average_rating:.1f} of 5, {shares}."


def _show_sentences(console: Console, sentences: "Sequence[CitedSentence]") -> None:
    for sentence in sentences:
        theme = f" [cyan]{shown(sentence.theme)}[/cyan]" if sentence.theme else ""
        text = f"“{shown(sentence.text)}”" if sentence.model is None else f"- {shown(sentence.text)}"
        console.print(f"  {text}{theme}", highlight=False)
        cited = [f"{shown(of.testimonial_id)}{_rated(of.rating)}" for of in sentence.testimonials[:_CITED]]
        more = len(sentence.testimonials) - len(cited)
        others = f" and {more:,} more" if more else ""
        console.print(f"    [dim]{', '.join(cited)}{others}", highlight=False)
    if not sentences:
        console.print("  none", highlight=False)


def _rated(rating: int | None) -> str:
    return "" if rating is None else f" ({rating} of 5)"


def _ratings(what: str, rows: "Sequence[tuple[str, BrandRow]]") -> Table:
    table = Table(what, "testimonials", "rated", "mean", "praise", "criticism")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, row in rows:
        mean = "–" if row.average_rating is None else f"{row.average_rating:.1f}"
        shares = ("–" if share is None else f"{share:.0f} %" for share in (row.positive_percent, row.negative_percent))
        table.add_row(name, f"{row.testimonials:,}", f"{row.rated:,}", mean, *shares)
    return table
