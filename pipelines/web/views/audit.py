"""Audit: who exported, labelled, judged, changed shortlists and raised ceilings."""

from starlette.requests import Request
from starlette.responses import Response

from assets.audit import Event
from pipelines.web.pages import render
from pipelines.web.site import Site
from resources.spend.report import spending


def show(site: Site, _request: Request) -> Response:
    """Return the events of the last days and all changes of ceilings, newest first."""
    ledger = site.spend.ledger
    ceilings = [
        Event(change["at"], change["who"], "ceiling", f"set {change['scope']} to ${change['new']}: {change['why']}")
        for change in spending(ledger, ledger.account())["changes"]
    ]
    events = sorted([*site.audit.events(), *ceilings], key=lambda event: event.at, reverse=True)
    return render("audit.html", title="Audit log", events=events)
