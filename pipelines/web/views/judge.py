"""Judge: thumbs on results and on what answers cite. A thumb that is pressed again is taken back."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from assets.shortlists import live_accounts
from pipelines.web.parameters import Asked, Form
from pipelines.web.site import Site
from resources.errors import InputError

_GRADES = {"good": 1, "bad": 0, "none": None}
_VIEWS = {"search": "/", "ask": "/ask"}


def keep(site: Site, request: Request, form: Form) -> Response:
    """Keep a judgement and go back to the results; an answer that cost money stays where it is."""
    grade = form.get("grade", "")
    if grade not in _GRADES:
        raise InputError(f"The grade is {grade[:20]!r}; it must be good, bad or none.")
    asked, who = Asked.of(form), site.who(request)
    judge(site, who, asked.q, form.get("item_kind", ""), form.get("item_id", ""), _GRADES[grade])
    view = _VIEWS.get(form.get("view", ""))
    if view is None:
        return Response(status_code=204)
    place = form.get("place", "")
    fragment = f"#{place}" if place.isascii() and place.replace("-", "").isalnum() else ""
    return RedirectResponse(asked.address(view) + fragment, 303)


def judge(site: Site, who: str, query: str, item_kind: str, item_id: str, grade: int | None) -> None:
    """Keep a judgement of a live account or post. Raises InputError."""
    is_known = site.labelling.item(item_id) if item_kind == "post" else live_accounts(site.lake, [item_id])
    if grade is not None and not is_known:
        raise InputError(
            f"The {item_kind[:20] or 'item'} {item_id[:100]!r} is not in the lake, so it cannot be judged."
        )
    site.judging.judge(who, query, item_kind, item_id, grade)
    site.audit.record_day(who, "judge", "judged results")
