"""Search: filters, results with their evidence, and paging; everything is in the address."""

from collections.abc import Mapping
from typing import Any

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from assets.marts import CREATORS
from assets.verticals import TAGS
from pipelines.web.pages import render
from pipelines.web.parameters import Asked
from pipelines.web.searching import PAGE_SIZE, find_accounts
from pipelines.web.site import Site
from resources.delta.table import LakeResource

EXAMPLES = ("vegan recipes", "electric car reviews", "marathon training")


def show(site: Site, request: Request) -> Response:
    """Return the form, and the results of a query."""
    asked = Asked.of(request.query_params)
    if not asked.q:
        return render("search.html", title="Search", asked=asked, results=None, examples=EXAMPLES)
    results = find_accounts(site.searcher, asked)
    return render(
        "search.html",
        title=f"{asked.q} – search",
        asked=asked,
        results=results,
        about=about_accounts(site.lake, [account.account_id for account in results.accounts]),
        first=(asked.page - 1) * PAGE_SIZE + 1,
    )


def about_accounts(lake: LakeResource, ids: list[str]) -> Mapping[str, Mapping[str, Any]]:
    """Return account id → its row of mart/creators, with a list of ``tags``; nothing for accounts without a row."""
    found = lake.scan(CREATORS).filter(pl.col("account_id").is_in(ids)).collect()
    of_accounts = (pl.col("item_kind") == "account") & pl.col("item_id").is_in(ids)
    tags = lake.scan(TAGS).filter(of_accounts).sort("score", descending=True).select("item_id", "vertical").collect()
    names: dict[str, list[str]] = {}
    for account_id, vertical in tags.iter_rows():
        names.setdefault(account_id, []).append(vertical)
    return {row["account_id"]: {**row, "tags": names.get(row["account_id"], [])} for row in found.iter_rows(named=True)}
