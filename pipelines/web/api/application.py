"""The API as an ASGI application: endpoints, and every error as a JSON sentence."""

import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from assets.shortlists import described
from assets.summaries.testimonials import brand_rows, brand_summary
from assets.verticals.roster import roster_rows
from pipelines.web.api import shapes
from pipelines.web.errors import problem_of
from pipelines.web.parameters import Asked
from pipelines.web.searching import answer_question, find_accounts
from pipelines.web.site import Site
from pipelines.web.views import creator, judge, shortlists, testimonials
from resources.errors import InputError

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": shapes.Problem, "description": meaning}
    for code, meaning in {
        400: "The request is not understood.",
        401: "The API key or the proxy's header is missing.",
        403: "The request was sent by another site.",
        404: "There is no such thing.",
        413: "The body is too large.",
        503: "Not available now; try again.",
    }.items()
}


def make_api(site: Site) -> FastAPI:
    """Return the API of a site."""
    api = FastAPI(
        title="Cippus",
        version="1",
        description="Creators, answers and verticals, as the web page shows them.",
        docs_url=None,
        redoc_url=None,
        responses=_PROBLEMS,
        servers=[{"url": "/api"}],
        root_path_in_servers=False,
        exception_handlers={
            RequestValidationError: _not_understood,
            HTTPException: _refused,
            InputError: _failed,
            Exception: _failed,
        },
    )
    _add_reading(api, site)
    _add_testimonials(api, site)
    _add_writing(api, site)

    @api.middleware("http")
    async def counted(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        started = time.monotonic()
        response = await answer(request)
        site.metrics.count("api", response.status_code, time.monotonic() - started)
        return response

    return api


def _add_reading(api: FastAPI, site: Site) -> None:
    @api.get("/search")
    def search(query: Annotated[shapes.SearchQuery, Query()]) -> shapes.SearchPage:
        """Return accounts for a query, best first, with their best posts."""
        if not query.q and not query.like:
            raise InputError("The query is empty; write q, like or both.")
        return shapes.SearchPage.model_validate(find_accounts(site.searcher, _asked(query)))

    @api.get("/ask")
    def ask(query: Annotated[shapes.Question, Query()]) -> shapes.AskAnswer:
        """Answer a question with sentences quoted from posts. It costs nothing."""
        return shapes.AskAnswer.model_validate(answer_question(site.asker, _asked(query), quotes_only=True))

    @api.get("/creator")
    def creator_(id: str, page: Annotated[int, Query(ge=1, le=creator.LAST_PAGE)] = 1) -> shapes.CreatorPage:
        """Return an account with its numbers, summary, verticals, audience and posts."""
        found = creator.creator_page(site.lake, id, page)
        if found is None:
            raise HTTPException(404, f"No live account has the id {id[:100]!r}.")
        return shapes.CreatorPage.model_validate(found)

    @api.get("/verticals")
    def verticals() -> list[shapes.Vertical]:
        """Return the roster: which verticals ship, and why."""
        return [shapes.Vertical.model_validate(row) for row in roster_rows(site.lake)]

    @api.get("/shortlists")
    def names() -> list[str]:
        """Return the names of all shortlists."""
        return site.shortlists.names()

    @api.get("/shortlist")
    def shortlist(name: str) -> shapes.Shortlist:
        """Return a shortlist with its accounts."""
        found = site.shortlists.get(name)
        if found is None:
            raise HTTPException(404, f"No shortlist is called {name[:80]!r}.")
        return shapes.Shortlist(name=found.name, accounts=described(site.lake, found).to_dicts())


def _add_testimonials(api: FastAPI, site: Site) -> None:
    @api.get("/brands")
    def brands(q: Annotated[str, Query(max_length=testimonials.LONGEST)] = "") -> list[shapes.Brand]:
        """Return the brands with the most testimonials and their ratings; `q` is in their names."""
        rows = brand_rows(site.lake, q, testimonials.MOST_BRANDS)
        return [shapes.Brand.model_validate(row) for row in rows]

    @api.get("/testimonials")
    def said(brand: shapes.Text, campaign: shapes.Text | None = None) -> shapes.BrandTestimonials:
        """Return what testimonials say of a brand or of its campaign: praise and criticism, each sentence cited."""
        found = brand_summary(site.lake, brand, campaign)
        if found is None:
            raise HTTPException(404, testimonials.missing(brand, campaign))
        return shapes.BrandTestimonials.model_validate(found)


def _add_writing(api: FastAPI, site: Site) -> None:
    @api.post("/ask")
    def ask_model(question: shapes.Question) -> shapes.AskAnswer:
        """Answer a question with the language model, under its ceilings; with quotes where there is none."""
        return shapes.AskAnswer.model_validate(answer_question(site.asker, _asked(question), quotes_only=False))

    @api.post("/shortlists")
    def add(request: Request, wanted: shapes.AddToShortlist) -> shapes.Shortlist:
        """Add accounts to a shortlist."""
        found = shortlists.add(site, site.who(request), wanted.name, wanted.account_ids)
        return shapes.Shortlist(name=found.name, accounts=described(site.lake, found).to_dicts())

    @api.delete("/shortlist", status_code=204)
    def remove(request: Request, name: str, account_id: str = "") -> None:
        """Take an account out of a shortlist; without an account, delete the shortlist."""
        if account_id:
            shortlists.remove(site, site.who(request), name, account_id)
        else:
            shortlists.delete(site, site.who(request), name)

    @api.post("/judgements", status_code=204)
    def judge_(request: Request, given: shapes.Judgement) -> None:
        """Keep whether an item answers a query."""
        judge.judge(site, site.who(request), given.query, given.item_kind, given.item_id, given.grade)


def _asked(query: shapes.Filters) -> Asked:
    return Asked.of({name: str(value) for name, value in query.model_dump().items()})


async def _not_understood(_request: Request, error: Exception) -> JSONResponse:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    first = found[0] if found else {}
    place = ".".join(str(part) for part in first.get("loc", ())[1:]) or "The body"
    return _problem(400, f"{place}: {first.get('msg', 'not understood')}.")


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    sentences = {404: "There is no such endpoint.", 405: "This endpoint has no such method."}
    status, detail = (error.status_code, str(error.detail)) if isinstance(error, HTTPException) else (500, "")
    is_standard = detail in ("Not Found", "Method Not Allowed")
    return _problem(status, sentences.get(status, detail) if is_standard else detail)


async def _failed(_request: Request, error: Exception) -> JSONResponse:
    found = problem_of(error)
    return _problem(found.status, found.sentence)


def _problem(status: int, sentence: str) -> JSONResponse:
    return JSONResponse({"error": sentence.encode(errors="replace").decode()}, status)
