"""The columns of mart/testimonials and mart/testimonials_by_brand."""

import pyarrow as pa

from assets.lake import LAKE_TESTIMONIALS
from assets.marts.columns import BUCKET_LAST, LONG, REAL, TEXT, Metric, as_of, metric
from assets.transforms.marts.testimonials import RECENT_DAYS
from assets.transforms.marts.values import TEXT_LIMIT
from assets.transforms.source.schema import TIMESTAMP
from resources.delta.table import TableSpec

_QUOTED = LAKE_TESTIMONIALS.sources
TESTIMONIALS = TableSpec.of(
    "mart/testimonials",
    {
        "testimonial_id": metric(TEXT, "Id of the testimonial", sources=_QUOTED("testimonial_id"), personal="id"),
        "brand": metric(TEXT, "Brand that speaks", null="not stated", sources=_QUOTED("brand")),
        "campaign": metric(TEXT, "Campaign", null="not stated", sources=_QUOTED("campaign")),
        "account_id": metric(
            TEXT, "Account that it is about", null="about no account", sources=_QUOTED("account_id"), personal="id"
        ),
        "handle": metric(
            TEXT,
            "Handle of the account",
            null="no live account",
            sources=("lake/accounts.handle",),
            personal="name",
        ),
        "author_role": metric(
            TEXT,
            "Role of the author",
            null="not stated",
            sources=_QUOTED("author_role"),
            personal=LAKE_TESTIMONIALS.columns["author_role"].personal,
        ),
        "rating": metric(pa.int16(), "Rating", unit="1 to 5, 5 is best", null="not rated", sources=_QUOTED("rating")),
        "text": metric(
            TEXT,
            f"What the brand says, cut to {TEXT_LIMIT:,} characters",
            null="no text",
            sources=_QUOTED("text"),
            personal="text",
        ),
        "created_at": metric(
            TIMESTAMP,
            "When it was written",
            unit="time in UTC",
            null="not stated, or an impossible date",
            sources=_QUOTED("created_at"),
        ),
        "as_of": as_of("Latest change of the testimonial"),
        **BUCKET_LAST,
    },
    ("testimonial_id",),
    filtered=("brand",),
    text_columns=("text",),
)


def _mean_rating(meaning: str, which: str) -> Metric:
    return metric(
        REAL,
        meaning,
        formula=f"mean of the ratings of {which}",
        unit="1 to 5, 5 is best",
        null="no rating among them",
        sources=_QUOTED("rating", "created_at"),
    )


TESTIMONIALS_BY_BRAND = TableSpec.of(
    "mart/testimonials_by_brand",
    {
        "brand": metric(TEXT, "Brand that speaks", null="testimonials without a brand", sources=_QUOTED("brand")),
        "testimonials": metric(LONG, "Number of live testimonials", sources=_QUOTED("testimonial_id")),
        "rated": metric(LONG, "Number of testimonials with a rating", sources=_QUOTED("rating")),
        "average_rating": _mean_rating("Mean rating", "all testimonials, dated or not"),
        "testimonials_90d": metric(
            LONG,
            f"Number of testimonials of the last {RECENT_DAYS} days",
            formula=f"testimonials written after as_of − {RECENT_DAYS} days, up to as_of",
            sources=_QUOTED("created_at"),
        ),
        "average_rating_90d": _mean_rating(
            f"Mean rating of the last {RECENT_DAYS} days", f"testimonials written after as_of − {RECENT_DAYS} days"
        ),
        "average_rating_before": _mean_rating(
            f"Mean rating before the last {RECENT_DAYS} days", f"testimonials written up to as_of − {RECENT_DAYS} days"
        ),
        "rating_change_90d": metric(
            REAL,
            "How much the mean rating changed; below 0 it got worse. It may rest on one rating: see testimonials_90d",
            formula="average_rating_90d − average_rating_before",
            unit="points of the rating",
            null="one of them is null, which does not mean unchanged",
            sources=_QUOTED("rating", "created_at"),
        ),
        "creators": metric(LONG, "Number of accounts that they are about", sources=_QUOTED("account_id")),
        "last_testimonial_at": metric(
            TIMESTAMP,
            "When the latest was written",
            unit="time in UTC",
            null="none has a possible date",
            sources=_QUOTED("created_at"),
        ),
        "as_of": as_of("Latest change of any testimonial of any brand; windows of days end there"),
    },
    ("brand",),
    partitioned=False,
)
