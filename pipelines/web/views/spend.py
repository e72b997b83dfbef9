"""Spend: one page for a manager: charged, left under each ceiling, USD by day, the forecast, and what options cost."""

from typing import Any

import polars as pl
from starlette.requests import Request
from starlette.responses import Response

from assets.marts.operations import ESTIMATES
from pipelines.web.charts import bar_chart
from pipelines.web.pages import render
from pipelines.web.site import Site
from resources.delta.table import LakeResource
from resources.spend.report import FORECAST_DAYS, spending


def show(site: Site, _request: Request) -> Response:
    """Return the page."""
    ledger = site.spend.ledger
    report = spending(ledger, ledger.account())
    chart = bar_chart([(day, float(usd)) for day, usd in report["days"].items()], "USD")
    return render(
        "spend.html",
        title="Spend",
        report=report,
        chart=chart,
        forecast_days=FORECAST_DAYS,
        estimates=estimates(site.lake),
    )


def estimates(lake: LakeResource) -> list[dict[str, Any]]:
    """Return the options of the cheapest workload that are still offered, the cheapest first."""
    offered = lake.scan(ESTIMATES).filter("is_offered").sort("usd", "provider", "model", "lane").collect()
    return offered.filter(pl.col("workload") == pl.col("workload").first()).to_dicts()
