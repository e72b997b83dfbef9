"""Which generation of the collection is written, which is served, and the gate between the two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.qdrant.points import PointWriter
from assets.transforms.search.recall import ExactNeighbours
from resources.catalogues import load_verticals
from resources.delta.state import Entry, LedgerResource
from resources.delta.table import WHOLE, fingerprint
from resources.vectors.generations import Generation, Generations, IndexConfig
from resources.vectors.index import VectorIndex
from resources.vectors.values import SearchFilter

LEAST_RECALL = 0.98
RECALL_AT = 10
_BLOCK = 16_384
"""Vectors that are compared with the queries at a time: 25 MB, and as many cosines a query."""
_STAGE = "qdrant/promotion"


def candidate(generations: Generations, index_config: IndexConfig) -> Generation | None:
    """Return the newest generation with this config that is not served; None when the served one has it."""
    serving = generations.serving()
    if serving is not None and serving.index_config == index_config:
        return None
    found = [made for made in generations.all() if made.index_config == index_config and made != serving]
    return found[-1] if found else None


def generations_to_write(generations: Generations, index_config: IndexConfig) -> list[Generation]:
    """Return the served generation, if it takes vectors of this config, and the candidate.

    Creates the candidate when the config is new or nothing is served. Leaves out a candidate that was rolled back.
    """
    serving, waiting = generations.serving(), candidate(generations, index_config)
    if waiting is None and (serving is None or serving.index_config != index_config):
        waiting = generations.create(index_config)
    kept = [serving] if serving is not None and serving.index_config.has_vectors_of(index_config) else []
    return [*kept, *([waiting] if waiting is not None and _may_be_served(waiting, serving) else [])]


def _may_be_served(waiting: Generation, serving: Generation | None) -> bool:
    """Return whether the candidate may be served: it was not rolled back, or nothing is served."""
    return serving is None or not waiting.is_rolled_back


class Recall(NamedTuple):
    """The mean share of the exact top RECALL_AT that a search found, and the number of queries."""

    found: float
    queries: int

    @property
    def is_enough(self) -> bool:
        """Whether the generation may be served."""
        return self.found >= LEAST_RECALL


MeasureRecall = Callable[[VectorIndex, PointWriter], Recall]


def measured_recall(index: VectorIndex, writer: PointWriter) -> Recall:
    """Measure the index's search against exact cosines with the lake's vectors, so that corrupt vectors count too.

    The queries are the descriptions of the verticals, about 100 sentences that are not in the corpus. Reads every
    vector of the lake, block by block.
    """
    queries = writer.model.embed_queries(_query_texts())
    found = [[hit.id for hit in index.search_dense(query, SearchFilter(), RECALL_AT)] for query in queries]
    exact = ExactNeighbours(queries, found, RECALL_AT)
    for bucket in sorted(writer.lake.contents(CHUNKS)):
        for ids, vectors in writer.vectors(bucket, _BLOCK):
            exact.add(ids, vectors)
    return Recall(exact.recall(), len(queries))


def recorded_recall(ledger: LedgerResource, index: VectorIndex, writer: PointWriter) -> Recall:
    """Return ``measured_recall``. Measure only once while a refused generation is unchanged.

    A refused generation waits until somebody changes the settings; without the record every run would measure it.
    """
    inputs = _inputs(index, writer)
    known = ledger.entries(_STAGE, [WHOLE]).get(WHOLE)
    if known is not None and known.inputs == inputs:
        found, queries = known.output.split()
        return Recall(float(found), int(queries))
    measured = measured_recall(index, writer)
    if not measured.is_enough:
        ledger.record(_STAGE, WHOLE, Entry(inputs, f"{measured.found!r} {measured.queries}"))
    return measured


@dataclass(frozen=True)
class GateVerdict:
    """The gate's measurements: points, the chunks of the lake, recall; and the problems that it found."""

    points: int
    chunks: int
    recall: float
    queries: int
    problems: list[str]

    @property
    def passed(self) -> bool:
        """Whether the generation may be served."""
        return not self.problems


