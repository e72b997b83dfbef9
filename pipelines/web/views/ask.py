"""Ask: a question, and its answer with citations. A model is asked by a form only: following a link costs nothing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from assets.transforms.search.answers import AskAnswer
from pipelines.web.errors import problem_of
from pipelines.web.pages import render, stream
from pipelines.web.parameters import Asked
from pipelines.web.searching import offered
from pipelines.web.site import Site
from resources.errors import InputError

EXAMPLES = (
    "Which creators talk about sustainable fashion, and what do they say?",
    "Who reviews electric cars?",
    "What do people say about training for a marathon?",
)


def show(site: Site, request: Request) -> Response:
    """Return the form, and the answer made of quotes."""
    asked = Asked.of(request.query_params)
    if not asked.q:
        return render("ask.html", **_values(site, request, asked))
    try:
        growing = [_first(_asked(site, asked, quotes_only=True))]
    except InputError as error:
        return _refused(site, request, asked, error)
    return render("ask.html", **_values(site, request, asked, growing=growing))


def answer(site: Site, request: Request, form: Mapping[str, str]) -> Response:
    """Return the answer of the language model, sent claim by claim."""
    asked = Asked.of(form)
    if not asked.q:
        return render("ask.html", **_values(site, request, asked))
    growing = _asked(site, asked, quotes_only=False)
    try:
        first = _first(growing)
    except InputError as error:
        return _refused(site, request, asked, error)
    return stream("ask.html", **_values(site, request, asked, growing=_to_its_end(first, growing)))


def _refused(site: Site, request: Request, asked: Asked, error: InputError) -> Response:
    """Return the form with all that was asked for, and why it is refused."""
    return render("ask.html", 400, **_values(site, request, asked, refused=str(error)))


def _asked(site: Site, asked: Asked, *, quotes_only: bool) -> Iterator[AskAnswer]:
    return site.asker.stream(asked.q, asked.where(), asked.followers(), quotes_only=quotes_only)


def _first(growing: Iterator[AskAnswer]) -> AskAnswer:
    """Return the answer after the posts were looked for, so that a wrong question is an error of its own."""
    try:
        return next(growing)
    except ValueError as error:
        raise InputError(str(error)) from None


def _to_its_end(first: AskAnswer, growing: Iterator[AskAnswer]) -> Iterator[AskAnswer]:
    """Yield the answer as it grows. The page is on its way, so that an error can only be a note below it."""
    latest = first
    yield latest
    try:
        for latest in growing:
            yield latest
    except Exception as raised:
        yield replace(latest, note=problem_of(raised).sentence)


def _values(
    site: Site, request: Request, asked: Asked, *, growing: Iterable[AskAnswer] | None = None, refused: str = ""
) -> dict[str, Any]:
    """Return what the template shows; ``growing`` is the answer, each time with what has come."""
    title = f"{asked.q} – ask" if asked.q else "Ask"
    model = site.llm.model if site.llm is not None else None
    judged = site.judging.given(site.who(request), asked.q) if asked.q else {}
    form = {"asked": asked, "offered": offered(site.searcher, asked), "examples": EXAMPLES}
    return {"title": title, **form, "judged": judged, "model": model, "growing": growing, "refused": refused}
