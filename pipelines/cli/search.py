"""`cippus search`: rank creators for a query."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipelines.cli import presentation
from pipelines.cli.terminal import Json, err, out, print_json, require_stack, require_utf8
from resources.errors import InputError

if TYPE_CHECKING:
    from assets.search.query import Answer
    from assets.transforms.search.ranking import RankedAccount

Retrievers = Literal["dense", "bm25", "hybrid"]
DAYS = ["%Y-%m-%d"]
ANY_OF = "Repeat it for any of several."
UNREADABLE = "The embedding model cannot read this query: these accounts were found by their words alone (BM25)."


def search(  # noqa: PLR0913  # options of a command
    query: Annotated[
        str, typer.Argument(help='Topic that the creators post about: words, "phrases", -exclusions; or @name.')
    ] = "",
    like: Annotated[str | None, typer.Option(help="More accounts like this one: an account id or a handle.")] = None,
    vertical: Annotated[
        list[str] | None, typer.Option(help=f"Only accounts tagged with this vertical. {ANY_OF}")
    ] = None,
    network: Annotated[list[str] | None, typer.Option(help=f"Only posts of this network. {ANY_OF}")] = None,
    language: Annotated[
        list[str] | None, typer.Option(help=f"Only posts in this language, such as en or English. {ANY_OF}")
    ] = None,
    country: Annotated[
        list[str] | None, typer.Option(help=f"Only accounts of this country, such as DE or Germany. {ANY_OF}")
    ] = None,
    posted_after: Annotated[
        datetime | None, typer.Option(formats=DAYS, help="Only posts on or after this day (UTC).")
    ] = None,
    posted_before: Annotated[
        datetime | None, typer.Option(formats=DAYS, help="Only posts before this day (UTC).")
    ] = None,
    min_followers: Annotated[
        int | None, typer.Option(min=0, help="Only accounts with this many followers or more.")
    ] = None,
    max_followers: Annotated[
        int | None, typer.Option(min=0, help="Only accounts with this many followers or fewer.")
    ] = None,
    retriever: Annotated[Retrievers, typer.Option(help="Index that finds candidates.")] = "hybrid",
    limit: Annotated[int, typer.Option(min=1, max=100, help="Number of accounts on a page.")] = 10,
    page: Annotated[int, typer.Option(min=1, help="Page of the answer.")] = 1,
    facets: Annotated[bool, typer.Option("--facets", help="Count the accounts found by their attributes.")] = False,
    as_json: Json = False,
) -> None:
    """Rank accounts for a query, each with its best posts as evidence."""
    _require_known(vertical or [])
    require_utf8("The query", query)
    require_stack()
    from assets.search.query import Followers, open_search
    from assets.transforms.search.ranking import Retriever
    from resources.vectors.values import SearchFilter

    with err.status("searching"):
        try:
            answer = open_search().answer(
                query,
                SearchFilter(
                    vertical=any_of(vertical),
                    network=any_of(network),
                    language=any_of(language),
                    country=any_of(country),
                    posted_after=posted_after and posted_after.replace(tzinfo=UTC),
                    posted_before=posted_before and posted_before.replace(tzinfo=UTC),
                ),
                limit,
                offset=(page - 1) * limit,
                like=like,
                followers=Followers(min_followers, max_followers),
                retriever=Retriever(retriever),
            )
        except ValueError as error:
            raise InputError(str(error)) from None
    if not answer.is_read:
        err.print(UNREADABLE)
    if as_json:
        print_json(as_values(query, answer, page))
    else:
        presentation.show_answer(out, query or f"like {like}", answer, (page - 1) * limit, facets=facets)


def as_values(query: str, answer: "Answer", page: int) -> dict[str, Any]:
    """Return an answer as JSON values."""
    return {
        "query": query,
        "searched_instead": dict(answer.mended),
        "page": page,
        "found": answer.found,
        "complete": answer.is_complete,
        "facets": answer.facets,
        "accounts": [_account(account) for account in answer.accounts],
    }


def _account(account: "RankedAccount") -> Mapping[str, Any]:
    """Return an account with what the lake knows about it among its own fields."""
    values = asdict(account)
    about = values.pop("about") or {}
    return {**about, **values}


def any_of(values: list[str] | None) -> frozenset[str] | None:
    """Return the values of a repeated option, None if it is not given."""
    return frozenset(values) if values else None


def _require_known(verticals: list[str]) -> None:
    from resources.catalogues import load_verticals

    names = [found.name for found in load_verticals()]
    for vertical in verticals:
        if vertical not in names:
            message = f"Unknown vertical {vertical!r}; expected one of {', '.join(names)}."
            raise InputError(message)
