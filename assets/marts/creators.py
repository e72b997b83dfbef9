"""The columns of mart/creators, mart/creator_days and mart/audiences."""

from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS
from assets.marts.columns import (
    BUCKET_LAST,
    DAY,
    LONG,
    NEVER_MEASURED,
    PERCENT,
    REAL,
    TEXT,
    Metric,
    as_of,
    metric,
    sums,
)
from assets.transforms.marts.creators import TOP, WINDOWS
from assets.transforms.marts.values import TEXT_LIMIT
from assets.transforms.source.schema import TIMESTAMP
from resources.delta.table import TableSpec

_OF_ACCOUNT, _OF_POSTS = LAKE_ACCOUNTS.sources, LAKE_POSTS.sources
_BUCKET_AS_OF = "Latest change of any account or post in the account's bucket; windows of days end there"
_ENGAGED = _OF_POSTS("likes", "comments", "shares")
_NO_REPORT = "no report states it"


def _identity() -> dict[str, Metric]:
    return {
        "account_id": metric(TEXT, "Id of the account", sources=_OF_ACCOUNT("account_id"), personal="id"),
        "network": metric(TEXT, "Network of the account", sources=_OF_ACCOUNT("network")),
    }


def _stated(name: str, meaning: str, personal: str = "attribute") -> Metric:
    return metric(TEXT, meaning, null="not stated", sources=_OF_ACCOUNT(name), personal=personal)


_FOLLOWERS = metric(
    LONG,
    "Followers at as_of",
    unit="accounts",
    null=f"{NEVER_MEASURED}, or a negative count in the source",
    sources=_OF_ACCOUNT("followers"),
    personal="attribute",
)
_POSTS = metric(LONG, "Number of live posts, dated or not", unit="posts", sources=_OF_POSTS("post_id", "deleted_at"))


def _per_post(name: str) -> dict[str, Metric]:
    null, sources = f"{name} never measured", _OF_POSTS(name)
    return {
        f"average_{name}": metric(
            REAL, f"Mean {name} per post", formula=f"mean of the measured {name}", unit=name, null=null, sources=sources
        ),
        f"median_{name}": metric(
            REAL,
            f"Median {name} per post",
            formula=f"median of the measured {name}; the mean of the middle two of an even number",
            unit=name,
            null=null,
            sources=sources,
        ),
    }


def _rates() -> dict[str, Metric]:
    return {
        "average_engagement": metric(
            REAL,
            "Mean engagement per post",
            formula="mean of likes + comments + shares over the posts where one of them was measured",
            unit="actions",
            null="engagement never measured",
            sources=_ENGAGED,
        ),
        "engagement_by_followers_percent": metric(
            REAL,
            "Engagement rate by followers",
            formula="100 × average_engagement / followers",
            unit=PERCENT,
            null="followers unknown or 0, or engagement never measured",
            sources=(*_ENGAGED, *_OF_ACCOUNT("followers")),
        ),
        "engagement_by_views_percent": metric(
            REAL,
            "Engagement rate by views",
            formula="100 × engagement / views, both summed over the posts where both were measured",
            unit=PERCENT,
            null="no post with both measured, or 0 views",
            sources=(*_ENGAGED, *_OF_POSTS("views")),
        ),
        "posts_per_week": metric(
            REAL,
            "Posts a week, of the posts that were extracted: it falls when the source stops delivering",
            formula=f"posts of the last {max(WINDOWS)} days up to as_of / ({max(WINDOWS)} / 7)",
            unit="posts a week",
            null="there are posts, and none has a possible date",
            sources=_OF_POSTS("posted_at"),
        ),
        "video_percent": metric(
            REAL,
            "Share of video",
            formula="100 × posts of media type video / posts with a media type",
            unit=PERCENT,
            null="no post has a media type",
            sources=_OF_POSTS("media_type"),
        ),
    }


def _growth(days: int) -> dict[str, Metric]:
    return {
        f"engagement_{days}d": metric(
            LONG,
            f"Engagement of the posts of the last {days} days",
            formula=f"sum of likes + comments + shares of posts after as_of − {days} days, up to as_of",
            unit="actions",
            null="no such post, or none measured, or a sum beyond 64 bits",
            sources=(*_ENGAGED, *_OF_POSTS("posted_at")),
        ),
        f"followers_{days}d": metric(
            LONG,
            f"Followers {days} days ago",
            formula=f"followers in mart/creator_days on its last day up to the day of as_of − {days} days",
            unit="accounts",
            null="not recorded then, or unknown then",
            sources=CREATOR_DAYS.sources("day", "followers"),
        ),
        f"followers_growth_{days}d_percent": metric(
            REAL,
            f"Growth of followers over {days} days",
            formula=f"100 × followers / followers_{days}d − 100",
            unit=PERCENT,
            null=f"followers unknown, or followers_{days}d null or 0",
            sources=(*CREATOR_DAYS.sources("day", "followers"), *_OF_ACCOUNT("followers")),
        ),
        f"engagement_growth_{days}d_percent": metric(
            REAL,
            f"Growth of engagement over {days} days",
            formula=f"100 × engagement_{days}d / engagement of the posts of the {days} days before − 100",
            unit=PERCENT,
            null=f"engagement_{days}d null, or nothing measured in the {days} days before, or 0",
            sources=(*_ENGAGED, *_OF_POSTS("posted_at")),
        ),
    }


