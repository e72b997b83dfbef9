"""mart/model_comparison: methods and models side by side: quality, dollars per million posts, posts per second."""

import math

import polars as pl
from dagster import AssetExecutionContext, DagsterInstance

from assets.corpus import CHUNKS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.framework.pictures import pictures
from assets.framework.reporting import last_timed
from assets.marts.columns import LONG, REAL, TEXT, as_of, metric
from assets.marts.creators import CREATORS
from assets.marts.operations import ESTIMATES
from assets.summaries.evaluations import kept
from assets.summaries.model_table import MODEL_SUMMARIES
from assets.transforms.marts import comparison
from assets.transforms.marts.comparison import Host, Pace
from assets.transforms.plots import cost_plot
from assets.transforms.verticals.taggers.cascade import CASCADE
from assets.verticals.model_tags import MODEL_TAGS
from assets.verticals.quality import METHODS
from assets.verticals.taggers import current_methods
from resources.catalogues.prices import MEASURED
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource
from resources.spend.resource import SpendResource

_RULE = "2"
_LEAST_TIMED = 500
"""Posts of a run whose time says something; below, the fixed cost of a run decides."""
_OF_QUALITY = ("vertical/methods.macro_f1", "summary/model_summaries.claims_dropped")
_OF_COST = ("mart/estimates.usd", "summary/model_summaries.usd")
_NO_MEASURE = "never measured; quality_note says why"
MODEL_COMPARISON = TableSpec.of(
    "mart/model_comparison",
    {
        "task": metric(
            TEXT,
            "What is done: tag posts, tag accounts, summarise accounts, or summarise reviews, which have references",
        ),
        "method": metric(
            TEXT, "How: a method of tagging; extractive (sentences of posts) or a language model for summaries"
        ),
        "model": metric(TEXT, "Model: the encoder of a local method, or the language model"),
        "provider": metric(
            TEXT, "Where it runs: this machine, a provider, or “as answered” for answers that are stored"
        ),
        "lane": metric(TEXT, "How it is asked: local, live, batch, self-hosted, or “as answered”"),
        "size": metric(TEXT, "Parameters of the model", null="not published, or no language model"),
        "published_score": metric(
            REAL, "Published score of the model (MMLU)", unit="percent", null="no score, or no language model"
        ),
        "quality_measure": metric(TEXT, "What quality is"),
        "quality": metric(REAL, "Quality that was measured here", unit="share", null=_NO_MEASURE, sources=_OF_QUALITY),
        **{
            f"quality_{end}": metric(
                REAL,
                f"The {end} end of the 95 % interval of quality",
                unit="share",
                null=_NO_MEASURE,
                sources=_OF_QUALITY,
            )
            for end in ("low", "high")
        },
        "measured_items": metric(
            LONG,
            "Number of items that quality was measured on: labelled items, claims, or references",
            null=_NO_MEASURE,
        ),
        "measured_accounts": metric(
            LONG, "Number of accounts of these items, or of what was reviewed", null=_NO_MEASURE
        ),
        "quality_note": metric(TEXT, "How quality was measured, or why not"),
        "posts": metric(LONG, "Number of posts that the cost is divided by", unit="posts"),
        "usd_per_million_posts": metric(
            REAL,
            "Cost of the work for a million posts, without the machine",
            formula="1,000,000 × USD / posts",
            unit="USD",
            null="the price is not known; cost_note says why",
            sources=_OF_COST,
        ),
        **{
            f"usd_{end}": metric(
                REAL,
                f"The {end} end of the 90 % interval of usd_per_million_posts",
                unit="USD",
                null="the price is not known",
                sources=_OF_COST,
            )
            for end in ("low", "high")
        },
        "machine_usd_per_million_posts": metric(
            REAL,
            "Cost of this machine for a million posts",
            formula="hours_per_million_posts × the price of compute in the price catalogue",
            unit="USD",
            null="it runs elsewhere, or was never timed",
        ),
        "cost_note": metric(TEXT, "How the cost is known"),
        "posts_per_second": metric(
            REAL, "Posts per second in the last run that was long enough", null="never timed; speed_note says why"
        ),
        "hours_per_million_posts": metric(
            REAL,
            "Hours for a million posts",
            formula="1,000,000 / posts_per_second / 3,600",
            unit="hours",
            null="never timed",
        ),
        "speed_note": metric(TEXT, "What was timed, or why nothing was"),
        "as_of": as_of("Latest change of any account or post in the corpus", null="no creator in mart/creators"),
    },
    ("task", "method", "model", "provider", "lane"),
    partitioned=False,
)
_INPUTS = (METHODS, MODEL_TAGS, MODEL_SUMMARIES, ESTIMATES, CHUNKS, CREATORS)


