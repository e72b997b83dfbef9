"""Checks of search/*."""

import polars as pl
from dagster import AssetCheckResult, AssetCheckSeverity

from assets.corpus import CHUNKS
from assets.framework.intake import files_under
from assets.labels.gold import GOLD
from assets.search.judgements import JUDGEMENTS, LANDING, RULE, is_judgement_file
from assets.search.retrieval_quality import FIGURES, QUALITY, judged_queries
from assets.transforms.search.ranking import Retriever
from assets.transforms.search.retrieval_metrics import better_retriever
from pipelines.checks.declaration import check, count, differences
from pipelines.checks.drops import not_taken_once
from resources.catalogues import catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource

_CONFIDENCE = 0.999


@check("search/judgements", "files not taken in, or rows repeated or of no file", daily=True)
def judgements_taken_once(lake: LakeResource, ledger: LedgerResource, s3: S3Resource) -> int:
    """The current version of every file of judgements is read exactly once, and no other file has rows."""
    return not_taken_once(lake, ledger, JUDGEMENTS, files_under(s3, LANDING, is_judgement_file), RULE)


@check(
    "search/retrieval_quality",
    "questions not measured, foreign, repeated or with impossible figures",
    reads=(CHUNKS, GOLD, JUDGEMENTS, QUALITY),
    version=lambda: catalogue_hash(load_verticals()),
    daily=True,
)
def every_question_measured(lake: LakeResource) -> int:
    """Every description of a vertical with enough gold labels, and every judged query, has one row of figures."""
    posts = lake.scan(CHUNKS).select("post_id", "account_id").unique().collect()
    asked = judged_queries(lake.scan(GOLD).collect(), lake.scan(JUDGEMENTS).collect(), posts, load_verticals())
    expected = [(vertical, query, len(grades), sum(grades.values())) for vertical, query, grades in asked]
    schema = {name: QUALITY.polars_schema[name] for name in ("vertical", "query", "judged", "relevant")}
    is_possible = pl.all_horizontal(pl.col(name).is_between(0, 1).fill_null(value=False) for name in FIGURES)
    impossible = count(lake.scan(QUALITY).filter(~is_possible))
    return impossible + differences(pl.LazyFrame(expected, schema=schema, orient="row"), lake.scan(QUALITY))


@check("search/retrieval_quality", reads=(QUALITY,), daily=True)
def hybrid_is_not_worse(lake: LakeResource) -> AssetCheckResult | None:
    """Hybrid search is not worse than dense or BM25 alone. Warns if it is, by more than 0.01 nDCG@10.

    On few questions chance decides, so a paired t-test must be sure of it to 99.9 %. The descriptions of a vertical are
    judged by the same labels, so they are one question there.
    """
    rows = lake.scan(QUALITY).collect()
    if rows.is_empty():
        return None  # no vertical has enough gold labels to measure on
    ndcg_of = {retriever.value: float(rows[f"{retriever}_ndcg_at_10"].mean()) for retriever in Retriever}  # type: ignore[arg-type]
    best = better_retriever(ndcg_of, Retriever.HYBRID.value)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in ndcg_of.items())
    is_clear = best != Retriever.HYBRID and _is_clear(rows, pl.col(f"{best}_ndcg_at_10") - pl.col("hybrid_ndcg_at_10"))
    return AssetCheckResult(
        passed=not is_clear,
        severity=AssetCheckSeverity.WARN,
        description=f"nDCG@10: {figures}; the better default is {best}.",
        metadata=dict(ndcg_of),
    )


def _is_clear(rows: pl.DataFrame, difference: pl.Expr) -> bool:
    """Return whether the mean difference of independent questions is above zero beyond chance."""
    from scipy.stats import t

    independent = pl.when(pl.col("vertical") == "").then("query").otherwise("vertical")
    found = rows.group_by(independent.alias("of")).agg(difference.mean().alias("mean"))["mean"]
    if len(found) < 2:
        return False
    error = float(found.std()) / len(found) ** 0.5  # type: ignore[arg-type]
    return bool(float(found.mean()) > t.ppf(_CONFIDENCE, len(found) - 1) * error)  # type: ignore[arg-type]
