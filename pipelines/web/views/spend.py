"""Spend: one page for a manager: charged, left under each ceiling, USD by day, and the forecast."""

from starlette.requests import Request
from starlette.responses import Response

from pipelines.web.charts import bar_chart
from pipelines.web.pages import render
from pipelines.web.site import Site
from resources.spend.report import FORECAST_DAYS, spending


def show(site: Site, _request: Request) -> Response:
    """Return the page."""
    ledger = site.spend.ledger
    report = spending(ledger, ledger.account())
    chart = bar_chart([(day, float(usd)) for day, usd in report["days"].items()], "USD")
    return render("spend.html", title="Spend", report=report, chart=chart, forecast_days=FORECAST_DAYS)
