"""`cippus batches`: the batches that providers work on, and cancelling them."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipelines.cli.terminal import Json, err, out, print_json
from resources.errors import InputError
from resources.spend.dollars import dollars

if TYPE_CHECKING:
    from resources.llm.batches.book import Book, Job
    from resources.spend.store import Store

batches = typer.Typer(help="Batches at providers of language models.", invoke_without_command=True)


@batches.callback()
def _group(context: typer.Context) -> None:
    """Batches at providers of language models. Without a command: list."""
    if context.invoked_subcommand is None:
        list_batches()


@batches.command("list")
def list_batches(as_json: Json = False) -> None:
    """List the batches whose answers are not in a table yet, with the most that each can cost."""
    rows = [
        {
            "job": job.name,
            "asset": asset,
            "scope": scope,
            "batch": job.batch,
            "state": job.state,
            "outcome": job.outcome,
            "requests": job.requests,
            "most_usd": job.usd,
            "since": job.at,
        }
        for asset, scope, _, job in _jobs(_store())
    ]
    if as_json:
        print_json({"batches": rows})
        return
    table = Table("job", "asset", "batch", "state", "requests", "at most USD", "since", title="batches")
    for row in rows:
        state = f"{row['state']}: {row['outcome']}" if row["outcome"] else str(row["state"])
        place = f"{row['asset']} {row['scope']}"
        table.add_row(
            *(str(row["job"]), place, str(row["batch"]), state, f"{row['requests']:,}"),
            *(dollars(float(str(row["most_usd"]))), str(row["since"])[:16]),
        )
    out.print(table if rows else "No batch is open.")


@batches.command("cancel")
def cancel(job: Annotated[str, typer.Argument(help="Name of the job in `cippus batches`, or `all`.")]) -> None:
    """Cancel a batch, or all. What it has answered until it ends is billed, and taken in by the next run."""
    from resources.llm.batches.book import ENDED, RUNNING
    from resources.llm.completions import CallFailedError

    found = [each for *_, each in _jobs(_store()) if job in (each.name, each.batch, "all") and each.state != ENDED]
    if not found and job != "all":
        message = f"No open batch is called {job}; `cippus batches` lists them."
        raise InputError(message)
    provider = _provider() if found else None
    done = 0
    for each in found:
        if provider is None or each.state != RUNNING:
            out.print(f"{each.name} has not begun; the next run finds out what became of it.", highlight=False)
            continue
        try:
            provider.cancel(each.batch)
        except CallFailedError as failure:
            raise failure.error from None
        done += 1
    if provider is not None:
        provider.close()
    out.print(
        f"{done} batches are being cancelled. What they have answered is billed; the next run takes it in, and sends "
        "the rest again unless the setting that sent it is off, such as CIPPUS_LLM_SUMMARIES.",
        highlight=False,
        soft_wrap=True,
    )


def say_what_goes_on() -> None:
    """Say on stderr which batches go on after an interrupt, and what they can cost. Nothing without batches."""
    from resources.llm.batches.book import ENDED
    from resources.settings import LlmSettings

    read = LlmSettings.read()
    if not {"batch", "uncertain-batch"} & {read.summaries, read.testimonials, read.tagging}:
        return
    left = [job for *_, job in _jobs(_store()) if job.state != ENDED]
    if left:
        usd = dollars(float(sum((Decimal(job.usd) for job in left), Decimal(0))))
        err.print(
            f"cippus: {len(left)} batches go on at the provider and cost at most ${usd}. The next run takes their "
            "answers in; `cippus batches cancel all` ends them.",
            highlight=False,
            soft_wrap=True,
        )


def _jobs(store: "Store") -> "Iterator[tuple[str, str, Book, Job]]":
    from resources.llm.batches.book import books

    for asset, scope, book in books(store):
        yield from ((asset, scope, book, job) for job in book.page()[0].jobs.values())


def _store() -> "Store":
    from resources.wiring import s3_resource, spend_resource

    return spend_resource(s3_resource()).store


def _provider() -> Any:
    from resources.wiring import resources, with_secrets

    return with_secrets(resources().llm).batch_provider()
