"""mart/*: tables for analysts."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from dagster import AssetExecutionContext, AssetsDefinition

from assets.audience import DEMOGRAPHICS
from assets.corpus import CHUNKS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.lake import LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts import comparison
from assets.marts.comparison import MODEL_COMPARISON
from assets.marts.content import CONTENT, CONTENT_BY_BUCKET, POSTS_BY_DAY, VERTICAL_COVERAGE
from assets.marts.creators import AUDIENCES, CREATOR_DAYS, CREATORS
from assets.marts.estimates import SAMPLE_TOKENS, TOKENS_PER_MINUTE, as_row, corpus_workloads, offers
from assets.marts.operations import DATA_QUALITY, ESTIMATES, SPEND
from assets.marts.testimonials import TESTIMONIALS, TESTIMONIALS_BY_BRAND
from assets.quarantine import QUARANTINE
from assets.summaries.accounts import SUMMARIES
from assets.summaries.model_table import MODEL_SUMMARIES
from assets.transforms.estimates import options
from assets.transforms.marts import content, creators, quality, testimonials
from assets.transforms.marts.spend import spend_rows
from assets.transforms.marts.values import as_of, live_posts
from assets.transforms.source.schema import ACCOUNTS, POSTS, account_bucket
from assets.transforms.source.schema import TESTIMONIALS as TESTIMONIALS_SOURCE
from assets.verticals.roster import ROSTER
from assets.verticals.tags import TAGS
from assets.verticals.thresholds import THRESHOLDS
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource, TableSpec, fingerprint
from resources.llm.resource import LlmResource
from resources.settings import bucket_count
from resources.spend.ledger import HISTORY
from resources.spend.resource import SpendResource

MARTS = (
    *(CREATORS, CREATOR_DAYS, AUDIENCES, CONTENT, POSTS_BY_DAY, VERTICAL_COVERAGE, TESTIMONIALS),
    *(TESTIMONIALS_BY_BRAND, DATA_QUALITY, SPEND, ESTIMATES, MODEL_COMPARISON),
)
"""The tables that analysts see, in the order of their page. mart/content_by_bucket is a step towards two of them."""
_RULES = "2"
"""Change it to have every mart computed again."""
Rows = Callable[[LakeResource, int, pl.DataFrame], pl.DataFrame]
"""Returns the rows of a bucket (any number for a table without buckets), given its current rows."""


def _stage(spec: TableSpec, *inputs: TableSpec, version: str = "", awaits: tuple[TableSpec, ...] = ()) -> Stage:
    return Stage(spec.name, inputs, f"{_RULES}/{version}", partitioned=spec.partitioned, awaits=awaits)


TOTALLING = _stage(POSTS_BY_DAY, CONTENT_BY_BUCKET)
LISTING_TESTIMONIALS = _stage(TESTIMONIALS, LAKE_TESTIMONIALS, LAKE_ACCOUNTS)


def _bucket(lake: LakeResource, bucket: int) -> tuple[pl.LazyFrame, pl.LazyFrame]:
    return lake.scan_cached(LAKE_ACCOUNTS, bucket), lake.scan_cached(LAKE_POSTS, bucket)


def _creator_days(lake: LakeResource, bucket: int, current: pl.DataFrame) -> pl.DataFrame:
    accounts, posts = _bucket(lake, bucket)
    return creators.creator_days(accounts, posts, current, as_of(accounts, posts))


def _creators(lake: LakeResource, bucket: int, names: Sequence[str]) -> pl.DataFrame:
    accounts, posts = _bucket(lake, bucket)
    end = as_of(accounts, posts)
    if end is None:
        return CREATORS.empty()
    chunks = lake.scan_cached(CHUNKS, bucket).select("account_id", "post_id", "text_language")
    given = creators.Inputs(
        accounts=accounts,
        posts=posts,
        as_of=end,
        days=lake.scan_cached(CREATOR_DAYS, bucket).select("account_id", "day", "followers").collect(),
        tags=lake.scan_cached(TAGS, bucket).collect(),
        languages=chunks.collect(),
        audiences=lake.scan_cached(AUDIENCES, bucket).collect(),
        summaries=lake.scan_cached(SUMMARIES, bucket).collect(),
        brands=creators.mentions(live_posts(posts, accounts), names),
    )
    return creators.creators(given)


def brands(lake: LakeResource) -> list[str]:
    """Return the names of all brands with a live testimonial, sorted."""
    live = lake.scan(LAKE_TESTIMONIALS).filter(pl.col("deleted_at").is_null())
    return live.select(pl.col("brand").drop_nulls().unique().sort()).collect()["brand"].to_list()


def _audiences(lake: LakeResource, bucket: int, _current: pl.DataFrame) -> pl.DataFrame:
    return creators.audiences(lake.scan_cached(DEMOGRAPHICS, bucket).collect())


def _content_by_bucket(lake: LakeResource, bucket: int, _current: pl.DataFrame) -> pl.DataFrame:
    accounts, posts = _bucket(lake, bucket)
    rows = content.by_bucket(posts, accounts, lake.scan_cached(TAGS, bucket))
    return rows.with_columns(account_bucket=pl.lit(bucket))


def _vertical_coverage(lake: LakeResource, _bucket: int, _current: pl.DataFrame) -> pl.DataFrame:
    titles = {vertical.name: vertical.title for vertical in load_verticals()}
    measured = [name for name in VERTICAL_COVERAGE.schema.names if "precision" in name or "recall" in name]
    decided = lake.scan(ROSTER).select("item_kind", "vertical", "status", "reason", *measured)
    thresholds = lake.scan(THRESHOLDS).join(decided, on=["item_kind", "vertical"], how="left").collect()
    return content.vertical_coverage(lake.scan(TAGS), thresholds, titles, lake.scan(CONTENT_BY_BUCKET))


def _testimonials(lake: LakeResource, bucket: int, _current: pl.DataFrame) -> pl.DataFrame:
    return testimonials.testimonials(
        lake.scan_cached(LAKE_TESTIMONIALS, bucket), lake.scan_cached(LAKE_ACCOUNTS, bucket)
    )


def _data_quality(lake: LakeResource, bucket: int, _current: pl.DataFrame) -> pl.DataFrame:
    accounts, posts = _bucket(lake, bucket)
    tables = {ACCOUNTS: accounts, POSTS: posts, TESTIMONIALS_SOURCE: lake.scan_cached(LAKE_TESTIMONIALS, bucket)}
    rejects, count = lake.scan(QUARANTINE).collect(), bucket_count()
    return quality.data_quality(tables, rejects, lambda owner: account_bucket(owner, count), bucket)


def _settings(spec: TableSpec, inputs: Sequence[TableSpec], description: str) -> dict[str, Any]:
    """Return how the asset of a mart is declared."""
    return {
        "table": spec,
        "code_version": _RULES,
        "deps": [of.name.split("/") for of in inputs],
        "description": description,
        "owners": ["team:analytics"],
        "kinds": {"delta", "polars"},
    }


def _mart(spec: TableSpec, stage: Stage, rows: Rows, description: str) -> AssetsDefinition:
    @asset(**_settings(spec, stage.inputs, description))
    def mart(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
        def computed(bucket: int | None, current: pl.DataFrame, _metrics: RunMetrics) -> pl.DataFrame:
            return rows(lake, bucket or 0, current)

        return refresh_table(context, lake, ledger, stage, spec, computed)

    return mart


_OF_VERTICALS = (TAGS, THRESHOLDS, ROSTER, CONTENT_BY_BUCKET)
_OF_CREATORS = (LAKE_ACCOUNTS, LAKE_POSTS, CREATOR_DAYS, TAGS, CHUNKS, AUDIENCES, SUMMARIES)


@asset(
    **_settings(
        CREATORS,
        (*_OF_CREATORS, LAKE_TESTIMONIALS),
        "Creators for analysts. One row per live account: followers, posts, engagement, growth, languages, hashtags, "
        "brands, verticals, audience, summary.",
    )
)
def creator_table(context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource) -> RunMetrics:
    """Compute the creators of a stale bucket. Every bucket is stale when the list of brands changes."""
    names = brands(lake)
    stage = _stage(CREATORS, *_OF_CREATORS, version=fingerprint(names), awaits=(THRESHOLDS,))
    return refresh_table(context, lake, ledger, stage, CREATORS, lambda bucket, *_: _creators(lake, bucket or 0, names))


@asset(
    **_settings(
        SPEND,
        (),
        "What language models cost. One row per day (UTC), asset, model, lane and outcome, from the ledger's ended "
        "leases; `cippus spend show` also shows what is running.",
    )
)
def spend_table(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, spend: SpendResource
) -> RunMetrics:
    """Add up the summaries of all ended leases, if one of them changed."""
    found = sorted(f"{item.key} {item.etag}" for item in spend.s3.list_objects(f"{HISTORY}/"))
    stage = _stage(SPEND, version=fingerprint(found))
    return refresh_table(context, lake, ledger, stage, SPEND, lambda *_: spend_rows(spend.ledger.history()))


_OF_ESTIMATES = (CHUNKS, MODEL_SUMMARIES, CREATORS)


@asset(
    **_settings(
        ESTIMATES,
        _OF_ESTIMATES,
        "What summaries by a language model would cost. One row per workload (what is sent), provider, model and lane: "
        "USD with a 90 % interval, hours, whether the context fits. Nothing is sent to estimate it.",
    )
)
def estimate_table(
    context: AssetExecutionContext, lake: LakeResource, ledger: LedgerResource, spend: SpendResource, llm: LlmResource
) -> RunMetrics:
    """Estimate again when texts, reported usage or prices change. Reads a number of each chunk, and sampled texts."""
    offered, budget, rate = offers(spend.price_book()), llm.summary_tokens, llm.tokens_per_minute or TOKENS_PER_MINUTE
    stage = _stage(ESTIMATES, *_OF_ESTIMATES, version=fingerprint(map(str, (*offered, budget, rate))))

    def estimated(*_given: object) -> pl.DataFrame:
        found, _ratio, _asked, how = corpus_workloads(lake, budget, SAMPLE_TOKENS)
        latest = lake.scan(CREATORS).select(pl.col("as_of").max()).collect().item()
        rows = [as_row(option) for workload in found for option in options(workload, offered, rate)]
        shared = {"tokens_known_by": how, "as_of": latest}
        return pl.DataFrame([row | shared for row in rows], schema=ESTIMATES.polars_schema)

    return refresh_table(context, lake, ledger, stage, ESTIMATES, estimated)


ASSETS = [
    _mart(
        CREATOR_DAYS,
        _stage(CREATOR_DAYS, LAKE_ACCOUNTS, LAKE_POSTS),
        _creator_days,
        "How creators grew. One row per live account and day (UTC) on which the data of its bucket changed: followers, "
        "posts and engagement at that time.",
    ),
    _mart(
        AUDIENCES,
        _stage(AUDIENCES, DEMOGRAPHICS),
        _audiences,
        "Who follows the creators. One row per live account, dimension (age, gender, country, language, interest) and "
        "value, with its share in the newest report about the dimension.",
    ),
    creator_table,
    _mart(
        CONTENT_BY_BUCKET,
        _stage(CONTENT_BY_BUCKET, LAKE_ACCOUNTS, LAKE_POSTS, TAGS, awaits=(THRESHOLDS,)),
        _content_by_bucket,
        "Internal: the sums that mart/content and mart/posts_by_day add up. One row per period, start, network, "
        "country, vertical and account bucket.",
    ),
    _mart(
        CONTENT,
        _stage(CONTENT, CONTENT_BY_BUCKET),
        lambda lake, *_: content.content(lake.scan(CONTENT_BY_BUCKET)),
        "What posts achieved. One row per period (day or week), its first day (UTC), network, country and vertical: "
        "live posts, creators, engagement.",
    ),
    _mart(
        POSTS_BY_DAY,
        TOTALLING,
        lambda lake, *_: content.posts_by_day(lake.scan(CONTENT_BY_BUCKET)),
        "Activity over time. One row per day (UTC) and network: live posts, posting accounts, engagement.",
    ),
    _mart(
        VERTICAL_COVERAGE,
        _stage(
            VERTICAL_COVERAGE, TAGS, THRESHOLDS, ROSTER, CONTENT_BY_BUCKET, version=catalogue_hash(load_verticals())
        ),
        _vertical_coverage,
        "How far tags reach and how good they are. One row per vertical and item kind (post or account): whether it "
        "ships and why, tagged items, threshold, labelled members and F1.",
    ),
    _mart(
        TESTIMONIALS,
        LISTING_TESTIMONIALS,
        _testimonials,
        "What brands said about creators. One row per live testimonial, with the handle of its account.",
    ),
    _mart(
        TESTIMONIALS_BY_BRAND,
        _stage(TESTIMONIALS_BY_BRAND, LAKE_TESTIMONIALS),
        lambda lake, *_: testimonials.testimonials_by_brand(lake.scan(LAKE_TESTIMONIALS)),
        "How brands rate. One row per brand: testimonials, mean rating, and the change of the last 90 days.",
    ),
    _mart(
        DATA_QUALITY,
        _stage(DATA_QUALITY, LAKE_ACCOUNTS, LAKE_POSTS, LAKE_TESTIMONIALS, QUARANTINE),
        _data_quality,
        "What not to trust. One row per day (UTC), table, column and reason (and account bucket): live rows whose "
        "value is missing or impossible, and rejected rows.",
    ),
    spend_table,
    estimate_table,
    *comparison.ASSETS,
]
