"""Shortlists: the lists of creators that people keep, one of them with its creators, and its CSV file."""

from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from assets.shortlists import LONGEST_NAME, Shortlist, described, live_accounts, shortlist_name
from assets.transforms.marts.csv_files import as_csv
from pipelines.web.pages import render
from pipelines.web.parameters import Asked, Form
from pipelines.web.site import Site
from resources.errors import InputError


def show(site: Site, request: Request) -> Response:
    """Return the names of all lists; with a name, its creators."""
    name, asked = request.query_params.get("name", ""), Asked.of(request.query_params)
    if not name:
        return render("shortlists.html", title="Shortlists", names=site.shortlists.names(), longest=LONGEST_NAME)
    found = site.shortlists.get(name)
    if found is None:
        return render("error.html", 404, title="Not found", sentence=f"No shortlist is called {name[:80]!r}.")
    rows = described(site.lake, found).to_dicts()
    return render("shortlist.html", title=found.name, name=found.name, rows=rows, asked=asked)


def csv(site: Site, request: Request) -> Response:
    """Return a list as a CSV file, as `cippus export` writes them; 404 if there is none."""
    found = site.shortlists.get(request.query_params.get("name", ""))
    if found is None:
        return render("error.html", 404, title="Not found", sentence="No shortlist has this name.")
    body = as_csv(described(site.lake, found))
    site.audit.record(site.who(request), "export", f"exported the shortlist {found.name!r} as CSV")
    named = {"Content-Disposition": 'attachment; filename="shortlist.csv"'}
    return Response(body, media_type="text/csv; charset=utf-8", headers=named)


def change(site: Site, request: Request, form: Form) -> Response:
    """Add creators to a list, take one out, or delete the list."""
    action, who, name = form.get("action", ""), site.who(request), shortlist_name(form.get("name", ""))
    if action == "add":
        add(site, who, name, form.of("account_id"))
    elif action == "remove":
        remove(site, who, name, form.get("account_id", ""))
    elif action == "delete":
        delete(site, who, name)
        return RedirectResponse("/shortlists", 303)
    else:
        raise InputError(f"The action is {action[:20]!r}; it must be add, remove or delete.")
    return RedirectResponse(f"/shortlists?{urlencode({'name': name, **Asked.of(form).fields()})}", 303)


def add(site: Site, who: str, name: str, account_ids: list[str]) -> Shortlist:
    """Add live accounts to a list. Raises InputError."""
    wanted = list(dict.fromkeys(account_ids))
    if not wanted:
        raise InputError("No creator is ticked; tick some, then add them to the shortlist.")
    live = live_accounts(site.lake, wanted)
    if unknown := [id_ for id_ in wanted if id_ not in live]:
        raise InputError(f"No live account has the id {unknown[0][:100]!r}, so nothing was added.")
    added = site.shortlists.add(name, wanted, who)
    site.audit.record(who, "shortlist", f"added {added:,} creators to the shortlist {name!r}")
    return site.shortlists.get(name) or Shortlist(name)


def remove(site: Site, who: str, name: str, account_id: str) -> None:
    """Take an account out of a list."""
    site.shortlists.remove(name, account_id)
    site.audit.record(who, "shortlist", f"took a creator out of the shortlist {name!r}")


def delete(site: Site, who: str, name: str) -> None:
    """Delete a list."""
    site.shortlists.delete(name)
    site.audit.record(who, "shortlist", f"deleted the shortlist {name!r}")
