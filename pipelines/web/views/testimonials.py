"""Testimonials: the brands with their ratings, and what testimonials say of one of them, praise and criticism."""

from starlette.requests import Request
from starlette.responses import Response

from assets.summaries.testimonials import brand_rows, brand_summary
from pipelines.web.pages import render
from pipelines.web.site import Site
from resources.errors import InputError

LONGEST, MOST_BRANDS = 500, 200


def show(site: Site, request: Request) -> Response:
    """Return the brands; with a brand, what testimonials say of it or of one of its campaigns."""
    brand, campaign = request.query_params.get("brand"), request.query_params.get("campaign")
    words = request.query_params.get("q", "").strip()
    for text in (words, brand or "", campaign or ""):
        if len(text) > LONGEST:
            raise InputError(f"The name has {len(text):,} characters; it may have {LONGEST}.")
    if brand is None:
        rows = brand_rows(site.lake, words, MOST_BRANDS)
        return render("testimonials.html", title="Testimonials", rows=rows, words=words, most=MOST_BRANDS)
    found = brand_summary(site.lake, brand, campaign)
    if found is None:
        return render("error.html", 404, title="Not found", sentence=missing(brand, campaign))
    return render("brand.html", title=found.brand.brand or "Without a brand", found=found, own=found.brand)


def missing(brand: str, campaign: str | None) -> str:
    """Return the sentence that says that there is no such brand or campaign."""
    if campaign is None:
        return f"No brand {brand[:100]!r} has testimonials."
    return f"No campaign {campaign[:100]!r} of the brand {brand[:100]!r} has testimonials."
