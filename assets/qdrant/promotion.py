"""Which generation of the collection is written, which is served, and the gate between the two."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from assets.corpus import CHUNKS
from assets.qdrant.points import PointWriter
from assets.qdrant.recall import LEAST_RECALL, RECALL_AT, Recall, RecallOf, measured_recall
from resources.vectors.generations import Generation, Generations, Recipe
from resources.vectors.protocol import VectorIndex


def candidate(generations: Generations, recipe: Recipe) -> Generation | None:
    """The newest generation of this recipe that is not served; None when the one that is served has it."""
    serving = generations.serving()
    if serving is not None and serving.recipe == recipe:
        return None
    found = [one for one in generations.all() if one.recipe == recipe and one != serving]
    return found[-1] if found else None


def written(generations: Generations, recipe: Recipe) -> list[Generation]:
    """The generations that a run keeps up to date: the served one where it takes our vectors, and the candidate.

    A candidate is made where the recipe is new or nothing is served. One that was rolled back is left as it is.
    """
    serving, waiting = generations.serving(), candidate(generations, recipe)
    if waiting is None and (serving is None or serving.recipe != recipe):
        waiting = generations.create(recipe)
    kept = [serving] if serving is not None and serving.recipe.has_vectors_of(recipe) else []
    return [*kept, *([waiting] if waiting is not None and may_be_served(waiting, serving) else [])]


def may_be_served(waiting: Generation, serving: Generation | None) -> bool:
    """Whether a waiting generation is not held back by a rollback: where nothing is served, none is."""
    return serving is None or not waiting.held


@dataclass(frozen=True)
class GateVerdict:
    """What the gate measured: points and the chunks that they should be, status, recall; and why it refused."""

    points: int
    chunks: int
    status: str
    recall: float
    queries: int
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether the generation may be served."""
        return not self.problems


def gate(
    index: VectorIndex, writer: PointWriter, unequal: Sequence[str] = (), recall_of: RecallOf = measured_recall
) -> GateVerdict:
    """Hold a generation to the lake: counts equal, optimisers idle, replicas equal, recall@10 of at least .98.

    ``unequal`` says of each shard whose replicas differ how they do: an index asks one replica of a shard.
    Recall is asked for last, of what is whole: it takes every vector of the lake.
    """
    held = {bucket: contents.rows for bucket, contents in writer.lake.contents(CHUNKS).items()}
    problems = [
        f"bucket {bucket} has {points:,} points and {rows:,} chunks"
        for bucket, rows in sorted(held.items())
        if (points := index.count(bucket)) != rows
    ]
    points, chunks = index.count(), sum(held.values())
    if points != chunks and not problems:
        problems.append(f"{points:,} points stand for {chunks:,} chunks: some belong to no bucket")
    status = str(index.health()["status"])
    if status != "green":
        problems.append(f"the collection is {status}, expected green: its optimisers are not idle")
    problems += [*index.inactive_replicas(), *unequal]
    recall = Recall(0.0, 0)
    if not problems:
        recall = recall_of(index, writer)
        if not recall.is_enough:
            problems.append(f"recall@{RECALL_AT} is {recall.found:.4f}, expected at least {LEAST_RECALL:g}")
    return GateVerdict(points, chunks, status, recall.found, recall.queries, problems)


def serve_if_ready(
    generations: Generations,
    recipe: Recipe,
    writer: PointWriter,
    forget: Callable[[Generation], None],
    unequal: Callable[[str], Sequence[str]] = lambda _: (),
    recall_of: RecallOf = measured_recall,
) -> tuple[Generation | None, GateVerdict | None]:
    """Index a waiting generation, hold it to the gate and serve it when it passes; then drop what is not needed.

    ``unequal`` tells of a collection how the replicas of its shards differ.
    Returns the generation that waited, and the verdict on it unless it is held back by a rollback.
    """
    waiting, verdict = candidate(generations, recipe), None
    if waiting is not None and may_be_served(waiting, generations.serving()):
        index = generations.open(waiting)
        index.optimize()
        verdict = gate(index, writer, unequal(waiting.name), recall_of)
        if verdict.passed:
            promote(generations, waiting, forget)
    drop_unused(generations, recipe, forget)
    return waiting, verdict


def promote(generations: Generations, chosen: Generation, forget: Callable[[Generation], None]) -> None:
    """Serve a generation that passed the gate; then drop all but it and the one that it replaced.

    ``forget`` is told of each that is dropped. Killed in between, the next run drops them.
    """
    generations.promote(chosen)
    drop_unused(generations, chosen.recipe, forget)


def drop_unused(generations: Generations, recipe: Recipe, forget: Callable[[Generation], None]) -> list[Generation]:
    """Drop what is neither served, nor the previous one, nor the candidate; returns what was dropped."""
    serving = generations.serving()
    if serving is None:
        return []
    kept = {one.number for one in (serving, generations.previous(), candidate(generations, recipe)) if one}
    unused = [one for one in generations.all() if one.number not in kept]
    for one in unused:
        generations.drop(one)
        forget(one)
    return unused
