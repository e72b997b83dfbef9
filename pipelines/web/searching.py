"""A page of search results. The only module of the page that calls the searcher."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from assets.search.query import Searcher
from assets.transforms.search.ranking import RankedAccount
from pipelines.web.parameters import Asked
from resources.errors import InputError

PAGE_SIZE = 10


@dataclass(frozen=True)
class Results:
    """Accounts of one page, whether more follow, counts by attribute, and words that were searched for instead."""

    accounts: list[RankedAccount]
    has_more: bool
    facets: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    mended: Mapping[str, str] = field(default_factory=dict)


def find_accounts(searcher: Searcher, asked: Asked) -> Results:
    """Return the page that was asked for. Raises InputError."""
    first, last = (asked.page - 1) * PAGE_SIZE, asked.page * PAGE_SIZE
    try:
        ranked = searcher.accounts(asked.q, asked.where(), last + 1, followers=asked.followers())
    except ValueError as error:
        raise InputError(str(error)) from None
    return Results(ranked[first:last], len(ranked) > last)
