"""Checks of mart/*."""

import polars as pl

from assets.audience import DEMOGRAPHICS
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TABLES, LAKE_TESTIMONIALS
from assets.marts.content import CONTENT, CONTENT_BY_BUCKET, POSTS_BY_DAY, VERTICAL_COVERAGE
from assets.marts.creators import AUDIENCES, CREATOR_DAYS, CREATORS
from assets.marts.operations import DATA_QUALITY
from assets.marts.testimonials import TESTIMONIALS, TESTIMONIALS_BY_BRAND
from assets.quarantine import QUARANTINE
from assets.transforms.marts.content import ALL, DAY, WEEK
from assets.transforms.marts.quality import findings, owned_rejects
from assets.transforms.marts.values import COUNTS, counts, live, measured_posts, short
from assets.transforms.source.schema import SOURCE_TABLES, SourceTable, account_bucket
from assets.verticals.tags import TAGS
from assets.verticals.thresholds import THRESHOLDS
from pipelines.checks.declaration import check, count, deviation, differences
from resources.delta.table import LakeResource
from resources.settings import bucket_count

_ROUNDING = 1e-9


def _off_lake(lake: LakeResource, found: pl.LazyFrame) -> int:
    return _off(measured_posts(lake.scan(LAKE_POSTS), lake.scan(LAKE_ACCOUNTS)), found)


def _off(posts: pl.LazyFrame, found: pl.LazyFrame) -> int:
    """Return by how much the posts and counts of a mart differ from measured posts, added up.

    Where the sum is beyond 64 bits, the mart has nulls, and there is nothing to compare.
    """
    due = posts.select(posts=pl.len(), **{name: _sum(name) for name in COUNTS}).collect().row(0)
    stored = found.select("posts", *COUNTS).select(_sum("posts"), *map(_sum, COUNTS)).collect().row(0)
    return sum(abs(wanted - (held or 0)) for wanted, held in zip(due, stored, strict=True) if wanted is not None)


def _sum(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Int128).sum().cast(pl.Int64, strict=False)


def _off_lake_and_tags(lake: LakeResource, found: pl.LazyFrame, bucket: int | None = None) -> int:
    """Return by how much the rows of a period differ from the live posts, and those of verticals from the tags."""
    posts = measured_posts(lake.scan(LAKE_POSTS, bucket), lake.scan(LAKE_ACCOUNTS, bucket))
    tags = (
        lake.scan(TAGS, bucket)
        .filter(pl.col("item_kind") == "post")
        .join(posts, left_on="item_id", right_on="post_id", how="semi")
    )
    tagged = found.filter(pl.col("vertical") != ALL).select(pl.sum("posts"))
    return _off(posts, found.filter(pl.col("vertical") == ALL)) + deviation(tags.select(pl.len()), tagged)


@check(
    "mart/creators",
    "creators, posts, followers or counts more or fewer than in the lake",
    name="totals_match_lake",
    reads=(LAKE_ACCOUNTS, LAKE_POSTS, CREATORS),
    by_bucket=True,
    guards=True,
)
def creators_match_lake(bucket: int, lake: LakeResource) -> int:
    """The mart has one row per live account of the lake, with its followers, and adds up all their live posts."""
    accounts, mart = lake.scan_cached(LAKE_ACCOUNTS, bucket), lake.scan_cached(CREATORS, bucket)
    due = live(accounts).select("account_id", *counts("followers"))
    return differences(due, mart) + _off(measured_posts(lake.scan_cached(LAKE_POSTS, bucket), accounts), mart)


@check(
    "mart/creators",
    "accounts repeated, missing or with other verticals",
    reads=(LAKE_ACCOUNTS, TAGS, CREATORS),
    by_bucket=True,
)
def verticals_match_tags(bucket: int, lake: LakeResource) -> int:
    """Every live account has one row, with the verticals that it is tagged with."""
    accounts = live(lake.scan_cached(LAKE_ACCOUNTS, bucket)).select("account_id")
    tags = lake.scan_cached(TAGS, bucket).filter(pl.col("item_kind") == "account").group_by("account_id")
    tagged = tags.agg(verticals=pl.col("vertical").sort().str.join(", "))
    return differences(accounts.join(tagged, on="account_id", how="left"), lake.scan_cached(CREATORS, bucket))


