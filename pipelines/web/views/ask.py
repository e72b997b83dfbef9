"""Ask: a question, and its answer with citations. A model is asked by a form only: following a link costs nothing."""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from pipelines.web.pages import render
from pipelines.web.parameters import Asked
from pipelines.web.site import Site
from resources.errors import InputError

EXAMPLES = (
    "Which creators talk about sustainable fashion, and what do they say?",
    "Who reviews electric cars?",
    "What do people say about training for a marathon?",
)


def show(site: Site, request: Request) -> Response:
    """Return the form, and the answer made of quotes."""
    return _answered(site, request, Asked.of(request.query_params), quotes_only=True)


def answer(site: Site, request: Request, form: Mapping[str, str]) -> Response:
    """Return the answer of the language model."""
    return _answered(site, request, Asked.of(form), quotes_only=False)


def _answered(site: Site, request: Request, asked: Asked, *, quotes_only: bool) -> Response:
    found = None
    if asked.q:
        try:
            found = site.asker.ask(asked.q, asked.where(), asked.followers(), quotes_only=quotes_only)
        except ValueError as error:
            raise InputError(str(error)) from None
    handles = {source.account_id: source.handle or source.account_id for source in found.sources} if found else {}
    model = site.llm.model if site.llm is not None else None
    title = f"{asked.q} – ask" if asked.q else "Ask"
    return render("ask.html", title=title, asked=asked, answer=found, handles=handles, model=model, examples=EXAMPLES)
