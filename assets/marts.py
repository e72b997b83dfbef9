"""mart/*: tables for analysts."""

from collections.abc import Callable

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult

from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from assets.summaries import SUMMARIES
from assets.transforms import marts
from assets.transforms.source.schema import TIMESTAMP
from assets.verticals import TAGS, THRESHOLDS
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource, TableSpec

GROUP = "mart"
_TEXT, _LONG, _REAL = pa.string(), pa.int64(), pa.float64()


def _columns(**columns: pa.DataType) -> pa.Schema:
    return pa.schema(list(columns.items()))


CREATORS = TableSpec(
    "mart/creators",
    _columns(
        account_bucket=pa.int32(),
        account_id=_TEXT,
        network=_TEXT,
        handle=_TEXT,
        display_name=_TEXT,
        bio=_TEXT,
        country=_TEXT,
        language=_TEXT,
        followers=_LONG,
        created_at=TIMESTAMP,
        posts=_LONG,
        last_posted_at=TIMESTAMP,
        likes=_LONG,
        comments=_LONG,
        views=_LONG,
        shares=_LONG,
        verticals=_TEXT,
        top_vertical=_TEXT,
        top_vertical_score=_REAL,
        summary=_TEXT,
    ),
    ("account_id",),
    text_columns=("bio", "summary", "display_name"),
)
POSTS_BY_DAY = TableSpec(
    "mart/posts_by_day",
    _columns(
        day=pa.date32(),
        network=_TEXT,
        posts=_LONG,
        accounts=_LONG,
        likes=_LONG,
        comments=_LONG,
        views=_LONG,
        shares=_LONG,
    ),
    ("network", "day"),
    partitioned=False,
)
VERTICAL_COVERAGE = TableSpec(
    "mart/vertical_coverage",
    _columns(
        vertical=_TEXT,
        title=_TEXT,
        item_kind=_TEXT,
        tagged=_LONG,
        threshold=_REAL,
        fitted=pa.bool_(),
        members=_LONG,
        non_members=_LONG,
        f1=_REAL,
    ),
    ("vertical", "item_kind"),
    partitioned=False,
)
TESTIMONIALS = TableSpec(
    "mart/testimonials",
    _columns(
        account_bucket=pa.int32(),
        testimonial_id=_TEXT,
        brand=_TEXT,
        campaign=_TEXT,
        account_id=_TEXT,
        handle=_TEXT,
        author_role=_TEXT,
        rating=pa.int16(),
        text=_TEXT,
        created_at=TIMESTAMP,
    ),
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
        key=spec.name.split("/"),
        deps=[of.name.split("/") for of in stage.inputs],
        partitions_def=BUCKETS if spec.partitioned else None,
        backfill_policy=ALL_IN_ONE_RUN if spec.partitioned else None,
        group_name=GROUP,
        description=description,
        owners=["team:analytics"],
        kinds={"delta", "polars"},
    )
    def mart(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> MaterializeResult[None]:
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
