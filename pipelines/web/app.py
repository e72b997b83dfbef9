"""The page as an ASGI application: routes, and errors as sentences."""

import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipelines.web.api.application import make_api
from pipelines.web.bodies import BodyLimit
from pipelines.web.errors import DEFECT, problem_of
from pipelines.web.pages import STATIC, render
from pipelines.web.parameters import Form
from pipelines.web.security import Guard
from pipelines.web.site import Site
from pipelines.web.views import (
    ask,
    audit,
    creator,
    health,
    judge,
    label,
    pipeline,
    search,
    shortlists,
    spend,
    testimonials,
    verticals,
)

View = Callable[[Site, Request], Response]
FormView = Callable[[Site, Request, Form], Response]


def make_app(site: Site) -> Starlette:
    """Return the application of a site."""
    routes = [
        Route("/", _get(site, "search", search.show)),
        Route("/ask", _get(site, "ask", ask.show)),
        Route("/ask", _post(site, "ask", ask.answer), methods=["POST"]),
        Route("/creator", _get(site, "creator", creator.show)),
        Route("/label", _get(site, "label", label.show)),
        Route("/label", _post(site, "label", label.keep), methods=["POST"]),
        Route("/judge", _post(site, "judge", judge.keep), methods=["POST"]),
        Route("/shortlists", _get(site, "shortlists", shortlists.show)),
        Route("/shortlists", _post(site, "shortlists", shortlists.change), methods=["POST"]),
        Route("/shortlists.csv", _get(site, "export", shortlists.csv)),
        Route("/audit", _get(site, "audit", audit.show)),
        Route("/spend", _get(site, "spend", spend.show)),
        Route("/testimonials", _get(site, "testimonials", testimonials.show)),
        Route("/verticals", _get(site, "verticals", verticals.show)),
        Route("/pipeline", _get(site, "pipeline", pipeline.show)),
        Route("/healthz", _get(site, "healthz", health.healthz)),
        Route("/metrics", _get(site, "metrics", health.metrics)),
        Route("/favicon.ico", lambda _: RedirectResponse("/static/favicon.svg", 308)),
        Mount("/api", make_api(site)),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    guard = Middleware(Guard, hosts=site.hosts, user_header=site.user_header, api_key=site.api_key)
    return Starlette(
        routes=routes, middleware=[guard, Middleware(BodyLimit)], exception_handlers={HTTPException: _refused}
    )


def _get(site: Site, name: str, view: View) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await run_in_threadpool(_answered, site, name, lambda: view(site, request))

    return answer


def _post(site: Site, name: str, view: FormView) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        form = await _form(request)
        return await run_in_threadpool(_answered, site, name, lambda: view(site, request, form))

    return answer


def _answered(site: Site, name: str, view: Callable[[], Response]) -> Response:
    """Return a view's answer; an error as a page with its sentence."""
    started = time.monotonic()
    try:
        response = view()
    except Exception as raised:
        response = _error(raised)
    site.metrics.count(name, response.status_code, time.monotonic() - started)
    return response


def _error(raised: Exception) -> Response:
    found = problem_of(raised)
    return render("error.html", found.status, title=found.title, sentence=found.sentence, is_refusal=found.is_refusal)


async def _form(request: Request) -> Form:
    """Return the fields of a form. Raises HTTPException."""
    body = await request.body()
    try:
        return Form(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=100))
    except ValueError:
        raise HTTPException(400, "The form is not text in UTF-8.") from None


async def _refused(_request: Request, error: Exception) -> Response:
    sentences = {404: "There is no such page.", 405: "This page cannot be asked in this way."}
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else DEFECT
    return render("error.html", status, title="Not found", sentence=sentences.get(status, detail))
