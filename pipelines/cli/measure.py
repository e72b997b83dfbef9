"""`cippus measure llm`: the speed of an endpoint that you run, and what its tokens cost at a price per hour."""

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipelines.cli.terminal import Json, out, print_json, shown
from resources.errors import InputError

if TYPE_CHECKING:
    from resources.llm.measurement import Speed

measure = typer.Typer(help="Measure a service.", no_args_is_help=True)


@measure.callback()
def _group() -> None:
    """Measure a service."""


@measure.command("llm")
def llm(  # noqa: PLR0913  # options of a command
    endpoint: Annotated[str, typer.Option(help="Base address, such as http://host:8000/v1.")],
    model: Annotated[str, typer.Option(help="The model's name there.")],
    dollars_per_hour: Annotated[float, typer.Option(help="What the machine costs an hour, in USD.")],
    concurrency: Annotated[str, typer.Option(help="Numbers of requests at the same time.")] = "1,2,4,8",
    prompt_words: Annotated[int, typer.Option(min=9, help="Words of a prompt.")] = 900,
    answer_tokens: Annotated[int, typer.Option(min=1, help="Tokens of an answer.")] = 200,
    save: Annotated[Path | None, typer.Option(help="Price file to write the best speed into, for estimates.")] = None,
    family: Annotated[str, typer.Option(help="Name of the weights, such as llama-3.1-8b, for --save.")] = "",
    machine: Annotated[str, typer.Option(help="Your name of the machine, for --save.")] = "own machine",
    as_json: Json = False,
) -> None:
    """Show prefill and decode tokens per second at rising concurrency, and USD per million tokens."""
    from resources.llm.completions import CallFailedError, Completions, Prices
    from resources.llm.endpoint import Endpoint
    from resources.llm.measurement import measure as measured
    from resources.spend.prices import SELF_HOSTED, PriceBook

    if not dollars_per_hour > 0:
        message = f"The price of an hour is {dollars_per_hour}; it must be above 0."
        raise InputError(message)
    if save is not None and (not family or not save.resolve().parent.is_dir()):
        message = f"--save {save} needs --family, the name of the weights, and a folder that exists."
        raise InputError(message)
    if PriceBook().provider_of(endpoint) != SELF_HOSTED:
        message = f"{endpoint} is not a private address; measuring it would spend money outside of the ledger."
        raise InputError(message)
    levels = _levels(concurrency)
    completions = Completions(
        Endpoint(endpoint, model, kind="LLM"), Prices(PriceBook(), SELF_HOSTED, model), max(levels)
    )
    try:
        found = list(measured(completions, levels, prompt_words, answer_tokens))
    except CallFailedError as failed:
        raise failed.error from None
    finally:
        completions.close()
    rows = [{**vars(speed), "usd_per_million": speed.usd_per_million(dollars_per_hour)} for speed in found]
    if save is not None:
        _save(save, found, model, machine, family, dollars_per_hour, prompt_words / answer_tokens)
    if as_json:
        print_json({"model": model, "dollars_per_hour": dollars_per_hour, "speeds": rows})
        return
    table = Table(
        "at once", "prefill tokens/s", "decode tokens/s", "first token s", "USD in/million", "USD out/million"
    )
    for speed in found:
        usd_in, usd_out = speed.usd_per_million(dollars_per_hour)
        numbers = speed.prefill_per_second, speed.decode_per_second, speed.first_token_seconds, usd_in, usd_out
        table.add_row(str(speed.concurrency), *(f"{number:,.2f}" for number in numbers))
    out.print(table)
    if save is not None:
        out.print(f"The best speed is in {shown(str(save))}; set CIPPUS_PRICES to it and estimate again.")


def _levels(text: str) -> tuple[int, ...]:
    try:
        levels = tuple(int(number) for number in text.split(","))
    except ValueError:
        levels = ()
    if not levels or min(levels) < 1:
        message = f"The concurrency is {text}; it must be numbers above 0, separated by commas."
        raise InputError(message)
    return levels


def _save(
    path: Path, found: "Sequence[Speed]", model: str, machine: str, family: str, usd_per_hour: float, read: float
) -> None:
    """Write the speed at the cheapest concurrency. ``read``: words that are read for each token that is written."""
    from resources.catalogues.prices import MEASURED, Gpu, save_speed
    from resources.catalogues.prices import Speed as SavedSpeed

    best = min(found, key=lambda speed: read / speed.prefill_per_second + 1 / speed.decode_per_second)
    source, today = f"{MEASURED} {model}, {best.concurrency} requests at once", dt.datetime.now(dt.UTC).date()
    gpu = Gpu(id=machine, gpu=machine, usd_per_hour=Decimal(str(usd_per_hour)), source="stated by you", date=today)
    prefill, decode = (Decimal(f"{rate:.4g}") for rate in (best.prefill_per_second, best.decode_per_second))
    speed = SavedSpeed(gpu=machine, family=family, prefill=prefill, decode=decode, source=source, date=today)
    save_speed(path, gpu, speed)