@asset(
    table=MODEL_COMPARISON,
    code_version=_RULE,
    deps=[*(spec.name.split("/") for spec in _INPUTS), ["vertical", "scores"], ["summary", "account_summaries"]],
    description="What is worth its money. One row per task, method, model, provider and lane: quality with its "
    "interval and on how many items, USD per million posts, posts per second. A figure that was never measured is "
    "null, with the reason beside it.",
    owners=["team:analytics"],
    kinds={"delta", "polars"},
)
def model_comparison(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    embedder: EmbedderResource,
    spend: SpendResource,
) -> RunMetrics:
    """Compare again after a figure changed. Speeds are those of the stages' own runs, from Dagster's events."""
    usd_per_hour = float(spend.price_book().services()["compute"].usd)
    name, is_local = embedder.model_name, not embedder.endpoint_url
    evaluations = kept(spend.store)
    version = f"{_RULE}/{name}/{is_local}/{usd_per_hour}/{fingerprint(map(repr, evaluations))}"
    stage = Stage(MODEL_COMPARISON.name, _INPUTS, version, partitioned=False)

    def compared(_bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        chunks = lake.scan(CHUNKS).select(pl.len().alias("chunks"), (pl.col("chunk_no") == 0).sum().alias("posts"))
        count, posts = chunks.collect(engine="streaming").row(0)
        if not posts:
            return MODEL_COMPARISON.empty()
        accounts = lake.scan(CREATORS).select(pl.len(), pl.col("as_of").max()).collect().row(0)
        host = Host(name, usd_per_hour, posts, is_local)
        pace = paces(context.instance, posts / count, posts / max(accounts[0], 1))
        estimates = lake.scan(ESTIMATES).collect()
        asked = comparison.answered(_answers(lake), pace["answers"])
        methods = lake.scan(METHODS).collect()
        rows = [
            *comparison.tagging(methods, list(current_methods()), host, pace["tags"]),
            *comparison.cascade(methods, CASCADE, _asked_posts(lake), posts),
            comparison.extractive(host, pace["summaries"]),
            *comparison.evaluated(evaluations, host, pace["summaries"]),
            *asked,
            *comparison.offered(estimates, posts, asked, MEASURED),
        ]
        made = pl.DataFrame([{**row, "as_of": accounts[1]} for row in rows], schema=MODEL_COMPARISON.polars_schema)
        by_task = made.partition_by("task", maintain_order=True)
        tally.notes |= pictures(cost_plot(f"Quality against cost: {it['task'][0]}", it.to_dicts()) for it in by_task)
        return made

    return refresh_table(context, lake, ledger, stage, MODEL_COMPARISON, compared)


def paces(instance: DagsterInstance, posts_a_chunk: float, posts_an_account: float) -> dict[str, Pace]:
    """Return how fast tags, extractive summaries and answers are made. The first two need the vectors before."""

    def pace(key: tuple[str, str], counted: str, noun: str, posts: float) -> Pace:
        least = math.ceil(_LEAST_TIMED / posts)
        found = last_timed(instance, key, counted, least)
        if found is None:
            return Pace(None, f"No run of {'/'.join(key)} with {least:,} {noun} is on record.")
        count, seconds = found
        return Pace(count * posts / seconds, f"{'/'.join(key)}: {count:,} {noun} in {seconds:,.1f} s.")

    vectors = pace(("embedding", "cippus_text"), "embedded", "texts", posts_a_chunk)
    scores = pace(("vertical", "scores"), "posts_scored", "posts", 1.0)
    summaries = pace(("summary", "account_summaries"), "accounts_summarised", "accounts", posts_an_account)
    return {
        "tags": comparison.in_turn([vectors, scores]),
        "summaries": comparison.in_turn([vectors, summaries]),
        "answers": pace(("summary", "model_summaries"), "accounts_answered", "accounts", posts_an_account),
    }


def _asked_posts(lake: LakeResource) -> pl.DataFrame:
    """Return (model, answers, usd) of the posts that a language model was asked to tag."""
    answered = lake.scan(MODEL_TAGS).drop_nulls("model")
    return answered.group_by("model").agg(answers=pl.len(), usd=pl.col("usd").cast(pl.Float64).sum()).collect()


def _answers(lake: LakeResource) -> pl.DataFrame:
    """Return (account_id, model, claims, claims_of_answer, usd, posts) of accounts that a language model answered."""
    posts = lake.scan(CHUNKS).filter(pl.col("chunk_no") == 0).group_by("account_id").agg(posts=pl.len())
    kept = pl.col("claims").list.len().fill_null(0)
    return (
        lake.scan(MODEL_SUMMARIES)
        .filter(pl.col("model").is_not_null())
        .select(
            "account_id",
            "model",
            claims=kept,
            claims_of_answer=kept + pl.col("claims_dropped"),
            usd=pl.col("usd").cast(pl.Float64).fill_null(0.0),
        )
        .join(posts, on="account_id")
        .collect()
    )


ASSETS = [model_comparison]
