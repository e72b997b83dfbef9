"""Search: filters, results with their evidence, and paging; everything is in the address."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from pipelines.web.pages import render
from pipelines.web.parameters import Asked
from pipelines.web.searching import PAGE_SIZE, find_accounts, offered
from pipelines.web.site import Site
from resources.errors import InputError

EXAMPLES = ("vegan recipes", "electric car reviews", "marathon training")


def show(site: Site, request: Request) -> Response:
    """Return the form, and the results of a query. A refused value stays in the form."""
    asked = Asked.of(request.query_params)
    like = site.searcher.like(asked.like) if asked.like else ""
    form: dict[str, Any] = {"asked": asked, "like": like, "examples": EXAMPLES}
    form["offered"] = offered(site.searcher, asked)
    if not asked.q and not asked.like:
        return render("search.html", title="Search", **form, answer=None, refused="")
    title = f"{asked.q or f'More like {like}'} – search"
    try:
        answer = find_accounts(site.searcher, asked)
    except InputError as error:
        return render("search.html", 400, title=title, **form, answer=None, refused=str(error))
    return render(
        "search.html",
        title=title,
        **form,
        answer=answer,
        refused="",
        shortlists=site.shortlists.names() if answer.accounts else [],
        judged=site.judging.given(site.who(request), asked.q) if asked.q else {},
        first=(asked.page - 1) * PAGE_SIZE + 1,
    )