@check("mart/creators", "creators whose rates or growth differ from their figures", reads=(CREATORS,), by_bucket=True)
def rates_match_figures(bucket: int, lake: LakeResource) -> int:
    """Each rate and each growth is what its formula makes of the other columns of the row."""
    formulas = {
        "engagement_by_followers_percent": 100 * pl.col("average_engagement") / pl.col("followers"),
        **{
            f"followers_growth_{days}d_percent": 100 * pl.col("followers") / pl.col(f"followers_{days}d") - 100
            for days in (30, 90)
        },
    }
    finite = {name: pl.when(formula.is_finite()).then(formula) for name, formula in formulas.items()}
    wrong = pl.any_horizontal(_differs(pl.col(name), formula) for name, formula in finite.items())
    return count(lake.scan_cached(CREATORS, bucket).filter(wrong))


def _differs(stored: pl.Expr, due: pl.Expr) -> pl.Expr:
    apart = (stored - due).abs() > _ROUNDING * pl.max_horizontal(due.abs(), pl.lit(1.0))
    return apart.fill_null(value=False) | (stored.is_null() != due.is_null())


@check(
    "mart/creators",
    "creators whose last day differs from mart/creators, or days twice",
    reads=(CREATORS, CREATOR_DAYS),
    by_bucket=True,
)
def last_day_matches_creators(bucket: int, lake: LakeResource) -> int:
    """On the day of its as_of every creator has one row, with the figures of mart/creators."""
    days = lake.scan_cached(CREATOR_DAYS, bucket)
    names = ["account_id", "followers", "posts", *COUNTS, "engagement"]
    today = days.join(
        lake.scan_cached(CREATORS, bucket).select("account_id", _day=pl.col("as_of").dt.date()), on="account_id"
    )
    twice = days.group_by("account_id", "day").len().filter(pl.col("len") > 1)
    missing = differences(
        lake.scan_cached(CREATORS, bucket).select(names), today.filter(pl.col("day") == pl.col("_day"))
    )
    return missing + count(twice)


@check(
    "mart/audiences",
    "shares more or fewer than in the newest reports, or other ranks",
    reads=(DEMOGRAPHICS, AUDIENCES),
    by_bucket=True,
)
def shares_match_reports(bucket: int, lake: LakeResource) -> int:
    """The shares of each account and dimension are those of its newest report, ranked from the largest."""
    key = ["account_id", "dimension"]
    reported = lake.scan_cached(DEMOGRAPHICS, bucket)
    newest = reported.group_by(key).agg(
        newest=pl.struct("as_of", "source_file").sort_by("as_of", "source_file", nulls_last=False).last()
    )
    is_newest = pl.struct("as_of", "source_file").eq_missing(pl.col("newest"))
    due = reported.join(newest, on=key).filter(is_newest).select(*key, "value", "share_percent")
    shares = lake.scan_cached(AUDIENCES, bucket).sort("account_id", "dimension", "rank")
    unordered = shares.filter(pl.col("share_percent").diff().over(key) > 0)
    unranked = shares.group_by(key).agg(off=pl.col("rank").max() - pl.len()).filter(pl.col("off") != 0)
    return differences(due, lake.scan_cached(AUDIENCES, bucket)) + count(unordered) + count(unranked)


@check(
    "mart/content_by_bucket",
    "posts or counts more or fewer than in the lake",
    name="totals_match_lake",
    reads=(LAKE_ACCOUNTS, LAKE_POSTS, TAGS, CONTENT_BY_BUCKET),
    guards=True,
    by_bucket=True,
)
def parts_match_lake(bucket: int, lake: LakeResource) -> int:
    """Posts and counts, summed over all days, equal those of the live posts in the lake; tagged posts equal tags."""
    return _off_lake_and_tags(lake, lake.scan(CONTENT_BY_BUCKET, bucket).filter(pl.col("period") == DAY), bucket)


@check(
    "mart/content",
    "posts or counts more or fewer than in the lake, or in weeks than in days",
    reads=(LAKE_ACCOUNTS, LAKE_POSTS, TAGS, CONTENT),
    via=(CONTENT_BY_BUCKET,),
    guards=True,
)
def periods_match_lake(lake: LakeResource) -> int:
    """Posts and counts, summed over all days and over all weeks, equal those of the lake; tagged posts equal tags."""
    rows = lake.scan(CONTENT)
    return sum(_off_lake_and_tags(lake, rows.filter(pl.col("period") == period)) for period in (DAY, WEEK))


@check(
    "mart/posts_by_day",
    "posts or counts more or fewer than in the lake",
    name="totals_match_lake",
    reads=(LAKE_ACCOUNTS, LAKE_POSTS, POSTS_BY_DAY),
    via=(CONTENT_BY_BUCKET,),
    guards=True,
)
def days_match_lake(lake: LakeResource) -> int:
    """Posts and counts, summed over all days, equal those of the live posts in the lake."""
    return _off_lake(lake, lake.scan(POSTS_BY_DAY))


