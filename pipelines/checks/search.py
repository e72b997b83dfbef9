"""Checks of search/*."""

import polars as pl
from dagster import AssetCheckResult, AssetCheckSeverity

from assets.corpus import CHUNKS
from assets.labels.gold import GOLD
from assets.search.retrieval_quality import FIGURES, QUALITY
from assets.transforms.search.judgements import judged_accounts
from assets.transforms.search.ranking import Retriever
from assets.transforms.search.retrieval_metrics import better_retriever
from pipelines.checks.declaration import check, count, differences
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.table import LakeResource

_STANDARD_ERRORS = 3


@check(
    "search/retrieval_quality",
    "questions not measured, foreign, repeated or with impossible figures",
    reads=(CHUNKS, GOLD, QUALITY),
    version=lambda: catalogue_hash(load_verticals()),
    daily=True,
)
def every_question_measured(lake: LakeResource) -> int:
    """Every description of a vertical with enough gold labels has one row, with figures from 0 to 1."""
    posts = lake.scan(CHUNKS).select("post_id", "account_id").unique().collect()
    grades = judged_accounts(lake.scan(GOLD).collect(), posts)
    expected = [
        (vertical.name, text, len(grades[vertical.name]), sum(grades[vertical.name].values()))
        for vertical in load_verticals()
        if vertical.name in grades
        for text in vertical.descriptions
    ]
    schema = {name: QUALITY.polars_schema[name] for name in ("vertical", "query", "judged", "relevant")}
    is_possible = pl.all_horizontal(pl.col(name).is_between(0, 1).fill_null(value=False) for name in FIGURES)
    impossible = count(lake.scan(QUALITY).filter(~is_possible))
    return impossible + differences(pl.LazyFrame(expected, schema=schema, orient="row"), lake.scan(QUALITY))


@check("search/retrieval_quality", reads=(QUALITY,), daily=True)
def hybrid_is_not_worse(lake: LakeResource) -> AssetCheckResult | None:
    """Hybrid search is not worse than dense or BM25 alone. Warns if it is, by more than 0.01 nDCG@10.

    On few questions chance decides, so the difference must also be three times its standard error.
    """
    rows = lake.scan(QUALITY).collect()
    if rows.is_empty():
        return None  # no vertical has enough gold labels to measure on
    ndcg_of = {retriever.value: float(rows[f"{retriever}_ndcg_at_10"].mean()) for retriever in Retriever}  # type: ignore[arg-type]
    best = better_retriever(ndcg_of, Retriever.HYBRID.value)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in ndcg_of.items())
    is_clear = best != Retriever.HYBRID and _is_clear(rows[f"{best}_ndcg_at_10"] - rows["hybrid_ndcg_at_10"])
    return AssetCheckResult(
        passed=not is_clear,
        severity=AssetCheckSeverity.WARN,
        description=f"nDCG@10: {figures}; the better default is {best}.",
        metadata=dict(ndcg_of),
    )


def _is_clear(differences: pl.Series) -> bool:
    """Return whether the mean of differences is above zero by _STANDARD_ERRORS or more."""
    mean, deviation = differences.mean(), differences.std() or 0.0  # one question has no deviation
    return bool(mean > _STANDARD_ERRORS * deviation / len(differences) ** 0.5)