def gate(
    index: VectorIndex,
    writer: PointWriter,
    replica_problems: Sequence[str] = (),
    measure_recall: MeasureRecall = measured_recall,
) -> GateVerdict:
    """Compare a generation with the lake: equal counts, idle optimisers, equal replicas, recall@10 of at least .98.

    ``replica_problems`` comes from the nodes: an index asks only one replica of a shard. Recall is measured last, and
    only without other problems, because it reads every vector of the lake.
    """
    chunks = {bucket: contents.rows for bucket, contents in writer.lake.contents(CHUNKS).items()}
    problems = [
        f"bucket {bucket} has {points:,} points and {rows:,} chunks"
        for bucket, rows in sorted(chunks.items())
        if (points := index.count(bucket)) != rows
    ]
    points, total = index.count(), sum(chunks.values())
    if points != total and not problems:
        problems.append(f"{points:,} points for {total:,} chunks: some belong to no bucket")
    status = str(index.health()["status"])
    if status != "green":
        problems.append(f"the collection is {status}, expected green: its optimisers are not idle")
    problems += replica_problems
    recall = Recall(0.0, 0)
    if not problems:
        recall = measure_recall(index, writer)
        if not recall.is_enough:
            problems.append(f"recall@{RECALL_AT} is {recall.found:.4f}, expected at least {LEAST_RECALL:g}")
    return GateVerdict(points, total, recall.found, recall.queries, problems)


def serve_if_ready(
    generations: Generations,
    index_config: IndexConfig,
    writer: PointWriter,
    on_dropped: Callable[[Generation], None],
    replica_problems: Callable[[str], Sequence[str]] = lambda _collection: (),
    measure_recall: MeasureRecall = measured_recall,
) -> tuple[Generation | None, GateVerdict | None]:
    """Optimize the candidate, serve it if it passes the gate, then drop generations that are not needed.

    A process that is killed in between leaves the dropping to the next run. Returns the candidate, and its verdict
    unless a rollback holds it back.
    """
    waiting, verdict = candidate(generations, index_config), None
    if waiting is not None and _may_be_served(waiting, generations.serving()):
        index = generations.open(waiting)
        index.optimize()
        verdict = gate(index, writer, replica_problems(waiting.name), measure_recall)
        if verdict.passed:
            generations.promote(waiting)
    serving = generations.serving()
    if serving is not None:
        needed = (serving, generations.previous(), candidate(generations, index_config))
        kept = {generation.number for generation in needed if generation}
        for unused in generations.all():
            if unused.number not in kept:
                generations.drop(unused)
                on_dropped(unused)
    return waiting, verdict


def rebuild(
    generations: Generations,
    index_config: IndexConfig,
    writer: PointWriter,
    fill: Callable[[Generation], None],
    replica_problems: Callable[[str], Sequence[str]] = lambda _collection: (),
) -> tuple[Generation, GateVerdict]:
    """Fill a new generation from the lake, serve it if it passes the gate, and drop the one that it replaces.

    For a collection that has lost a shard: nothing of the old generation is read. A refused one is dropped.
    """
    broken = generations.serving()
    made = generations.create(index_config)
    fill(made)
    index = generations.open(made)
    index.optimize()
    verdict = gate(index, writer, replica_problems(made.name))
    if not verdict.passed:
        generations.drop(made)
        return made, verdict
    generations.promote(made)
    if broken is not None:
        generations.drop(broken)
    return made, verdict


def _inputs(index: VectorIndex, writer: PointWriter) -> str:
    """Return a fingerprint of everything that the recall depends on: collection, segments, lake vectors, queries."""
    lake = [
        f"{bucket}:{contents.fingerprint}"
        for spec in (CHUNKS, VECTORS)
        for bucket, contents in sorted(writer.lake.contents(spec).items())
    ]
    return fingerprint([index.generation(), repr(index.health()), writer.model.name, *_query_texts(), *lake])


def _query_texts() -> list[str]:
    return [text for vertical in load_verticals() for text in vertical.descriptions]
