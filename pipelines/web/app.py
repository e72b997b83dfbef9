"""The page as an ASGI application: routes, and errors as sentences."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from pipelines.web.pages import STATIC, render
from pipelines.web.security import Guard
from pipelines.web.site import Site
from pipelines.web.views import ask, creator, health, label, pipeline, search, spend, verticals
from resources.errors import InputError, TransientFailure, as_cippus_error
from resources.vectors.values import CollectionMissingError

View = Callable[[Site, Request], Response]
FormView = Callable[[Site, Request, Mapping[str, str]], Response]
_LOG = logging.getLogger("cippus.web")
_MOST_FORM_BYTES = 16_384
_DEFECT = "The page has a defect; the log of `cippus web` shows it."


def make_app(site: Site) -> Starlette:
    """Return the application of a site."""
    routes = [
        Route("/", _get(site, "search", search.show)),
        Route("/ask", _get(site, "ask", ask.show)),
        Route("/ask", _post(site, "ask", ask.answer), methods=["POST"]),
        Route("/creator", _get(site, "creator", creator.show)),
        Route("/label", _get(site, "label", label.show)),
        Route("/label", _post(site, "label", label.keep), methods=["POST"]),
        Route("/spend", _get(site, "spend", spend.show)),
        Route("/verticals", _get(site, "verticals", verticals.show)),
        Route("/pipeline", _get(site, "pipeline", pipeline.show)),
        Route("/healthz", _get(site, "healthz", health.healthz)),
        Route("/metrics", _get(site, "metrics", health.metrics)),
        Route("/favicon.ico", lambda _: RedirectResponse("/static/favicon.svg", 308)),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    guard = Middleware(Guard, hosts=site.hosts, user_header=site.user_header)
    return Starlette(routes=routes, middleware=[guard], exception_handlers={HTTPException: _refused})


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
    error = as_cippus_error(raised)
    if error is None:
        _LOG.error("A view failed.", exc_info=raised)
        return render("error.html", 500, title="Defect", sentence=_DEFECT)
    if isinstance(error, InputError):
        return render("error.html", 400, title="Not understood", sentence=str(error))
    is_passing = isinstance(error, TransientFailure | CollectionMissingError)
    _LOG.warning("%s", error)
    title = "Not available now" if is_passing else "Failed"
    return render("error.html", 503 if is_passing else 500, title=title, sentence=str(error).splitlines()[0])


async def _form(request: Request) -> Mapping[str, str]:
    """Return the fields of a form; each name once. Raises HTTPException."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_FORM_BYTES:
            raise HTTPException(413, f"The form has more than {_MOST_FORM_BYTES:,} bytes.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=50))
    except ValueError:
        raise HTTPException(400, "The form is not text in UTF-8.") from None


async def _refused(_request: Request, error: Exception) -> Response:
    sentences = {404: "There is no such page.", 405: "This page cannot be asked in this way."}
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else _DEFECT
    return render("error.html", status, title="Not found", sentence=sentences.get(status, detail))
