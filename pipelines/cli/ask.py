"""`cippus ask`: answer a question from the creators' posts, with citations."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from pipelines.cli.filters import (
    Countries,
    Languages,
    MaxFollowers,
    MinFollowers,
    Networks,
    PostedAfter,
    PostedBefore,
    Verticals,
    search_filter,
)
from pipelines.cli.presentation import beginning
from pipelines.cli.terminal import Json, err, out, print_json, require_stack, require_utf8, shown
from resources.errors import InputError

if TYPE_CHECKING:
    from assets.transforms.search.answers import AskAnswer


def ask(  # noqa: PLR0913  # options of a command
    question: Annotated[str, typer.Argument(help="Question, such as: which creators talk about sustainable fashion?")],
    vertical: Verticals = None,
    network: Networks = None,
    language: Languages = None,
    country: Countries = None,
    posted_after: PostedAfter = None,
    posted_before: PostedBefore = None,
    min_followers: MinFollowers = None,
    max_followers: MaxFollowers = None,
    quotes: Annotated[
        bool, typer.Option("--quotes", help="Quote posts, also where a language model is set: it costs nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Answer a question from posts, each sentence with the posts that say so. Without an answer, say so."""
    require_utf8("The question", question)
    require_stack()
    from assets.search.ask import Asker
    from assets.search.query import Followers, open_search
    from resources.wiring import resources

    try:
        where = search_filter(vertical, network, language, country, posted_after, posted_before)
        # Until it is initialized, the model's key is an EnvVar.
        with err.status("reading posts") as status, resources().llm.process_config_and_initialize_cm() as llm:
            asker, followers = Asker(open_search(), llm), Followers(min_followers, max_followers)
            if as_json:
                print_json(as_values(asker.ask(question, where, followers, quotes_only=quotes)))
            else:
                growing = asker.stream(question, where, followers, quotes_only=quotes)
                show(out, _then(growing, status.stop))
    except ValueError as error:
        raise InputError(str(error)) from None


def _then(growing: "Iterable[AskAnswer]", first_claim: Callable[[], None]) -> "Iterator[AskAnswer]":
    """Yield the answer as it grows; call a function before the first claim, or at the end."""
    for answer in growing:
        if answer.claims:
            first_claim()
        yield answer
    first_claim()


def as_values(answer: "AskAnswer") -> dict[str, Any]:
    """Return an answer as JSON values; a claim has the numbers of its sources, from 1."""
    values = asdict(answer)
    values["claims"] = [
        {**asdict(claim), "citations": [answer.number(id_) for id_ in claim.post_ids]} for claim in answer.claims
    ]
    values["sources"] = [{"number": number, **asdict(each)} for number, each in enumerate(answer.sources, start=1)]
    return values


def show(console: Console, growing: "Iterable[AskAnswer]") -> None:
    """Print an answer as it grows: quotes under the names of their accounts, or claims, then the cited posts."""
    printed = 0
    account = None
    for answer in growing:
        if answer.note and answer.method == "quotes":
            console.print(f"[yellow]{shown(answer.note)} The answer is made of quotes.", highlight=False)
        for claim in answer.claims[printed:]:
            if claim.account_id and claim.account_id != account:
                account = claim.account_id
                console.print(f"[bold]{shown(answer.handles[account])}", highlight=False)
            numbers = "".join(f"[{answer.number(id_)}]" for id_ in claim.post_ids)
            text = f"  “{shown(claim.text)}”" if claim.account_id else f"- {shown(claim.text)}"
            console.print(Text.from_markup(text).append(f" {numbers}", style="cyan"), highlight=False)
        printed = len(answer.claims)
    _show_end(console, answer)


def _show_end(console: Console, answer: "AskAnswer") -> None:
    if answer.note and answer.method == "model":
        console.print(f"[yellow]{shown(answer.note)}", highlight=False)
    if answer.abstained:
        console.print(f"{shown(answer.abstained)} `cippus search` shows the nearest posts.", highlight=False)
    for number, source in enumerate(answer.sources, start=1):
        excerpt = beginning(source.text)
        line = f"[cyan]\\[{number}][/cyan] [dim]{shown(source.post_id)}[/dim] {excerpt}"
        console.print(line, highlight=False)
    for left in answer.dropped:
        console.print(f"[dim]Not shown: {shown(left.text)} ({shown(left.reason)})", highlight=False)
    cost = f", ${shown(answer.usd)}" if answer.usd is not None else ""
    console.print(f"[dim]{shown(answer.method)}{cost}, {answer.seconds:.1f} s", highlight=False)
