"""Templates of the page, with every text of data escaped and without control characters."""

import datetime as dt
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse, StreamingResponse

from assets.transforms.search.marking import marked
from assets.transforms.summaries.accounts import excerpt
from resources.catalogues import load_verticals
from resources.plain_text import without_controls
from resources.spend.dollars import dollars
from resources.vectors.bm25 import SparseEncoder

_FOLDER = Path(__file__).with_name("templates")
STATIC = Path(__file__).with_name("static")
CLOCK_AHEAD = dt.timedelta(days=1)
"""A post may be dated so far in the future: clocks differ, and somewhere it is tomorrow already."""
_FEWEST_FOR_PERCENT = 10
NAVIGATION = (
    *(("Search", "/"), ("Ask", "/ask"), ("Label", "/label"), ("Shortlists", "/shortlists")),
    *(("Testimonials", "/testimonials"), ("Verticals", "/verticals"), ("Spend", "/spend"), ("Pipeline", "/pipeline")),
)


def render(template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page."""
    return HTMLResponse(_environment().get_template(template).render(**values), status)


def stream(template: str, **values: Any) -> StreamingResponse:
    """Return a page that is sent while its values come: one of them is an iterator."""
    parts = _environment().get_template(template).generate(**values)
    return StreamingResponse(parts, media_type="text/html")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    known = {found.name: found for found in load_verticals()}  # each call reads the settings
    made.filters.update(
        number=_number, day=_day, excerpt=excerpt, percent="{:.1f} %".format, dollars=dollars, share=_share
    )
    made.filters.update(
        vertical=lambda name: known[name].title if name in known else name,
        override=lambda name: known[name].override if name in known else None,
    )
    made.tests.update(in_the_future=_is_in_the_future)
    made.globals.update(navigation=NAVIGATION, verticals=load_verticals(), marked=_marked)
    return made


def _shown(value: object) -> object:
    return without_controls(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _marked(text: str, query: str) -> list[tuple[str, bool]]:
    wanted = frozenset(_encoder().encode_query(query).indices.tolist())
    return marked(text, wanted, _terms_of)


@lru_cache(maxsize=1)
def _encoder() -> SparseEncoder:
    return SparseEncoder()


@lru_cache(maxsize=50_000)
def _terms_of(word: str) -> frozenset[int]:
    return frozenset(_encoder().count_terms(word).indices.tolist())


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f}"


def _is_in_the_future(day: str) -> bool:
    """Return whether a day as _day writes it is still to come."""
    return day.isascii() and day[:1].isdigit() and day > _day(dt.datetime.now(dt.UTC) + CLOCK_AHEAD)


def _share(percent: float | None, of: int) -> str:
    """Return a share of a number of items: as a count if they are few, because their percents say too much."""
    if percent is None:
        return ""
    return f"{percent:.1f} %" if of >= _FEWEST_FOR_PERCENT else f"{round(percent * of / 100)} of {of}"


def _day(value: dt.date | None) -> str:
    return "unknown" if value is None else f"{value:%Y-%m-%d}"
