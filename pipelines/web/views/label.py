"""Label: one post at a time, for people who never saw a terminal."""

from collections.abc import Mapping
from urllib.parse import unquote, urlencode

import polars as pl
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from assets.transforms.labels.page import annotator_name
from assets.transforms.search.codes import language_code
from pipelines.web.pages import render
from pipelines.web.site import Site
from resources.catalogues import Vertical, load_verticals
from resources.errors import InputError

_MOST_SKIPPED = 100_000


def show(site: Site, request: Request) -> Response:
    """Return the next post with its buttons; without a name and a vertical, the form that asks for them."""
    query = request.query_params
    user = request.headers.get(site.user_header, "") if site.user_header else query.get("annotator", "")
    if not query.get("vertical") or not user.strip():
        return render("label_start.html", title="Label", user=user if site.user_header else "")
    annotator, vertical, language, skipped = _chosen(user, query)
    labels = site.labelling.labels(annotator).filter(pl.col("vertical") == vertical.name)
    wanted = query.get("item", "")
    item = site.labelling.item(wanted) if wanted else None
    if item is None:
        item = site.labelling.next_item(annotator, vertical.name, language or None, skipped)
    return render(
        "label.html",
        title=f"Label {vertical.title}",
        annotator=annotator,
        vertical=vertical,
        language=language,
        skipped=skipped,
        item=item,
        given=labels.height,
        members=int(labels["is_member"].sum()),
        has_header=bool(site.user_header),
    )


def keep(site: Site, request: Request, form: Mapping[str, str]) -> Response:
    """Keep a label, skip a post or take the last label back; then go to the next post."""
    user = request.headers.get(site.user_header, "") if site.user_header else form.get("annotator", "")
    annotator, vertical, language, skipped = _chosen(user, form)
    action, item_id, shown = form.get("action", ""), unquote(form.get("item_id", "")), ""
    if action in ("yes", "no"):
        if site.labelling.item(item_id) is None:
            raise InputError(f"The post {item_id[:100]!r} is not in the lake any more; go back to the next one.")
        site.labelling.label(annotator, item_id, vertical.name, is_member=action == "yes")
    elif action == "skip":
        skipped += 1
    elif action == "undo":
        shown = site.labelling.undo(annotator, vertical.name) or ""
    else:
        raise InputError(f"The action is {action[:20]!r}; it must be yes, no, skip or undo.")
    values = {"vertical": vertical.name, "language": language, "skipped": skipped or "", "item": shown}
    if not site.user_header:
        values["annotator"] = annotator
    address = urlencode({name: value for name, value in values.items() if value})
    return RedirectResponse(f"/label?{address}", 303)


def _chosen(user: str, given: Mapping[str, str]) -> tuple[str, Vertical, str, int]:
    """Return the person's name, the vertical, the language and the number of skipped posts. Raises InputError."""
    try:
        annotator = annotator_name(user)
    except ValueError as error:
        raise InputError(str(error)) from None
    name = given.get("vertical", "")
    vertical = next((found for found in load_verticals() if found.name == name), None)
    if vertical is None:
        raise InputError(f"The vertical is {name[:64]!r}; choose one of the list.")
    language = given.get("language", "").strip()
    if language and language_code(language) is None:
        raise InputError(f"Unknown language {language[:40]!r}; write a code or a name, such as en or English.")
    skipped = given.get("skipped") or "0"
    if not skipped.isascii() or not skipped.isdigit() or int(skipped[:9]) > _MOST_SKIPPED:
        raise InputError(f"The number of skipped posts is {skipped[:20]!r}; it must be 0 to {_MOST_SKIPPED:,}.")
    return annotator, vertical, language, int(skipped)
