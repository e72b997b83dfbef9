"""Search: filters, results with their evidence, and paging; everything is in the address."""

from starlette.requests import Request
from starlette.responses import Response

from pipelines.web.pages import render
from pipelines.web.parameters import Asked
from pipelines.web.searching import PAGE_SIZE, find_accounts
from pipelines.web.site import Site

EXAMPLES = ("vegan recipes", "electric car reviews", "marathon training")


def show(site: Site, request: Request) -> Response:
    """Return the form, and the results of a query."""
    asked = Asked.of(request.query_params)
    if not asked.q and not asked.like:
        return render("search.html", title="Search", asked=asked, answer=None, examples=EXAMPLES)
    return render(
        "search.html",
        title=f"{asked.q or 'More like this'} – search",
        asked=asked,
        answer=find_accounts(site.searcher, asked),
        judged=site.judging.given(site.who(request), asked.q) if asked.q else {},
        first=(asked.page - 1) * PAGE_SIZE + 1,
    )
