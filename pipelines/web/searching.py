"""A page of search results, and an answer. The only module of the page that calls the searcher."""

from assets.search.ask import Asker
from assets.search.query import Answer, Searcher
from assets.transforms.search.answers import AskAnswer
from pipelines.web.choices import Choice, choices
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


def offered(searcher: Searcher, asked: Asked) -> dict[str, list[Choice]]:
    """Return the values that the filters offer."""
    return choices(searcher.values(), asked.filters)


def answer_question(asker: Asker, asked: Asked, *, quotes_only: bool) -> AskAnswer:
    """Return the answer to a question. Raises InputError."""
    try:
        return asker.ask(asked.q, asked.where(), asked.followers(), quotes_only=quotes_only)
    except ValueError as error:
        raise InputError(str(error)) from None
