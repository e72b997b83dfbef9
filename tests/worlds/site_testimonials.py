"""Testimonials of the small site: of a brand with praise and criticism, of a brand with an odd name, and of none."""

import datetime as dt
from collections.abc import Iterator
from typing import Any

from assets.lake import LAKE_TESTIMONIALS
from assets.summaries.brands import BRAND_TESTIMONIALS
from assets.summaries.model_testimonials_table import MODEL_TESTIMONIALS
from assets.transforms.source.schema import account_bucket
from resources.delta.table import TableSpec
from resources.settings import bucket_count


def testimonial_tables(hostile: str, then: dt.datetime) -> Iterator[tuple[TableSpec, list[dict[str, Any]]]]:
    """Yield the tables and their rows."""
    yield LAKE_TESTIMONIALS, _testimonials(hostile, then)
    yield BRAND_TESTIMONIALS, _brand_testimonials(hostile)
    yield MODEL_TESTIMONIALS, [_model_claim(hostile)]


def _testimonials(hostile: str, then: dt.datetime) -> list[dict[str, Any]]:
    """Return those of three brands; one of them is deleted. The parcels are the last four of Acme's praise."""
    of_acme = [(f"acme/{number}", "Acme", 1 if number == 5 else 5, None) for number in range(1, 7)]
    others = [("odd", hostile, 2, None), ("none", None, None, None), ("gone", "Acme", 1, then)]
    return [
        {"testimonial_id": id_, "brand": brand, "campaign": "spring" if id_ == "acme/1" else None, "rating": rating,
         "account_id": "anna" if id_ == "acme/1" else hostile if id_ == "odd" else None, "account_bucket": 0,
         "created_at": then, "updated_at": then, "deleted_at": deleted}
        for id_, brand, rating, deleted in [*of_acme, *others]
    ]  # fmt: skip


def _brand_testimonials(hostile: str) -> list[dict[str, Any]]:
    good, bad = "The parcel came within a day.", "Nobody said where my parcel was."
    gone = "What a deleted testimonial said."
    parcels = [f"acme/{number}" for number in (4, 3, 2, 6)]
    rows: list[tuple[Any, ...]] = [
        ("Acme", None, 6, [good, bad, gone], [parcels, ["acme/5"], ["gone"]], ["positive", "negative", "negative"],
         ["parcel", "parcel", "parcel"]),
        ("Acme", "spring", 1, ["Spring went well."], [["acme/1"]], ["positive"], [None]),
        (hostile, None, 1, [hostile], [["odd"]], ["negative"], [hostile]),
        (None, None, 1, [], [], [], []),
    ]  # fmt: skip
    figures = {6: (6, 13 / 3, 500 / 6, 100 / 6), 1: (1, 5.0, 100.0, 0.0)}
    names = ("brand", "campaign", "testimonials", "claims", "testimonial_ids", "polarities", "themes")
    found = []
    for row in rows:
        rated, mean, positive, negative = figures[row[2]] if row[0] else (0, None, None, None)
        found.append({**dict(zip(names, row, strict=True)), "rated": rated, "average_rating": mean,
                      "positive_percent": positive, "negative_percent": negative,
                      "made_of": 1, "reason": None if row[3] else hostile})  # fmt: skip
    return found


def _model_claim(hostile: str) -> dict[str, Any]:
    """Return what a language model says of the odd brand."""
    return {"account_bucket": account_bucket(hostile, bucket_count()), "brand": hostile, "claims": [f"{hostile}!"],
            "testimonial_ids": [["odd"]], "polarities": ["positive"], "themes": [None], "made_of": 1, "state": "done",
            "model": hostile}  # fmt: skip
