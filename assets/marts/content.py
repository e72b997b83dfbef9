"""The columns of the marts about posts and verticals."""

from dataclasses import replace

import pyarrow as pa

from assets.lake import LAKE_POSTS
from assets.marts.columns import BUCKET_LAST, DAY, LONG, PERCENT, REAL, TEXT, Metric, as_of, metric, sums
from assets.transforms.marts.content import MEASURED, SUMMED
from assets.transforms.marts.values import COUNTS
from resources.delta.table import TableSpec

_COUNTED_AS_OF = "Latest change of a post that the row counts"
_PLACE = {
    "period": metric(TEXT, "Length of the period: day or week. Choose one; each post is in both"),
    "start": metric(
        DAY,
        "First day (UTC) of the period; weeks begin on Monday",
        null="posts without a possible date",
        sources=LAKE_POSTS.sources("posted_at"),
    ),
    "network": metric(TEXT, "Network of the posts", sources=LAKE_POSTS.sources("network")),
    "country": metric(
        TEXT,
        "Country of the creators, as stated",
        null="not stated",
        sources=("lake/accounts.country",),
        personal="attribute",
    ),
    "vertical": metric(
        TEXT,
        "Vertical that the posts are tagged with, by its name in mart/vertical_coverage, such as `food`; or `all` for "
        "all posts, tagged or not. Choose one or compare; a post with several tags counts in each of them",
        sources=("vertical/tags.vertical",),
    ),
}


def _amounts() -> dict[str, Metric]:
    return {
        "posts": metric(LONG, "Number of live posts", unit="posts"),
        "accounts": metric(
            LONG,
            "Number of creators who posted; one may be in several rows: do not add up periods, countries or verticals",
            unit="accounts",
        ),
        **sums("these posts"),
    }


def _ratios() -> dict[str, Metric]:
    averages = {
        f"average_{name}": metric(
            REAL,
            f"Mean {name} per post",
            formula=f"{name} / the posts where it was measured",
            unit="actions" if name == "engagement" else name,
            null=f"{name} is null",
        )
        for name in MEASURED
    }
    return {
        **averages,
        "engagement_by_views_percent": metric(
            REAL,
            "Engagement rate by views",
            formula="100 × engagement / views, both summed over the posts where both were measured",
            unit=PERCENT,
            null="no post with both measured, or 0 views, or a sum beyond 64 bits",
        ),
        "video_percent": metric(
            REAL,
            "Share of video",
            formula="100 × posts of media type video / posts with a media type",
            unit=PERCENT,
            null="no post has a media type",
        ),
    }


def _parts() -> dict[str, Metric]:
    """Return the sums of a bucket, from the columns of the lake."""
    engaged = LAKE_POSTS.sources("likes", "comments", "shares")
    sources = {name: LAKE_POSTS.sources(name) for name in COUNTS}
    sources |= {"engagement": engaged, "viewed_engagement": engaged, "viewed_views": LAKE_POSTS.sources("views")}
    return {
        "posts": metric(LONG, "Number of posts", sources=LAKE_POSTS.sources("post_id")),
        "accounts": metric(LONG, "Number of accounts", sources=LAKE_POSTS.sources("account_id")),
        "media": metric(LONG, "Number of posts with a media type", sources=LAKE_POSTS.sources("media_type")),
        "videos": metric(LONG, "Number of posts of media type video", sources=LAKE_POSTS.sources("media_type")),
        **{
            name: metric(LONG, f"Sum of {name}", null="never measured, or beyond 64 bits", sources=sources[name])
            for name in SUMMED
        },
        **{
            f"posts_with_{name}": metric(LONG, f"Number of posts that {name} adds up", sources=sources[name])
            for name in SUMMED
        },
    }


CONTENT_BY_BUCKET = TableSpec.of(
    "mart/content_by_bucket",
    {**_PLACE, **_parts(), "as_of": as_of(_COUNTED_AS_OF), **BUCKET_LAST},
    ("period", "start", "network", "country", "vertical"),
)


