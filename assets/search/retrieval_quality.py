"""search/retrieval_quality: the quality of search on gold labels and on readers' judgements, and its latency."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
from dagster import AssetExecutionContext, MetadataValue

from assets.corpus import CHUNKS, TERMS
from assets.embeddings import VECTORS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, refresh_table
from assets.labels.gold import GOLD
from assets.search.judgements import JUDGEMENTS
from assets.search.query import Question, Searcher, find
from assets.transforms.markdown import markdown_table
from assets.transforms.search.judgements import judged_accounts
from assets.transforms.search.ranking import RANKING, Retriever, rank_accounts
from assets.transforms.search.retrieval_metrics import RECALL_AT, Quality, better_retriever, percentiles
from assets.transforms.search.votes import graded_accounts
from assets.transforms.text.cleaning import clean
from resources.catalogues import Vertical, catalogue_hash, load_verticals
from resources.delta.state import LedgerResource
from resources.delta.table import Column, LakeResource, TableSpec, fingerprint
from resources.llm.embedder import EmbedderResource
from resources.vectors.bm25 import SPARSE_ENCODING
from resources.vectors.index import SearchIndex
from resources.vectors.resource import QdrantResource
from resources.vectors.values import Candidate, SearchFilter

LIMIT_TIMED = 10  # accounts of a timed search: the default of `cippus search`
QUESTIONS_TIMED = 20  # about so many complete searches are timed; each reads the counts of its terms
FIGURES = [f"{retriever}_{figure}" for retriever in Retriever for figure in ("ndcg_at_10", "recall_at_100")]


def _meaning(figure: str) -> str:
    retriever, _, name = figure.partition("_")
    return f"{'nDCG@10' if name == 'ndcg_at_10' else 'Recall@100'} of {retriever} search."


_OF = (*GOLD.sources("vertical"), *JUDGEMENTS.sources("query"))
_JUDGED = (*GOLD.sources("item_id", "is_member"), *JUDGEMENTS.sources("item_id", "grade"))
QUALITY = TableSpec.of(
    "search/retrieval_quality",
    {
        "vertical": Column(pa.string(), "Vertical that is searched for; empty for a query of readers.", _OF),
        "query": Column(pa.string(), "Description of the vertical, or a query that readers judged.", _OF),
        "judged": Column(pa.int64(), "Number of judged accounts.", _JUDGED),
        "relevant": Column(pa.int64(), "Number of accounts that belong to the vertical or answer it.", _JUDGED),
        **{name: Column(pa.float64(), _meaning(name), _JUDGED) for name in FIGURES},
    },
    ("vertical", "query"),
    partitioned=False,
)


@asset(
    table=QUALITY,
    code_version=RANKING,
    deps=[["qdrant", "promotion"], ["corpus", "terms"], ["label", "gold"], ["search", "judgements"]],
    pool="qdrant",
    description="Quality of dense, BM25 and hybrid search: one row per description of a vertical with gold labels, and "
    "per query that readers judged on the page, with nDCG@10 and recall@100.",
    owners=["team:search"],
    kinds={"qdrant", "delta"},
)
def retrieval_quality(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    embedder: EmbedderResource,
    qdrant: QdrantResource,
) -> RunMetrics:
    """Search for every description of every vertical that has gold labels, and for every query that readers judged.

    Relevant accounts are those that gold assigns to the vertical, or that readers call an answer to the query; an
    account without its own judgement is relevant when one of its judged posts is. Only judged accounts are ranked
    (Sakai 2007, condensed lists): judgements cover a small part of the corpus, and an unjudged account is not wrong.
    The figures compare retrievers and releases on one corpus, not across corpora. Latencies cover complete hybrid
    searches in this process, embedding included; they are metadata of the run, not rows of the table.
    """
    verticals, searcher = load_verticals(), Searcher(lake, embedder, qdrant)
    seconds: list[float] = []

    def ask(_bucket: int | None, _current: pl.DataFrame, tally: RunMetrics) -> pl.DataFrame:
        posts = lake.scan(CHUNKS).select("post_id", "account_id").unique().collect()
        asked = judged_queries(lake.scan(GOLD).collect(), lake.scan(JUDGEMENTS).collect(), posts, verticals)
        rows: list[dict[str, Any]] = []
        questions = searcher.questions([text for _, text, _ in asked])
        with qdrant.reader(embedder.model().name) as index:
            for _, text, _ in asked[:: max(1, len(asked) // QUESTIONS_TIMED)]:
                started = time.perf_counter()
                rank_accounts(find([index], searcher.question(text), SearchFilter()), LIMIT_TIMED)
                seconds.append(time.perf_counter() - started)
            for (name, text, grades), question in zip(asked, questions, strict=True):
                counts = {"judged": len(grades), "relevant": sum(grades.values())}
                rows.append({"vertical": name, "query": text, **counts, **_answered(index, question, grades)})
        tally.counts["questions"] = len(rows)
        return pl.DataFrame(rows, schema=QUALITY.polars_schema, orient="row")

    with qdrant.generations() as generations:
        serving = generations.serving()
    served = serving.id if serving else "none"  # another generation may find other posts
    version = fingerprint([RANKING, SPARSE_ENCODING, embedder.model().name, catalogue_hash(verticals), served])
    stage = Stage(QUALITY.name, (CHUNKS, VECTORS, TERMS, GOLD, JUDGEMENTS), version, partitioned=False)
    metrics = refresh_table(context, lake, ledger, stage, QUALITY, ask)
    metrics.notes |= summary(lake.scan(QUALITY).collect(), seconds)
    return metrics


Judged = tuple[str, str, Mapping[str, int]]
"""A vertical, or "", the query, and account id → grade."""


def judged_queries(
    gold: pl.DataFrame, judgements: pl.DataFrame, posts: pl.DataFrame, verticals: Sequence[Vertical]
) -> list[Judged]:
    """Return the queries to measure: the descriptions of verticals with enough labels, then those of readers."""
    of_labels, of_readers = judged_accounts(gold, posts), graded_accounts(judgements, posts)
    described = [(v.name, text, of_labels[v.name]) for v in verticals if v.name in of_labels for text in v.descriptions]
    return [*described, *(("", query, grades) for query, grades in of_readers.items() if clean(query))]


def _answered(index: SearchIndex, question: Question, grades: Mapping[str, int]) -> dict[str, float]:
    """Return the figures of one question, for every retriever."""
    found = find([index], question, SearchFilter(), lambda found: _judged(found, grades))
    figures: dict[str, float] = {}
    for retriever in Retriever:
        ranked = [account.account_id for account in rank_accounts(found.of(retriever), RECALL_AT)]
        quality = Quality.of(ranked, grades)
        figures[f"{retriever}_ndcg_at_10"] = round(quality.ndcg_at_10, 6)
        figures[f"{retriever}_recall_at_100"] = round(quality.recall_at_100, 6)
    return figures


def _judged(found: Sequence[Candidate], grades: Mapping[str, int]) -> list[Candidate]:
    return [candidate for candidate in found if candidate.payload.get("account_id") in grades]


def summary(rows: pl.DataFrame, seconds: Sequence[float]) -> dict[str, Any]:
    """Return asset metadata: mean figures, the best retriever, latencies, and the rows as a Markdown table."""
    if rows.is_empty():
        return {}
    means = {name: round(float(rows[name].mean()), 4) for name in FIGURES}  # type: ignore[arg-type]
    ndcg_of = {retriever.value: means[f"{retriever}_ndcg_at_10"] for retriever in Retriever}
    latencies = {f"milliseconds_{name}": value for name, value in percentiles(seconds).items()}
    best = better_retriever(ndcg_of, Retriever.HYBRID.value)
    return {**means, **latencies, "best_retriever": best, "questions_asked": MetadataValue.md(_markdown(rows))}


def _markdown(rows: pl.DataFrame) -> str:
    return markdown_table(rows.sort("hybrid_ndcg_at_10", "vertical", "query"))


ASSETS = [retrieval_quality]
