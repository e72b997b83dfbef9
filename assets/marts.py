"""mart/*: tables for analysts."""

from collections.abc import Callable

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, AssetsDefinition

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.summaries import SUMMARIES
from assets.transforms import marts
from assets.transforms.source.schema import TIMESTAMP
from assets.verticals import TAGS, THRESHOLDS
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec

_LONG, _REAL = pa.int64(), pa.float64()
_POSTS = LAKE_POSTS.sources("post_id", "deleted_at")


def _sums(of: str) -> dict[str, Column]:
    names = ("likes", "comments", "views", "shares")
    return {name: Column(_LONG, f"Sum of the {name} of {of}.", LAKE_POSTS.sources(name)) for name in names}


CREATORS = TableSpec.of(
    "mart/creators",
    {
        **{
            name: LAKE_ACCOUNTS.copied(name)
            for name in ("account_bucket", "account_id", "network", "handle", "display_name")
        },
        "bio": LAKE_ACCOUNTS.copied("bio", f"What the creator says, cut to {marts.TEXT_LIMIT:,} characters."),
        **{name: LAKE_ACCOUNTS.copied(name) for name in ("country", "language", "followers", "created_at")},
        "posts": Column(_LONG, "Number of live posts.", _POSTS),
        "last_posted_at": Column(TIMESTAMP, "Time of the last post.", LAKE_POSTS.sources("posted_at"), "attribute"),
        **_sums("its live posts"),
        "verticals": Column(pa.string(), "Its verticals, in one text.", TAGS.sources("vertical"), "attribute"),
        "top_vertical": Column(
            pa.string(), "Vertical with the highest score.", TAGS.sources("vertical", "score"), "attribute"
        ),
        "top_vertical_score": Column(_REAL, "Its score.", TAGS.sources("score"), "attribute"),
        "summary": SUMMARIES.copied("summary"),
    },
    ("account_id",),
    text_columns=("bio", "summary", "display_name"),
)
POSTS_BY_DAY = TableSpec.of(
    "mart/posts_by_day",
    {
        "day": Column(pa.date32(), "Day (UTC); null for posts without a date.", LAKE_POSTS.sources("posted_at")),
        "network": LAKE_POSTS.copied("network"),
        "posts": Column(_LONG, "Number of live posts.", _POSTS + LAKE_ACCOUNTS.sources("deleted_at")),
        "accounts": Column(_LONG, "Number of accounts that posted.", LAKE_POSTS.sources("account_id")),
        **_sums("these posts"),
    },
    ("network", "day"),
    partitioned=False,
)
VERTICAL_COVERAGE = TableSpec.of(
    "mart/vertical_coverage",
    {
        "vertical": THRESHOLDS.copied("vertical"),
        "title": Column(pa.string(), "Title of the vertical in the catalogue."),
        "item_kind": THRESHOLDS.copied("item_kind", "Kind of item: post or account."),
        "tagged": Column(_LONG, "Number of tagged items.", TAGS.sources("item_id")),
        **{name: THRESHOLDS.copied(name) for name in ("threshold", "fitted", "members", "non_members", "f1")},
    },
    ("vertical", "item_kind"),
    partitioned=False,
)
TESTIMONIALS = TableSpec.of(
    "mart/testimonials",
    {
        **{
            name: LAKE_TESTIMONIALS.copied(name)
            for name in ("account_bucket", "testimonial_id", "brand", "campaign", "account_id")
        },
        "handle": LAKE_ACCOUNTS.copied("handle", "Handle of the account, if it is live."),
        **{name: LAKE_TESTIMONIALS.copied(name) for name in ("author_role", "rating", "text", "created_at")},
    },
    ("testimonial_id",),
    text_columns=("text",),
)
MARTS = (CREATORS, POSTS_BY_DAY, VERTICAL_COVERAGE, TESTIMONIALS)
TOTALLING = Stage(POSTS_BY_DAY.name, (LAKE_POSTS, LAKE_ACCOUNTS), partitioned=False)
LISTING_TESTIMONIALS = Stage(TESTIMONIALS.name, (LAKE_TESTIMONIALS, LAKE_ACCOUNTS))


def _creators(lake: LakeResource, bucket: int | None) -> pl.DataFrame:
    measures = ["account_id", "posted_at", "likes", "comments", "views", "shares"]
    posts = lake.scan_cached(LAKE_POSTS, bucket).filter(pl.col("deleted_at").is_null()).select(measures)
    return marts.creators(
        lake.scan_cached(LAKE_ACCOUNTS, bucket).collect(),
        posts.collect(),
        lake.scan_cached(TAGS, bucket).collect(),
        lake.scan_cached(SUMMARIES, bucket).collect(),
    )


def _posts_by_day(lake: LakeResource, _bucket: int | None) -> pl.DataFrame:
    """Read seven narrow columns of all posts, because a day's total spans all buckets."""
    return marts.posts_by_day(marts.live_posts(lake.scan(LAKE_POSTS), lake.scan(LAKE_ACCOUNTS))).collect()


def _vertical_coverage(lake: LakeResource, _bucket: int | None) -> pl.DataFrame:
    titles = {vertical.name: vertical.title for vertical in load_verticals()}
    return marts.vertical_coverage(lake.scan(TAGS), lake.scan(THRESHOLDS).collect(), titles)


def _testimonials(lake: LakeResource, bucket: int | None) -> pl.DataFrame:
    return marts.testimonials(
        lake.scan_cached(LAKE_TESTIMONIALS, bucket).collect(), lake.scan_cached(LAKE_ACCOUNTS, bucket).collect()
    )


def _mart(
    spec: TableSpec, stage: Stage, compute: Callable[[LakeResource, int | None], pl.DataFrame], description: str
) -> AssetsDefinition:
    @asset(
        table=spec,
        deps=[of.name.split("/") for of in stage.inputs],
        description=description,
        owners=["team:analytics"],
        kinds={"delta", "polars"},
    )
    def mart(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
        def rows(bucket: int | None, _current: pl.DataFrame, _tally: RunMetrics) -> pl.DataFrame:
            return compute(lake, bucket)

        return refresh_table(context, lake, ledger, stage, spec, rows)

    return mart


ASSETS = [
    _mart(
        CREATORS,
        Stage(CREATORS.name, (LAKE_ACCOUNTS, LAKE_POSTS, TAGS, SUMMARIES), awaits=(THRESHOLDS,)),
        _creators,
        "Creators for analysts. One row per live account: followers, posts, engagement, verticals, summary.",
    ),
    _mart(
        POSTS_BY_DAY,
        TOTALLING,
        _posts_by_day,
        "Activity over time. One row per day (UTC) and network: live posts, posting accounts, engagement.",
    ),
    _mart(
        VERTICAL_COVERAGE,
        Stage(VERTICAL_COVERAGE.name, (TAGS, THRESHOLDS), catalogue_hash(load_verticals()), partitioned=False),
        _vertical_coverage,
        "How far tags reach and how good they are. One row per vertical and item kind (post or account): tagged items, "
        "threshold, labelled members and F1.",
    ),
    _mart(
        TESTIMONIALS,
        LISTING_TESTIMONIALS,
        _testimonials,
        "What brands said about creators. One row per live testimonial, with the handle of its account.",
    ),
]
