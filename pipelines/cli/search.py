"""`cippus search`: rank creators for a query."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pipelines.cli import presentation
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
from pipelines.cli.terminal import Json, err, out, print_json, require_stack, require_utf8, shown
from resources.errors import InputError

if TYPE_CHECKING:
    from assets.search.query import Answer
    from assets.transforms.search.ranking import RankedAccount

Retrievers = Literal["dense", "bm25", "hybrid"]
NOTHING_FITS = "Nothing fits this query well: these accounts are only the nearest."
UNREADABLE = "The embedding model cannot read {}: accounts are found by their words alone (BM25)."


def search(  # noqa: PLR0913  # options of a command
    query: Annotated[
        str, typer.Argument(help='Topic that the creators post about: words, "phrases", -exclusions; or @name.')
    ] = "",
    like: Annotated[str | None, typer.Option(help="More accounts like this one: an account id or a handle.")] = None,
    vertical: Verticals = None,
    network: Networks = None,
    language: Languages = None,
    country: Countries = None,
    posted_after: PostedAfter = None,
    posted_before: PostedBefore = None,
    min_followers: MinFollowers = None,
    max_followers: MaxFollowers = None,
    retriever: Annotated[Retrievers, typer.Option(help="Index that finds candidates.")] = "hybrid",
    limit: Annotated[int, typer.Option(min=1, max=100, help="Number of accounts on a page.")] = 10,
    page: Annotated[int, typer.Option(min=1, help="Page of the answer.")] = 1,
    facets: Annotated[bool, typer.Option("--facets", help="Count the accounts found by their attributes.")] = False,
    as_json: Json = False,
) -> None:
    """Rank accounts for a query, each with its best posts as evidence."""
    require_known(vertical or [])
    require_utf8("The query", query)
    require_stack()
    from assets.search.query import Followers, open_search
    from assets.transforms.search.ranking import Retriever
    from resources.catalogues import overrides_of

    with err.status("searching"):
        try:
            answer = open_search().answer(
                query,
                search_filter(vertical, network, language, country, posted_after, posted_before),
                limit,
                offset=(page - 1) * limit,
                like=like,
                followers=Followers(min_followers, max_followers),
                retriever=Retriever(retriever),
                media=as_json,
            )
        except ValueError as error:
            raise InputError(str(error)) from None
    counted = answer.facets.get("vertical", {}) if facets else {}
    for override in overrides_of(dict.fromkeys([*(vertical or []), *counted])).values():
        err.print(shown(override), highlight=False, soft_wrap=True)
    if not answer.is_read:
        err.print(UNREADABLE.format("this query" if query else "the posts of this account"))
    if answer.accounts and not answer.fits_well:
        err.print(NOTHING_FITS)
    if as_json:
        print_json(as_values(query, answer, page))
    else:
        presentation.show_answer(out, query or f"like {like}", answer, (page - 1) * limit, facets=facets)


def as_values(query: str, answer: "Answer", page: int) -> dict[str, Any]:
    """Return an answer as JSON values."""
    from resources.catalogues import overrides_of

    return {
        "query": query,
        "searched_instead": dict(answer.mended),
        "page": page,
        "found": answer.found,
        "complete": answer.is_complete,
        "fits_well": answer.fits_well,
        "read_by_model": answer.is_read,
        "facets": answer.facets,
        "overrides": overrides_of(answer.facets.get("vertical", {})),
        "accounts": [_account(account) for account in answer.accounts],
    }


def _account(account: "RankedAccount") -> Mapping[str, Any]:
    """Return an account with what the lake knows about it among its own fields."""
    values = asdict(account)
    about = values.pop("about") or {}
    return {**about, **values}


def require_known(verticals: list[str]) -> None:
    """Raise InputError for an unknown vertical."""
    from resources.catalogues import load_verticals

    known = [found.name for found in load_verticals()]
    for vertical in verticals:
        if vertical not in known:
            message = f"Unknown vertical {vertical!r}; expected one of {', '.join(known)}."
            raise InputError(message)
