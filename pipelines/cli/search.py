"""`cippus search`: rank creators for a query."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from pipelines.cli import presentation
from pipelines.cli.terminal import Json, err, out, print_json, require_stack, require_utf8
from resources.errors import InputError

Retrievers = Literal["dense", "bm25", "hybrid"]
_DAYS = ["%Y-%m-%d"]

UNREADABLE = "The embedding model cannot read this query: these accounts were found by their words alone (BM25)."


def search(  # noqa: PLR0913  # options of a command
    query: Annotated[str, typer.Argument(help="Topic that the creators post about.")],
    vertical: Annotated[str | None, typer.Option(help="Only accounts tagged with this vertical.")] = None,
    network: Annotated[str | None, typer.Option(help="Only posts of this network.")] = None,
    language: Annotated[str | None, typer.Option(help="Only posts in this language, such as en.")] = None,
    country: Annotated[str | None, typer.Option(help="Only accounts of this country, such as DE.")] = None,
    posted_after: Annotated[
        datetime | None, typer.Option(formats=_DAYS, help="Only posts on or after this day (UTC).")
    ] = None,
    posted_before: Annotated[
        datetime | None, typer.Option(formats=_DAYS, help="Only posts before this day (UTC).")
    ] = None,
    min_followers: Annotated[
        int | None, typer.Option(min=0, help="Only accounts with this many followers or more.")
    ] = None,
    max_followers: Annotated[
        int | None, typer.Option(min=0, help="Only accounts with this many followers or fewer.")
    ] = None,
    retriever: Annotated[Retrievers, typer.Option(help="Index that finds candidates.")] = "hybrid",
    limit: Annotated[int, typer.Option(min=1, max=100, help="Number of accounts.")] = 10,
    as_json: Json = False,
) -> None:
    """Rank accounts for a query, each with its best posts as evidence."""
    _require_known(vertical)
    require_utf8("The query", query)
    require_stack()
    from assets.search.query import Followers, Searcher
    from assets.transforms.search.ranking import Retriever
    from resources.vectors.values import SearchFilter
    from resources.wiring import resources

    made = resources()
    # Until they are initialized, their secrets are EnvVars.
    qdrant, embedder = made.qdrant.process_config_and_initialize(), made.embedder.process_config_and_initialize()
    searcher = Searcher(made.lake, embedder, qdrant)
    with err.status("searching"):
        try:
            where = SearchFilter(
                vertical=vertical,
                network=network,
                language=language,
                country=country,
                posted_after=posted_after and posted_after.replace(tzinfo=UTC),
                posted_before=posted_before and posted_before.replace(tzinfo=UTC),
            )
            followers = Followers(min_followers, max_followers)
            ranked = searcher.accounts(query, where, limit, followers=followers, retriever=Retriever(retriever))
        except ValueError as error:
            raise InputError(str(error)) from None
    if not searcher.can_read(query):
        err.print(UNREADABLE)
    if as_json:
        print_json({"query": query, "accounts": [asdict(account) for account in ranked]})
    else:
        presentation.show_accounts(out, query, ranked)


def _require_known(vertical: str | None) -> None:
    from resources.catalogues import load_verticals

    names = [found.name for found in load_verticals()]
    if vertical is not None and vertical not in names:
        message = f"Unknown vertical {vertical!r}; expected one of {', '.join(names)}."
        raise InputError(message)
