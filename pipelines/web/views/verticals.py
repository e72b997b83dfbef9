"""Verticals: which of them ship and why, how their tags did on labels, and the worst mistakes of one."""

from typing import Any

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from assets.labels.pairs import LEARNING_CURVE
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.transforms.marts.comparison import TASKS
from assets.transforms.plots import Plot, cost_plot, learning_plot
from assets.transforms.verticals.rosters import KINDS
from assets.verticals.held_out import HELD_OUT
from assets.verticals.quality import METHODS, MISTAKES, audit_rows, reliability_plots
from assets.verticals.roster import HISTORY, bar_plots, roster_rows
from pipelines.web.pages import render
from pipelines.web.site import Site
from pipelines.web.views.spend import compared
from resources.catalogues import load_verticals
from resources.errors import InputError

_CHANGES = 30


def show(site: Site, request: Request) -> Response:
    """Return the roster; with a vertical and a kind of item, that one's worst mistakes."""
    name, kind = request.query_params.get("vertical", ""), request.query_params.get("kind", KINDS[0])
    if kind not in KINDS:
        raise InputError(f"The kind is {kind[:20]!r}; it must be post or account.")
    if name and name not in {found.name for found in load_verticals()}:
        raise InputError(f"The vertical is {name[:64]!r}; choose one of the list.")
    rows = roster_rows(site.lake)
    if name:
        row = next((row for row in rows if (row["vertical"], row["item_kind"]) == (name, kind)), None)
        values: dict[str, Any] = {"name": name, "kind": kind, "row": row, "items": _mistakes(site, row)}
        return render("vertical.html", title=f"{name} of {kind}s", **values)
    rows_of_tags = compared(site.lake, pl.col("task").is_in(list(TASKS.values())))
    by_kind = {each: [row for row in rows if row["item_kind"] == each] for each in reversed(KINDS)}
    return render(
        "verticals.html",
        title="Verticals",
        by_kind={each: found for each, found in by_kind.items() if found},
        plots={each: bar_plots(found) for each, found in by_kind.items()},
        more_plots=[*(plot for each in by_kind for plot in _reliability(site, each)), *_more_plots(site, rows_of_tags)],
        methods=site.lake.scan(METHODS).sort("item_kind", "macro_f1", descending=[False, True]).collect().to_dicts(),
        audited=audit_rows(site.lake),
        compared=rows_of_tags,
        changes=site.lake.scan(HISTORY).sort("decided_at", "vertical", descending=[True, False]).head(_CHANGES)
        .collect().to_dicts(),
    )  # fmt: skip


def _reliability(site: Site, kind: str) -> list[Plot]:
    """Return how far the probabilities of each method hold, on items of a kind that it was not fitted on."""
    return reliability_plots(site.lake.scan(HELD_OUT).filter(item_kind=kind).drop_nulls("probability").collect())


def _more_plots(site: Site, rows: list[dict[str, Any]]) -> list[Plot]:
    """Return quality against cost for each kind of item, and the learning curve."""
    plots = [cost_plot(f"Quality against cost: {task}", [row for row in rows if row["task"] == task])
             for task in TASKS.values()]  # fmt: skip
    curve = learning_plot("Learning curve: what more labels would give", site.lake.scan(LEARNING_CURVE).collect())
    return [plot for plot in (*plots, curve) if plot is not None]


def _mistakes(site: Site, row: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Return the worst mistakes of the method that tags, with the texts of posts, or the names of accounts."""
    if row is None or row["method"] is None:
        return []
    of_row = [pl.col(name) == row[name] for name in ("method", "item_kind", "vertical")]
    items = site.lake.scan(MISTAKES).filter(*of_row).sort("rank", "is_member").collect()
    posts = site.lake.scan(LAKE_POSTS).select(item_id="post_id", text="text")
    name = pl.coalesce("display_name", "handle")
    accounts = site.lake.scan(LAKE_ACCOUNTS).select(item_id="account_id", text=name)
    named = posts if row["item_kind"] == "post" else accounts
    texts = named.filter(pl.col("item_id").is_in(items["item_id"].implode())).collect()
    return items.join(texts, on="item_id", how="left", maintain_order="left").to_dicts()
