"""`cippus estimate summaries`: what every provider would cost, before a cent is spent."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipelines.cli.presentation import dollars
from pipelines.cli.terminal import Json, out, print_json, require_stack
from resources.errors import InputError

if TYPE_CHECKING:
    from assets.transforms.estimates import Offer, Option, Workload
    from resources.delta.table import LakeResource
    from resources.spend.prices import PriceBook

estimate = typer.Typer(help="What paid work would cost.", no_args_is_help=True)
_EXACT_BYTES, _SAMPLE, _LEAST = 50_000_000, 0.01, 400
_SEED = 20_261_129


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
    from assets.transforms.estimates import TEAMS_CASE, options
    from resources.wiring import resources

    found = resources()
    book = found.spend.price_book()
    offered = offers(book, model or [])
    workload, counted = corpus_workload(found.lake)
    chosen = options(workload, offered, tokens_per_minute)
    if xlsx is not None:
        from pipelines.cli.spreadsheet import write_estimate

        write_estimate(xlsx, [workload, TEAMS_CASE], offered, tokens_per_minute, counted)
    if as_json:
        print_json({"tokens": counted, "options": [as_row(option) for option in chosen]})
        return
    table = Table("provider", "model", "lane", "USD", "90 %", "hours", "fits", title=f"{workload.name}: {counted}")
    for option in chosen:
        row = as_row(option)
        marks = " (retired)" if row["retired"] else ""
        table.add_row(
            row["provider"],
            row["model"] + marks,
            row["lane"],
            dollars(row["usd"]),
            f"{dollars(row['usd_low'])} to {dollars(row['usd_high'])}",
            f"{row['hours']:,.2f}",
            {True: "yes", False: "no", None: "unknown"}[row["fits"]],
        )
    out.print(table)


def corpus_workload(lake: "LakeResource") -> tuple["Workload", str]:
    """Return the summaries of the corpus after sampling, and how their tokens were counted."""
    import polars as pl

    from assets.corpus import CHUNKS
    from assets.transforms.estimates import Workload, exact, total_tokens
    from resources.models.llm_tokenizers import has_tokenizer, llm_token_counts

    sizes = pl.col("text").str.len_bytes().sum().alias("bytes")
    accounts = lake.scan(CHUNKS).group_by("account_id").agg(sizes, pl.len().alias("texts")).collect()
    total, texts = int(accounts["bytes"].sum()), int(accounts["texts"].sum())
    if not texts:
        message = "The corpus has no text; run `cippus run` first."
        raise InputError(message)
    largest = int(accounts.select(pl.col("bytes").max()).item())
    family = "llama-3.1-70b"
    if not has_tokenizer(family):
        counted = total_tokens([], [], total, texts)
        how = f"{total:,} bytes, tokens per byte assumed"
    elif total <= _EXACT_BYTES:
        read = lake.scan(CHUNKS).select("text").collect()["text"].to_list()
        counted, how = exact(sum(llm_token_counts(family, read))), f"counted with the tokenizer of {family}"
    else:
        wanted = min(texts, max(_LEAST, round(texts * _SAMPLE)))
        sample = lake.scan(CHUNKS).select("text").collect()["text"].sample(wanted, seed=_SEED).to_list()
        size = [len(text.encode()) for text in sample]
        counted = total_tokens(size, llm_token_counts(family, sample), total, texts)
        how = f"estimated from {wanted:,} texts with the tokenizer of {family}"
    ratio = counted.value / total
    return Workload("summaries of the sampled corpus", accounts.height, counted, largest * ratio), how


def offers(book: "PriceBook", models: Sequence[str]) -> list["Offer"]:
    """Return what the price book offers, live and in batches, and the models asked for. Raises UnknownPriceError."""
    from assets.transforms.estimates import Offer
    from resources.spend.prices import Lane

    now, families = dt.datetime.now(dt.UTC), book.families()
    prices = list(book.offers(now))
    for name in models:
        provider, _, wanted = name.partition("/")
        prices.append(book.price(provider, wanted, Lane.LIVE, now))
        prices += book.prices(provider, wanted, Lane.BATCH, now)[:1]
    found = {}
    for price in prices:
        size, score, _ = families.get(price.family, ("", None, ""))
        others = book.prices(price.provider, price.model, price.lane, now)[1:]
        also = ", ".join(
            f"${other.input_usd.normalize():f}/${other.output_usd.normalize():f}"
            for other in others
            if (other.input_usd, other.output_usd) != (price.input_usd, price.output_usd)
        )
        found[price.provider, price.model, price.lane] = Offer(
            price.provider, price.model, price.lane.value, price.input_usd, price.output_usd, size,
            "" if score is None else str(score), price.context, price.retired, price.source, price.date, also,
            float(_batch_hours(book, price.provider)) if price.lane is Lane.BATCH else 0.0,
        )  # fmt: skip
    return list(found.values())


def _batch_hours(book: "PriceBook", provider: str) -> int:
    known = book.providers().get(provider)
    return known.batch.hours if known is not None and known.batch is not None else 24


def as_row(option: "Option") -> dict[str, Any]:
    """Return an option as plain values."""
    offer = option.offer
    return {
        "workload": option.workload.name,
        "provider": offer.provider,
        "model": offer.model,
        "lane": offer.lane,
        "size": offer.size,
        "mmlu": offer.mmlu,
        "usd": option.usd.value,
        "usd_low": option.usd.low,
        "usd_high": option.usd.high,
        "hours": option.hours,
        "fits": option.fits,
        "retired": offer.retired,
        "input_usd_per_million": str(offer.input_usd),
        "output_usd_per_million": str(offer.output_usd),
        "other_sources": offer.also,
        "source": offer.source,
        "date": offer.date,
    }
