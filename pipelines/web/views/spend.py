"""Spend: one page for a manager: charged, left under each ceiling, USD by day, the forecast, what options cost and how
good they are.
"""

from typing import Any

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from assets.marts.comparison import MODEL_COMPARISON
from assets.marts.operations import ESTIMATES
from assets.transforms.marts.comparison import OPINIONS, SUMMARISE
from assets.transforms.plots import cost_plot
from pipelines.web.charts import bar_chart
from pipelines.web.pages import render
from pipelines.web.site import Site
from resources.delta.table import LakeResource
from resources.spend.report import FORECAST_DAYS, spending


def show(site: Site, _request: Request) -> Response:
    """Return the page."""
    ledger = site.spend.ledger
    report = spending(ledger, ledger.account())
    rows = compared(site.lake, pl.col("task").is_in([SUMMARISE, OPINIONS]))
    chart = bar_chart([(day, float(usd)) for day, usd in report["days"].items()], "USD")
    return render(
        "spend.html",
        title="Spend",
        report=report,
        chart=chart,
        forecast_days=FORECAST_DAYS,
        estimates=estimates(site.lake),
        compared=rows,
        worth=cost_plot("Quality against cost of summaries", [row for row in rows if row["task"] == SUMMARISE]),
    )


def compared(lake: LakeResource, of: pl.Expr) -> list[dict[str, Any]]:
    """Return methods and models of some tasks, measured ones first, the best and then the cheapest of them first."""
    rows = lake.scan(MODEL_COMPARISON).filter(of)
    order = ["task", "quality", "usd_per_million_posts", "method", "model", "provider", "lane"]
    return rows.sort(order, descending=[False, True, *[False] * 5], nulls_last=True).collect().to_dicts()


def estimates(lake: LakeResource) -> list[dict[str, Any]]:
    """Return the options of the cheapest workload that are still offered, the cheapest first."""
    offered = lake.scan(ESTIMATES).filter("is_offered").sort("usd", "provider", "model", "lane").collect()
    return offered.filter(pl.col("workload") == pl.col("workload").first()).to_dicts()
