"""`cippus evaluate search`: a judged collection through the real encoder, the real engine and our ranking."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from assets.search.query import Question, find
from assets.transforms.search.bm25 import combined, document_frequencies, weigh_query
from assets.transforms.search.ranking import Retriever, rank_posts
from assets.transforms.search.retrieval_metrics import TOLERANCE, Quality, better_retriever, percentiles
from assets.transforms.text.corpus import clean
from pipelines.cli.evaluation.beir_folder import Document, JudgedCollection, open_collection
from resources.errors import InputError
from resources.models.embedder import EmbeddingModel
from resources.vectors.bm25 import SPARSE_ENCODING, SparseEncoder
from resources.vectors.edge.generations import EdgeGenerations
from resources.vectors.generations import IndexConfig
from resources.vectors.index import VectorIndex
from resources.vectors.values import IndexPoint, SearchFilter, SparseVector

_LOCK_SECONDS = 1.0  # of a folder that nobody else knows
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class SearchEvaluation:
    """Mean quality by retriever, and what it was measured on; ``latency_ms`` is of whole hybrid searches."""

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
        """Which retriever should answer here: hybrid, unless another one is better by more than TOLERANCE."""
        return better_retriever({name.value: found.ndcg_at_10 for name, found in self.quality.items()}, "hybrid")

    @property
    def note(self) -> str:
        """A sentence each when hybrid is not the default, and when judgements are of what is not there; else empty."""
        said = []
        if self.default != Retriever.HYBRID:
            ahead = self.quality[Retriever(self.default)].ndcg_at_10 - self.quality[Retriever.HYBRID].ndcg_at_10
            said.append(
                f"Hybrid is {ahead:.3f} nDCG@10 below {self.default} on this collection, more than {TOLERANCE:g}: "
                f"search it with {self.default}."
            )
        if self.queries_without_text:
            said.append(f"Judged and not asked, for want of a text in the test split: {self.queries_without_text:,}.")
        if self.documents_missing:
            said.append(f"Judged and not in the corpus, so never found: {self.documents_missing:,} documents.")
        return " ".join(said)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return {
            **{
                name.value: {"ndcg@10": round(found.ndcg_at_10, 5), "recall@100": round(found.recall_at_100, 5)}
                for name, found in self.quality.items()
            },
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
    """Index the collection of ``folder`` in a temporary folder and ask every judged query of its test split.

    A document is one point: its title and text, cleaned as posts are; what the encoder has no room for is left out
    of the dense vector, as in BEIR's own figures, but not of BM25's. Documents have the length that they have here on
    average, which a closed collection lets us know. The search is exact. Memory: 2,048 documents, and the vocabulary.
    Raises InputError for a folder that cannot be used.
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
        for done, batch in _counted(collection):
            index.upsert(_points(batch, model, encoder))
            on_progress("indexing documents", done, collection.documents_expected)
        if index.count() != statistics.documents:
            raise InputError(
                f"{collection.corpus} has {statistics.documents - index.count():,} repeated doc_id; expected none."
            )
        index_seconds = time.perf_counter() - started
        quality, seconds = _ask(collection, _Asker(index, model, encoder, statistics), on_progress)
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
    frequencies: dict[int, int]
    documents_missing: int


def _count(collection: JudgedCollection, on_progress: OnProgress) -> _Statistics:
    """Documents, their mean length in terms, how many hold each term, and how many that are judged are not there."""
    encoder, documents, terms, held = SparseEncoder(), 0, 0.0, combined([])
    missing = {document for grades in collection.grades.values() for document in grades}
    for done, batch in _counted(collection):
        counts = [encoder.count_terms(clean(document.text)) for document in batch]
        documents, terms = done, terms + sum(float(found.values.sum()) for found in counts)
        held = combined([held, document_frequencies(counts)])
        missing.difference_update(document.doc_id for document in batch)
        on_progress("counting terms", done, collection.documents_expected)
    if not terms:
        raise InputError(f"{collection.corpus} holds no words; expected documents to search.")
    return _Statistics(documents, terms / documents, dict(held.iter_rows()), len(missing))