@check("mart/posts_by_day", "days repeated, or with impossible counts", reads=(POSTS_BY_DAY,))
def days_possible(lake: LakeResource) -> int:
    """Every day and network has one row, with at least one post, and no more accounts than posts."""
    days = lake.scan(POSTS_BY_DAY)
    odd = pl.struct("network", "day").is_duplicated() | ~pl.col("accounts").is_between(1, pl.col("posts"))
    return count(days.filter(odd.fill_null(value=True)))


@check(
    "mart/vertical_coverage",
    "tags more or fewer than the mart counts",
    name="totals_match_tags",
    reads=(TAGS, VERTICAL_COVERAGE),
    guards=True,
)
def coverage_matches_tags(lake: LakeResource) -> int:
    """The number of tagged items of every vertical and kind equals the number of its tags."""
    counted = lake.scan(TAGS).group_by("vertical", "item_kind").agg(tagged=pl.len().cast(pl.Int64))
    return differences(counted, lake.scan(VERTICAL_COVERAGE).filter(pl.col("tagged") != 0))


@check(
    "mart/vertical_coverage", "thresholds missing or other than those of tags", reads=(THRESHOLDS, VERTICAL_COVERAGE)
)
def thresholds_match(lake: LakeResource) -> int:
    """Every vertical and kind has one row, with its current threshold."""
    wanted = lake.scan(THRESHOLDS).select("vertical", "item_kind", "threshold", "members")
    return differences(wanted, lake.scan(VERTICAL_COVERAGE))


@check(
    "mart/testimonials",
    "testimonials missing, foreign or with another rating or text",
    name="totals_match_lake",
    reads=(LAKE_TESTIMONIALS, TESTIMONIALS),
    by_bucket=True,
    guards=True,
)
def testimonials_match_lake(bucket: int, lake: LakeResource) -> int:
    """The rows are exactly the live testimonials of the lake, with their ratings and texts."""
    rows = live(lake.scan_cached(LAKE_TESTIMONIALS, bucket))
    return differences(rows.select("testimonial_id", "rating", short("text")), lake.scan_cached(TESTIMONIALS, bucket))


@check(
    "mart/testimonials_by_brand",
    "testimonials, ratings or stars more or fewer than in the lake",
    reads=(LAKE_TESTIMONIALS, TESTIMONIALS_BY_BRAND),
    guards=True,
)
def ratings_match_lake(lake: LakeResource) -> int:
    """Testimonials and ratings, summed over all brands, equal those of the lake; so do the stars."""
    due = live(lake.scan(LAKE_TESTIMONIALS)).select(pl.len(), pl.col("rating").count().alias("rated"), pl.sum("rating"))
    stars = (pl.col("average_rating") * pl.col("rated")).sum().round().cast(pl.Int64)
    return deviation(
        due, lake.scan(TESTIMONIALS_BY_BRAND).select(pl.sum("testimonials", "rated"), stars.alias("stars"))
    )


@check(
    "mart/data_quality",
    "missing or impossible values or rejected rows more or fewer than the mart lists",
    reads=(*LAKE_TABLES.values(), QUARANTINE, DATA_QUALITY),
    by_bucket=True,
)
def findings_match_lake(bucket: int, lake: LakeResource) -> int:
    """The mart lists every missing or impossible value of live rows, and every rejected row."""
    listed, place = lake.scan_cached(DATA_QUALITY, bucket), ("source_table", "column", "reason")
    of_values = listed.filter(pl.col("source_table").is_in(list(SOURCE_TABLES)) & pl.col("column").is_not_null())
    rejected = listed.filter(pl.col("column").is_null()).select(pl.sum("rows"))
    buckets = bucket_count()
    rejects = owned_rejects(lake.scan(QUARANTINE).collect(), lambda owner: account_bucket(owner, buckets), bucket)
    return differences(
        pl.concat(_findings(lake, table, bucket) for table in SOURCE_TABLES.values()).filter(pl.col("rows") > 0),
        of_values.group_by(place).agg(pl.sum("rows")),
    ) + deviation(rejects.lazy().select(pl.sum("copies")), rejected)


def _findings(lake: LakeResource, table: SourceTable, bucket: int) -> pl.LazyFrame:
    found = findings(table)
    rows = live(lake.scan_cached(LAKE_TABLES[table.name], bucket))
    counted = rows.select(expr.sum().cast(pl.Int64).alias("/".join(at)) for at, expr in found.items()).collect()
    return pl.LazyFrame(
        [(table.name, *at, counted["/".join(at)][0]) for at in found],
        schema={**dict.fromkeys(("source_table", "column", "reason"), pl.String), "rows": pl.Int64},
        orient="row",
    )
