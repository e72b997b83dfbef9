"""Faults of the marts and of their files: check → name of the fault → the fault."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from assets.lake import LAKE_POSTS, LAKE_TESTIMONIALS
from assets.marts.comparison import MODEL_COMPARISON
from assets.marts.content import CONTENT, CONTENT_BY_BUCKET, POSTS_BY_DAY, VERTICAL_COVERAGE
from assets.marts.creators import AUDIENCES, CREATOR_DAYS, CREATORS
from assets.marts.operations import DATA_QUALITY, ESTIMATES, SPEND
from assets.marts.testimonials import TESTIMONIALS, TESTIMONIALS_BY_BRAND
from tests.worlds.faults import Fault, changed, lost, object_dropped, object_lost, object_rewritten
from tests.worlds.lineage import World
from tests.worlds.more_faults import late


def object_made(key: str, content: dict[str, Any]) -> Fault:
    """A record stands there that nothing else knows of."""

    @contextmanager
    def fault(world: World) -> Iterator[None]:
        world.s3.put_json(key, content)
        yield
        world.s3.delete([key])

    return fault


@contextmanager
def spent_below_zero(world: World) -> Iterator[None]:
    """The mart of spending has a row."""
    names = [name for name in SPEND.schema.names if SPEND.polars_schema[name] == pl.String]
    row = SPEND.empty().select(names).clear(1).with_columns(pl.lit("x").alias(name) for name in names)
    world.lake.append(SPEND, row.with_columns(usd=pl.lit(-1.0), day=pl.date(2026, 7, 1)))
    yield
    world.lake.delete_where(SPEND, "usd < 0")


LOST_SPEND = {"lane": "live", "outcome": "billed", "calls": 1, "input_tokens": 5, "output_tokens": 2, "usd": "0.1"}
UNPAID_ANSWER = {
    "id": "abc",
    "text": "hello",
    "finish_reason": "stop",
    "model": "m",
    "usd": "0.1",
    "value": None,
    "usage": {"input_tokens": 5, "output_tokens": 2, "cached_tokens": 0},
}
_ENGAGED, _GROWN = "engagement_by_followers_percent", "followers_growth_30d_percent"
MART_FAULTS: dict[str, dict[str, Fault]] = {
    "mart/creators:rates_match_figures": {
        "rate_wrong": changed(CREATORS, _ENGAGED, f"{_ENGAGED} + 1"),
        "rate_null": changed(CREATORS, _ENGAGED, "NULL"),
        "growth_invented": changed(CREATORS, _GROWN, "5.0"),
    },
    "mart/creators:last_day_matches_creators": {
        "followers_wrong": changed(CREATORS, "followers", "followers + 1"),
        "likes_wrong": changed(CREATORS, "likes", "likes + 1"),
        "engagement_wrong": changed(CREATORS, "engagement", "engagement + 1"),
    },
    "mart/audiences:shares_match_reports": {
        "share_lost": lost(AUDIENCES),
        "share_wrong": changed(AUDIENCES, "share_percent", "share_percent + 1"),
        "rank_wrong": changed(AUDIENCES, "rank", "rank + 1"),
    },
    "mart/content_by_bucket:totals_match_lake": {
        "group_lost": lost(CONTENT_BY_BUCKET),
        "likes_wrong": changed(CONTENT_BY_BUCKET, "likes", "likes + 1"),
    },
    "mart/content:periods_match_lake": {
        "group_lost": lost(CONTENT),
        "views_wrong": changed(CONTENT, "views", "views + 1"),
        "period_wrong": changed(CONTENT, "period", "'day'"),
    },
    "mart/testimonials_by_brand:ratings_match_lake": {
        "brand_lost": lost(TESTIMONIALS_BY_BRAND),
        "number_wrong": changed(TESTIMONIALS_BY_BRAND, "rated", "rated + 1"),
        "rating_wrong": changed(TESTIMONIALS_BY_BRAND, "average_rating", "average_rating - 1"),
    },
    "mart/data_quality:findings_match_lake": {
        "finding_lost": lost(DATA_QUALITY),
        "rows_wrong": changed(DATA_QUALITY, "rows", "rows + 1"),
        "reason_wrong": changed(DATA_QUALITY, "reason", "'other'"),
    },
    "mart/spend:totals_match_ledger": {"spend_lost": object_made("spend/history/lost.json", {"rows": [LOST_SPEND]})},
    "mart/spend:ledger_matches_answers": {
        "answer_unpaid": object_made("llm/answers/summary/ab/abc.json", UNPAID_ANSWER)
    },
    "mart/estimates:costs_match_tokens": {
        "cost_wrong": changed(ESTIMATES, "usd", "usd * 1.01"),
        "price_wrong": changed(ESTIMATES, "usd_in_per_million", "usd_in_per_million + 1"),
        "interval_wrong": changed(ESTIMATES, "usd_high", "usd / 2"),
    },
    "mart/model_comparison:figures_match_sources": {
        "row_lost": lost(MODEL_COMPARISON),
        "quality_wrong": changed(MODEL_COMPARISON, "quality", "0.5", "method = 'zero_shot'"),
        "cost_wrong": changed(MODEL_COMPARISON, "usd_per_million_posts", "usd_per_million_posts + 1", "lane = 'batch'"),
        "reason_lost": changed(MODEL_COMPARISON, "speed_note", "''", "posts_per_second IS NULL"),
    },
    **{
        f"{spec.name}:values_possible": {f"{column}_impossible": changed(spec, column, value)}
        for spec, column, value in (
            (CREATORS, "likes", "-1"),
            (CREATOR_DAYS, "followers", "-1"),
            (AUDIENCES, "share_percent", "-0.5"),
            (CONTENT, "average_views", "CAST('NaN' AS DOUBLE)"),
            (POSTS_BY_DAY, "video_percent", "CAST('Infinity' AS DOUBLE)"),
            (VERTICAL_COVERAGE, "tagged", "-1"),
            (TESTIMONIALS, "rating", "CAST(-1 AS SMALLINT)"),
            (TESTIMONIALS_BY_BRAND, "average_rating", "-1.0"),
            (DATA_QUALITY, "rows", "-1"),
            (ESTIMATES, "hours", "CAST('NaN' AS DOUBLE)"),
            (MODEL_COMPARISON, "usd_high", "-1.0"),
        )
    },
    "mart/creators:buckets_fresh": {"bucket_stuck": late(LAKE_POSTS)},
    "mart/testimonials:buckets_fresh": {"bucket_stuck": late(LAKE_TESTIMONIALS)},
    "mart/spend:values_possible": {"usd_impossible": spent_below_zero},
    "quicksight/exports:manifests_name_files": {
        "manifest_lost": object_lost("quicksight/creators/manifest.json"),
        "manifest_empty": object_rewritten("quicksight/testimonials/manifest.json", lambda _: b"{}"),
        "file_foreign": object_dropped("quicksight/creators/data/foreign.csv"),
    },
}
FORMULA = object_rewritten("quicksight/creators/data/", lambda body: body.replace(b'\r\n"', b'\r\n"=', 1))
LINE_BREAK = object_rewritten(
    "quicksight/testimonials/data/", lambda body: body.replace(b"I liked", "I\u2028liked".encode(), 1)
)
