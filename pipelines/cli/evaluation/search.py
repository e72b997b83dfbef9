"""`cippus evaluate search`: run a judged collection through the encoder, the engine and the ranking."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from assets.embeddings import embedded
from assets.search.query import Question, find
from assets.transforms.search.bm25 import weigh_forms, weigh_query
from assets.transforms.search.ranking import Retriever, rank_posts
from assets.transforms.search.retrieval_metrics import TOLERANCE, Quality, better_retriever, percentiles
from assets.transforms.text.cleaning import clean
from pipelines.cli.evaluation.beir_folder import Document, JudgedCollection, open_collection
from pipelines.cli.terminal import shown
from resources.errors import InputError
from resources.models.embedder import EmbeddingModel
from resources.vectors.bm25 import SPARSE_ENCODING, SparseEncoder
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.generations import IndexConfig
from resources.vectors.index import VectorIndex
from resources.vectors.values import IndexPoint, SearchFilter, SparseVector

_LOCK_SECONDS = 1.0  # time-out for the index's lock; the folder is temporary, so no other process holds it
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SearchEvaluation:
    """Mean quality by retriever, and the size of the collection. ``latency_ms`` covers complete hybrid searches."""

    quality: dict[Retriever, Quality]
    documents: int
    queries: int
    average_terms: float
    latency_ms: dict[str, float]
    index_seconds: float
    queries_without_text: int
    documents_missing: int

    @property
    def default(self) -> str:
        """The retriever to use here: hybrid, unless another one is better by more than TOLERANCE."""
        return better_retriever({name.value: found.ndcg_at_10 for name, found in self.quality.items()}, "hybrid")

    @property
    def note(self) -> str:
        """Sentences about a default other than hybrid, and about judgements without query or document; else empty."""
        sentences = []
        if self.default != Retriever.HYBRID:
            ahead = self.quality[Retriever(self.default)].ndcg_at_10 - self.quality[Retriever.HYBRID].ndcg_at_10
            sentences.append(
                f"Hybrid is {ahead:.3f} nDCG@10 below {self.default} on this collection, more than {TOLERANCE:g}: "
                f"search it with {self.default}."
            )
        if self.queries_without_text:
            sentences.append(
                f"Judged queries skipped, because the test split has no text for them: {self.queries_without_text:,}."
            )
        if self.documents_missing:
            sentences.append(f"Judged documents that the corpus lacks, so never found: {self.documents_missing:,}.")
        return " ".join(sentences)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        figures = {
            name.value: {"ndcg@10": round(found.ndcg_at_10, 5), "recall@100": round(found.recall_at_100, 5)}
            for name, found in self.quality.items()
        }
        return {
            **figures,
            "default": self.default,
            "note": self.note,
            "documents": self.documents,
            "queries": self.queries,
            "queries_without_text": self.queries_without_text,
            "documents_missing": self.documents_missing,
            "average_terms": round(self.average_terms, 2),
            "latency_ms": self.latency_ms,
            "index_seconds": round(self.index_seconds, 2),
        }


def evaluate_search(folder: Path, model: EmbeddingModel, on_progress: OnProgress) -> SearchEvaluation:
    """Index the collection of ``folder`` in a temporary folder and search for every judged query of its test split.

    A document is one point: its title and text, cleaned as posts are. Text beyond the encoder's limit is left out of
    the dense vector, as in BEIR's own figures, but not of BM25's. BM25 uses the collection's mean document length.
    The search is exact. Memory: 2,048 documents, and the vocabulary. Raises InputError for an invalid folder.
    """
    collection = open_collection(folder)
    statistics = _count(collection, on_progress)
    with (
        tempfile.TemporaryDirectory(prefix="cippus-evaluate-") as temporary,
        EdgeGenerations.lock(Path(temporary), _LOCK_SECONDS) as generations,
    ):
        started = time.perf_counter()
        encoder = SparseEncoder(statistics.average_terms)
        index = generations.open(generations.create(IndexConfig(model.name, model.dimension, SPARSE_ENCODING)))
        done = 0
        for batch in collection.batches():
            done += index.upsert(_points(batch, model, encoder))
            on_progress("indexing documents", done, collection.documents_expected)
        repeated = statistics.documents - index.count()
        if repeated:
            raise InputError(f"{collection.corpus} has {repeated:,} repeated doc_id; expected none.")
        index_seconds = time.perf_counter() - started

        def question(text: str) -> Question:
            terms = encoder.encode_query(text).indices
            weighed = weigh_query(terms, statistics.frequencies, statistics.documents)
            asked = weigh_forms(terms, encoder.encode_forms(text), statistics.frequencies, statistics.documents)
            return Question(model.embed_queries([text])[0], SparseVector(*weighed), forms=SparseVector(*asked))

        quality, seconds = _search_all(collection, index, question, on_progress)
    return SearchEvaluation(
        quality,
        statistics.documents,
        len(collection.queries),
        statistics.average_terms,
        percentiles(seconds),
        index_seconds,
        collection.queries_without_text,
        statistics.documents_missing,
    )


@dataclass(frozen=True)
class _Statistics:
    documents: int
    average_terms: float
    frequencies: Counter[int]
    documents_missing: int


def _count(collection: JudgedCollection, on_progress: OnProgress) -> _Statistics:
    """Count documents, their mean length in terms, document frequencies, and judged documents that are missing."""
    encoder, documents, terms, frequencies = SparseEncoder(), 0, 0.0, Counter[int]()
    missing = {document for grades in collection.grades.values() for document in grades}
    for batch in collection.batches():
        counts = [encoder.count_terms(clean(document.text)) for document in batch]
        documents, terms = documents + len(batch), terms + sum(float(found.values.sum()) for found in counts)
        frequencies.update(term for found in counts for term in found.indices.tolist())
        missing.difference_update(document.doc_id for document in batch)
        on_progress("counting terms", documents, collection.documents_expected)
    if not terms:
        raise InputError(f"{collection.corpus} holds no words; expected documents to search.")
    return _Statistics(documents, terms / documents, frequencies, len(missing))


def _points(batch: list[Document], model: EmbeddingModel, encoder: SparseEncoder) -> Iterator[IndexPoint]:
    texts = [clean(document.text) for document in batch]
    vectors, terms = embedded(model, texts), encoder.encode_documents(texts)
    for document, dense, sparse in zip(batch, vectors, terms, strict=True):
        payload = {"post_id": document.doc_id, "account_id": document.doc_id}
        yield IndexPoint(str(uuid5(NAMESPACE_OID, document.doc_id)), dense, sparse, payload)


def _search_all(
    collection: JudgedCollection,
    index: VectorIndex,
    question: Callable[[str], Question],
    on_progress: OnProgress,
) -> tuple[dict[Retriever, Quality], list[float]]:
    """Return the mean quality of each retriever, and the seconds of each hybrid search, embedding included."""
    found: dict[Retriever, list[Quality]] = {retriever: [] for retriever in Retriever}
    seconds = []
    for done, (query_id, text) in enumerate(collection.queries.items(), start=1):
        grades = collection.grades[query_id]
        started = time.perf_counter()
        candidates = find([index], question(clean(text)), SearchFilter())
        rankings = {Retriever.HYBRID: rank_posts(candidates)}
        seconds.append(time.perf_counter() - started)
        for retriever in (Retriever.DENSE, Retriever.BM25):
            rankings[retriever] = rank_posts(candidates.of(retriever))
        for retriever, ranked in rankings.items():
            # A document that is the query itself does not count, as in BEIR: in some collections queries are documents.
            others = [doc_id for doc_id in ranked if doc_id != query_id or grades.get(doc_id, 0) > 0]
            # A query without relevant documents scores 0 and counts in the mean, as in trec_eval.
            found[retriever].append(Quality.of(others, grades) if max(grades.values()) > 0 else Quality(0.0, 0.0))
        on_progress("asking queries", done, len(collection.queries))
    return {retriever: Quality.mean(each) for retriever, each in found.items()}, seconds


@contextmanager
def evaluation_progress(console: Console) -> Iterator[OnProgress]:
    """Show a progress bar for each phase; silent without a terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def on_progress(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase, total=total)
            progress.update(tasks[phase], completed=done)

        yield on_progress


def show_evaluation(console: Console, found: SearchEvaluation) -> None:
    """Print the figures as a table."""
    title = f"{found.queries:,} queries, {found.documents:,} documents"
    table = Table("retriever", "nDCG@10", "recall@100", title=title)
    for name, quality in found.quality.items():
        table.add_row(name.value, f"{quality.ndcg_at_10:.3f}", f"{quality.recall_at_100:.3f}")
    console.print(table)
    latencies = ", ".join(f"{name} {value:g} ms" for name, value in found.latency_ms.items())
    console.print(f"hybrid search: {latencies}", highlight=False)
    if found.note:
        console.print(shown(found.note), style="yellow", highlight=False)