def _audience() -> dict[str, Metric]:
    sources = ("mart/audiences.value", "mart/audiences.share_percent")
    tops = {}
    for name in ("country", "age"):
        words = "country" if name == "country" else "age group"
        tops[f"audience_top_{name}"] = metric(
            TEXT, f"Most common {words} of the audience", null=_NO_REPORT, sources=sources, personal="attribute"
        )
        tops[f"audience_top_{name}_percent"] = metric(
            REAL, f"Share of the audience in audience_top_{name}", unit=PERCENT, null=_NO_REPORT, sources=sources
        )
    for name in ("female", "male"):
        tops[f"audience_{name}_percent"] = metric(
            REAL, f"Share of the audience that is {name}", unit=PERCENT, null=_NO_REPORT, sources=sources
        )
    return {
        **tops,
        "audience_as_of": metric(
            TIMESTAMP,
            "Date of the newest audience report",
            unit="time in UTC",
            null="no report",
            sources=("mart/audiences.as_of",),
        ),
    }


def _listed(meaning: str, order: str, null: str, sources: tuple[str, ...]) -> Metric:
    return metric(
        TEXT,
        meaning,
        formula=f"at most {TOP}, separated by commas, by {order}",
        null=null,
        sources=sources,
        personal="attribute",
    )


AUDIENCES = TableSpec.of(
    "mart/audiences",
    {
        "account_id": metric(TEXT, "Id of the account", sources=("audience/demographics.account_id",), personal="id"),
        "dimension": metric(
            TEXT, "Age, gender, country, language or interest", sources=("audience/demographics.dimension",)
        ),
        "value": metric(TEXT, "Value of the dimension, such as DE or 25-34", sources=("audience/demographics.value",)),
        "share_percent": metric(
            REAL,
            "Share of the audience in the newest report about the dimension",
            unit=f"{PERCENT}; the shares of a report need not add up to 100",
            sources=("audience/demographics.share_percent",),
            personal="attribute",
        ),
        "rank": metric(LONG, "Place of the value in its dimension, 1 for the largest share"),
        "as_of": as_of("Date of the report", null="the report has no date"),
        **BUCKET_LAST,
    },
    ("account_id", "dimension", "value"),
)
CREATOR_DAYS = TableSpec.of(
    "mart/creator_days",
    {
        "day": metric(DAY, "Day (UTC) of as_of; a bucket gets a new day only when its data changes"),
        **_identity(),
        "followers": _FOLLOWERS,
        "posts": _POSTS,
        **sums("all live posts"),
        "as_of": as_of(_BUCKET_AS_OF),
        **BUCKET_LAST,
    },
    ("day", "account_id"),
    filtered=("network",),
)
CREATORS = TableSpec.of(
    "mart/creators",
    {
        **_identity(),
        "handle": _stated("handle", "Handle of the account", "name"),
        "display_name": _stated("display_name", "Name that the account shows", "name"),
        "bio": _stated("bio", f"What the creator says about the account, cut to {TEXT_LIMIT:,} characters", "text"),
        "country": _stated("country", "Country of the creator, as stated"),
        "language": _stated("language", "Language of the creator, as stated"),
        "created_at": metric(
            TIMESTAMP,
            "When the account was created",
            unit="time in UTC",
            null="not stated, or an impossible date",
            sources=_OF_ACCOUNT("created_at"),
            personal="attribute",
        ),
        "followers": _FOLLOWERS,
        "posts": _POSTS,
        "last_posted_at": metric(
            TIMESTAMP,
            "Last active: time of the latest live post",
            unit="time in UTC",
            null="no post has a possible date",
            sources=_OF_POSTS("posted_at"),
            personal="attribute",
        ),
        **sums("all live posts"),
        **{key: found for name in ("views", "likes", "comments") for key, found in _per_post(name).items()},
        **_rates(),
        **{key: found for days in WINDOWS for key, found in _growth(days).items()},
        "languages": _listed(
            "Languages found in the texts of the posts that are searched",
            "number of posts, then name",
            "no text whose language is certain",
            ("corpus/cippus_text.text_language",),
        ),
        "top_hashtags": _listed(
            "Most used hashtags, in lower case", "number of posts, then name", "no hashtags", _OF_POSTS("hashtags")
        ),
        "brands": _listed(
            "Brands that the posts name: those of lake/testimonials, as words of the text or as a hashtag",
            "number of posts, then name",
            "no brand named in posts; mart/testimonials says which brands speak of the account",
            (*_OF_POSTS("text", "hashtags"), "lake/testimonials.brand"),
        ),
        "verticals": metric(
            TEXT,
            "Verticals that the account is tagged with, by their names in mart/vertical_coverage, separated by commas",
            null="no tag that ships; see status in mart/vertical_coverage",
            sources=("vertical/tags.vertical",),
            personal="attribute",
        ),
        "top_vertical": metric(
            TEXT,
            "Vertical of the highest score",
            null="none",
            sources=("vertical/tags.vertical", "vertical/tags.score"),
            personal="attribute",
        ),
        **_audience(),
        "summary": metric(
            TEXT,
            f"The account in its own posts, cut to {TEXT_LIMIT:,} characters",
            null="no text to quote",
            sources=("summary/account_summaries.summary",),
            personal="text",
        ),
        "as_of": as_of(_BUCKET_AS_OF),
        **BUCKET_LAST,
    },
    ("account_id",),
    filtered=("network", "country", "language"),
    text_columns=("bio", "summary", "display_name"),
)
