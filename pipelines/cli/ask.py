"""`cippus ask`: answer a question from the creators' posts, with citations."""

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
        with err.status("reading posts"), resources().llm.process_config_and_initialize_cm() as llm:
            asker = Asker(open_search(), llm)
            answer = asker.ask(question, where, Followers(min_followers, max_followers), quotes_only=quotes)
    except ValueError as error:
        raise InputError(str(error)) from None
    if as_json:
        print_json(as_values(answer))
    else:
        show(out, answer)


def as_values(answer: "AskAnswer") -> dict[str, Any]:
    """Return an answer as JSON values; a claim has the numbers of its sources, from 1."""
    values = asdict(answer)
    values["claims"] = [
        {**asdict(claim), "citations": [answer.number(id_) for id_ in claim.post_ids]} for claim in answer.claims
    ]
    values["sources"] = [{"number": number, **asdict(each)} for number, each in enumerate(answer.sources, start=1)]
    return values


def show(console: Console, answer: "AskAnswer") -> None:
    """Print an answer: quotes under the names of their accounts, or the claims of a model, then the cited posts."""
    if answer.note:
        console.print(f"[yellow]{shown(answer.note)} The answer is made of quotes.", highlight=False)
    if answer.abstained:
        console.print(shown(answer.abstained), highlight=False)
    handles = {source.account_id: source.handle or source.account_id for source in answer.sources}
    account = None
    for claim in answer.claims:
        if claim.account_id and claim.account_id != account:
            account = claim.account_id
            console.print(f"[bold]{shown(handles[account])}", highlight=False)
        numbers = "".join(f"[{answer.number(id_)}]" for id_ in claim.post_ids)
        text = f"  “{shown(claim.text)}”" if claim.account_id else f"- {shown(claim.text)}"
        console.print(Text.from_markup(text).append(f" {numbers}", style="cyan"), highlight=False)
    for number, source in enumerate(answer.sources, start=1):
        excerpt = beginning(source.text)
        line = f"[cyan]\\[{number}][/cyan] [dim]{shown(source.post_id)}[/dim] {excerpt}"
        console.print(line, highlight=False)
    for left in answer.dropped:
        console.print(f"[dim]Not shown: {shown(left.text)} ({shown(left.reason)})", highlight=False)
    cost = f", ${shown(answer.usd)}" if answer.usd is not None else ""
    console.print(f"[dim]{shown(answer.method)}{cost}, {answer.seconds:.1f} s", highlight=False)
