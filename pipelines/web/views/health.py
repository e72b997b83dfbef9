"""/healthz for whoever restarts the page, and /metrics for Prometheus."""

import datetime as dt

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from assets.marts.creators import CREATORS
from pipelines.web.site import Site
from pipelines.web.views.pipeline import failed_checks, stage_states
from resources.errors import CippusError
from resources.spend.report import spending


def healthz(_site: Site, _request: Request) -> Response:
    """Return that the page answers. It asks nothing else: a lake that is down is no reason to restart the page."""
    return PlainTextResponse("ok\n")


def metrics(site: Site, _request: Request) -> Response:
    """Return the page's own requests, the ledger, and the event log's freshness and failed checks."""
    lines = site.metrics.lines()
    creators = sum(found.rows for found in site.lake.contents(CREATORS).values())
    lines += ["# TYPE cippus_creators gauge", f"cippus_creators {creators}"]
    lines += _spending(site)
    if site.dagster is not None:
        lines += _event_log(site)
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _spending(site: Site) -> list[str]:
    ledger = site.spend.ledger
    try:
        project = spending(ledger, ledger.account())["scopes"]["project"]
    except CippusError:
        return []  # a scrape without the ledger is better than none
    lines = ["# TYPE cippus_spend_charged_usd gauge", f"cippus_spend_charged_usd {project['charged']}"]
    if project["ceiling"] is not None:
        lines += ["# TYPE cippus_spend_ceiling_usd gauge", f"cippus_spend_ceiling_usd {project['ceiling']}"]
    return lines


def _event_log(site: Site) -> list[str]:
    if site.dagster is None:
        return []
    now = dt.datetime.now(dt.UTC)
    lines = ["# TYPE cippus_stage_age_seconds gauge"]
    for state in stage_states(site.dagster, now):
        if state.oldest is not None:
            age = (now - state.oldest).total_seconds()
            lines.append(f'cippus_stage_age_seconds{{stage="{state.group}"}} {age:.0f}')
    failed, evaluated = failed_checks(site.dagster)
    lines += ["# TYPE cippus_checks_failed gauge", f"cippus_checks_failed {len(failed)}"]
    return [*lines, "# TYPE cippus_checks_evaluated gauge", f"cippus_checks_evaluated {evaluated}"]
