"""A page of search results. The only module of the page that calls the searcher."""

from assets.search.query import Answer, Searcher
from pipelines.web.parameters import Asked
from resources.errors import InputError

PAGE_SIZE = 10


def find_accounts(searcher: Searcher, asked: Asked) -> Answer:
    """Return the page that was asked for. Raises InputError."""
    try:
        return searcher.answer(
            asked.q,
            asked.where(),
            PAGE_SIZE,
            offset=(asked.page - 1) * PAGE_SIZE,
            like=asked.like or None,
            followers=asked.followers(),
            media=False,
        )
    except ValueError as error:
        raise InputError(str(error)) from None