def _added_up(columns: dict[str, Metric]) -> dict[str, Metric]:
    """Return columns that come from the sums of all buckets."""
    sources = {
        "day": ("start",),
        "engagement_by_views_percent": ("viewed_engagement", "viewed_views"),
        "video_percent": ("videos", "media"),
        **{f"average_{name}": (name, f"posts_with_{name}") for name in MEASURED},
    }
    return {
        name: replace(column, sources=CONTENT_BY_BUCKET.sources(*sources.get(name, (name,))))
        for name, column in columns.items()
    }


CONTENT = TableSpec.of(
    "mart/content",
    _added_up({**_PLACE, **_amounts(), **_ratios(), "as_of": as_of(_COUNTED_AS_OF)}),
    ("period", "start", "network", "country", "vertical"),
    partitioned=False,
)
_DAY = metric(DAY, "Day (UTC)", null="posts without a possible date")
POSTS_BY_DAY = TableSpec.of(
    "mart/posts_by_day",
    _added_up({"day": _DAY, "network": _PLACE["network"], **_amounts(), **_ratios(), "as_of": as_of(_COUNTED_AS_OF)}),
    ("network", "day"),
    partitioned=False,
)
_OF_TAG = {"precision": "of the items with the tag that belong", "recall": "of the items that belong that have the tag"}


def _share(name: str) -> Metric:
    return metric(
        REAL,
        f"{name.capitalize()}: share {_OF_TAG[name]}, measured on labelled items; .8 means 80 %",
        null="too few labels to measure it",
        sources=(f"vertical/roster.{name}",),
    )


VERTICAL_COVERAGE = TableSpec.of(
    "mart/vertical_coverage",
    {
        "vertical": metric(TEXT, "Name of the vertical", sources=("vertical/thresholds.vertical",)),
        "title": metric(TEXT, "Title of the vertical in the catalogue", null="no longer in the catalogue"),
        "item_kind": metric(TEXT, "Kind of item: post or account", sources=("vertical/thresholds.item_kind",)),
        "status": metric(
            TEXT,
            "Whether the vertical ships: ship, drop or needs labels. Only what ships is tagged",
            null="not decided yet",
            sources=("vertical/roster.status",),
        ),
        "reason": metric(
            TEXT,
            "Why, with the figures, and what a person decided instead",
            null="not decided yet",
            sources=("vertical/roster.reason",),
        ),
        "tagged": metric(
            LONG,
            "Coverage: number of items with the tag. 0 also where the vertical does not ship, whatever people post",
            unit="posts or accounts",
            sources=("vertical/tags.item_id",),
        ),
        "threshold": metric(REAL, "Score from which the tag is given", sources=("vertical/thresholds.threshold",)),
        "fitted": metric(
            pa.bool_(),
            "Whether the threshold was fitted to labels; otherwise it is the catalogue's default",
            sources=("vertical/thresholds.fitted",),
        ),
        "members": metric(LONG, "Items that people labelled as members", sources=("vertical/thresholds.members",)),
        "non_members": metric(
            LONG, "Items that people labelled as no members", sources=("vertical/thresholds.non_members",)
        ),
        "f1": metric(
            REAL,
            "F1 of the tag on labelled items: 1 is perfect. It does not decide alone what ships: see reason",
            null="too few labels to measure it",
            sources=("vertical/thresholds.f1",),
        ),
        **{name: _share(name) for name in ("precision", "recall")},
        **{
            f"{name}_{end}": metric(
                REAL,
                f"{'Lower' if end == 'low' else 'Upper'} end of the 95 % interval of {name}",
                null=f"{name} not measured",
                sources=(f"vertical/roster.{name}_{end}",),
            )
            for name in ("precision", "recall")
            for end in ("low", "high")
        },
        **{
            f"bar_{name}": metric(
                REAL,
                f"{name.capitalize()} that it must hold to ship",
                null="not decided yet",
                sources=(f"vertical/roster.bar_{name}",),
            )
            for name in ("precision", "recall")
        },
        "as_of": as_of("Latest change of a post with the tag, for accounts too", null="no post has the tag"),
    },
    ("vertical", "item_kind"),
    partitioned=False,
)