def _counted(collection: JudgedCollection) -> Iterator[tuple[int, list[Document]]]:
    """The batches, each with how many documents there were up to its end."""
    done = 0
    for batch in collection.batches():
        done += len(batch)
        yield done, batch


def _points(batch: list[Document], model: EmbeddingModel, encoder: SparseEncoder) -> Iterator[IndexPoint]:
    texts = [clean(document.text) for document in batch]
    vectors = np.empty((len(texts), model.dimension), np.float32)
    for indices, found in model.embed(texts):
        vectors[indices] = found
    for document, dense, sparse in zip(batch, vectors, encoder.encode_documents(texts), strict=True):
        payload = {"post_id": document.doc_id, "account_id": document.doc_id}
        yield IndexPoint(str(uuid5(NAMESPACE_OID, document.doc_id)), dense, sparse, payload)


@dataclass(frozen=True)
class _Asker:
    index: VectorIndex
    model: EmbeddingModel
    encoder: SparseEncoder
    statistics: _Statistics

    def question(self, query: str) -> Question:
        text = clean(query)
        [(_, vectors)] = self.model.embed([text])
        terms = self.encoder.encode_query(text).indices
        weighed = weigh_query(terms, self.statistics.frequencies, self.statistics.documents)
        return Question(vectors[0], SparseVector(*weighed))


def _ask(
    collection: JudgedCollection, asker: _Asker, on_progress: OnProgress
) -> tuple[dict[Retriever, Quality], list[float]]:
    found: dict[Retriever, list[Quality]] = {retriever: [] for retriever in Retriever}
    seconds = []
    for done, (query_id, text) in enumerate(collection.queries.items(), start=1):
        grades = collection.grades[query_id]
        started = time.perf_counter()
        candidates = find([asker.index], asker.question(text), SearchFilter())
        rankings = {Retriever.HYBRID: rank_posts(candidates)}
        seconds.append(time.perf_counter() - started)
        for retriever in (Retriever.DENSE, Retriever.BM25):
            rankings[retriever] = rank_posts(candidates.of(retriever))
        for retriever, ranked in rankings.items():
            # A document that is the query itself is no answer, as in BEIR: in some collections queries are documents.
            others = [doc_id for doc_id in ranked if doc_id != query_id or grades.get(doc_id, 0) > 0]
            found[retriever].append(_quality(others, grades))
        on_progress("asking queries", done, len(collection.queries))
    return {retriever: Quality.mean(each) for retriever, each in found.items()}, seconds


def _quality(ranked: list[str], grades: Mapping[str, int]) -> Quality:
    """Nothing when there was nothing to find: such a query counts in the mean, as trec_eval has it."""
    return Quality.of(ranked, grades) if max(grades.values()) > 0 else Quality(0.0, 0.0)


@contextmanager
def evaluation_progress(console: Console) -> Iterator[OnProgress]:
    """A bar a phase with what is left of it; silent without a terminal."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def on_progress(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase, total=total)
            progress.update(tasks[phase], completed=done)

        yield on_progress


def show_evaluation(console: Console, found: SearchEvaluation) -> None:
    """The figures as a table."""
    title = f"{found.queries:,} queries, {found.documents:,} documents"
    table = Table("retriever", "nDCG@10", "recall@100", title=title)
    for name, quality in found.quality.items():
        table.add_row(name.value, f"{quality.ndcg_at_10:.3f}", f"{quality.recall_at_100:.3f}")
    console.print(table)
    latencies = ", ".join(f"{name} {value:g} ms" for name, value in found.latency_ms.items())
    console.print(f"hybrid search: {latencies}", highlight=False)
    if found.note:
        console.print(found.note, style="yellow", highlight=False)
