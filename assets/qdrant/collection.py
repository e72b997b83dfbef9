"""qdrant/*: the collection that search reads, in generations, and the promotion of the newest."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
from dagster import AssetExecutionContext, MaterializeResult

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, at_once, refresh
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from assets.qdrant.points import PointWriter, recipe_of
from assets.qdrant.promotion import GateVerdict, serve_if_ready, written
from assets.qdrant.recall import remembering
from assets.transforms.search.points import DIGEST, held_points
from assets.verticals import TAGS
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, Contents, LakeResource, fingerprint
from resources.models.embedder import EmbedderResource
from resources.vectors.generations import Generation, Generations
from resources.vectors.protocol import VectorIndex
from resources.vectors.resource import QdrantResource
from resources.wiring import bucket_count

GROUP = "qdrant"


@asset(
    key=["qdrant", "cippus_text"],
    deps=[["corpus", "cippus_text"], ["embedding", "cippus_text"], ["vertical", "tags"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    pool="qdrant",
    group_name=GROUP,
    description="One point a chunk: dense and BM25 vectors, and a payload to filter by and to show.",
    owners=["team:search"],
    kinds={"qdrant"},
)
def points(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    embedder: EmbedderResource,
    qdrant: QdrantResource,
) -> MaterializeResult[None]:
    """Bring the served generation, and one that is being built, in line with the lake; write only what differs.

    Another model, sparse encoding or quantization is another generation, built beside the one that is served.
    """
    writer, total = PointWriter(lake, embedder.model()), RunMetrics()
    writer.require_bucket_count()
    recipe = recipe_of(writer.model, qdrant.quantization)
    with qdrant.generations() as generations:
        for generation in written(generations, recipe):
            index = generations.open(generation)
            stage = Stage(stage_of(generation), (CHUNKS, VECTORS, TAGS), fingerprint([recipe.model, recipe.sparse]))
            buckets = _Buckets(context, writer, index)
            done = refresh(context, lake, ledger, stage, buckets.among, buckets.bring_up_to_date, at_once())
            is_whole = set(buckets).issubset(int(key) for key in context.partition_keys)
            # Not before every bucket wrote what is its own: a damaged point of one may be among them.
            if is_whole and index.count() != done.rows:
                done.counts["homeless_deleted"] += index.delete_homeless(buckets)
            if done.changes.written and generation == generations.serving():
                index.optimize()
            total.rows, total.skipped = done.rows, done.skipped
            total.buckets_skipped, total.changes = done.buckets_skipped, total.changes + done.changes
            total.counts.update(done.counts)
            total.counts["generation"] = generation.number
    total.counts.update(upserted=0, payloads_set=0, points_deleted=0, homeless_deleted=0)
    return total.result()


def stage_of(generation: Generation) -> str:
    """What a generation is called in the ledger."""
    return f"qdrant/{generation.name}"


@dataclass
class _Buckets(Mapping[int, Contents]):
    """Buckets of the collection by every point's id and digest, so that lost, foreign and stale points are seen.

    Looking at one reads no vector and no payload, but every point's digest: the index keeps no fingerprint of its
    own. A thread's last bucket's are kept, since a stale one is compared next; after a change they are what the change
    should have left, and the next run looks whether it did.
    """

    context: AssetExecutionContext
    writer: PointWriter
    index: VectorIndex
    _last: threading.local = field(default_factory=threading.local)

    def among(self, _: Sequence[int]) -> "_Buckets":
        """All of them, each looked at when it is asked for."""
        return self

    def held(self, bucket: int) -> pl.DataFrame:
        """``held_points`` of a bucket."""
        if getattr(self._last, "bucket", None) != bucket:
            self._keep(bucket, held_points(self.index.scroll_digests(bucket)))
        found: pl.DataFrame = self._last.points
        return found

    def _keep(self, bucket: int, points: pl.DataFrame) -> None:
        self._last.bucket, self._last.points = bucket, points

    def __getitem__(self, bucket: int) -> Contents:
        held = self.held(bucket)
        parts = held.select(pl.concat_str("point_id", DIGEST, separator=" ")).to_series()
        return Contents(fingerprint([self.index.generation(), *parts]), held.height, 0)

    def __iter__(self) -> Iterator[int]:
        return iter(range(bucket_count()))

    def __len__(self) -> int:
        return bucket_count()

    def bring_up_to_date(self, bucket: int, tally: RunMetrics) -> Changes:
        """Write what differs between a bucket of the lake and of the collection."""

        def on_progress(done: int, of: int) -> None:
            self.context.log.info("bucket %s: %s of %s points upserted", bucket, done, of)

        desired = self.writer.desired(bucket)
        written = self.writer.bring_up_to_date(self.index, desired, self.held(bucket), on_progress)
        self._keep(bucket, held_points(desired.points.select("point_id", DIGEST).iter_rows()))
        todo = written.todo
        tally.counts.update(upserted=written.upserted, payloads_set=written.payloads_set, points_deleted=len(todo.gone))
        return Changes(len(todo.new), len(todo.changed), len(todo.gone), todo.unchanged)


@asset(
    key=["qdrant", "promotion"],
    deps=[["qdrant", "cippus_text"], ["corpus", "cippus_text"], ["embedding", "cippus_text"]],
    pool="qdrant",
    group_name=GROUP,
    description="Serves the newest generation once it passes the gate: counts, idle optimisers, replicas, recall@10.",
    owners=["team:search"],
    kinds={"qdrant"},
)
def promotion(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    embedder: EmbedderResource,
    qdrant: QdrantResource,
) -> MaterializeResult[None]:
    """Index, judge and serve a waiting generation. A refused one waits beside the one that is served.

    The generation that was served is kept until the next promotion: `cippus rollback` returns to it.
    """
    tally, writer = RunMetrics(), PointWriter(lake, embedder.model())
    recipe = recipe_of(writer.model, qdrant.quantization)

    def forget(generation: Generation) -> None:
        ledger.forget(stage_of(generation))
        context.log.info("%s dropped", generation.name)

    with qdrant.generations() as generations:
        waiting, verdict = serve_if_ready(
            generations, recipe, writer, forget, qdrant.unequal_replicas, remembering(ledger)
        )
        if waiting is not None and verdict is None:
            context.log.warning("%s was rolled back and waits: `cippus rollback` serves it again.", waiting.name)
        elif waiting is not None and verdict is not None and verdict.passed:
            context.log.info("%s passed the gate", waiting.name)
        elif waiting is not None and verdict is not None:
            context.log.warning("%s is not served: %s", waiting.name, "; ".join(verdict.problems))
        tally.rows = len(generations.all())
        tally.changes = Changes(updated=int(verdict is not None and verdict.passed))
        told = {"chunks": sum(held.rows for held in lake.contents(CHUNKS).values()), **_told(generations)}
        judged = _judged(waiting, verdict) if waiting and verdict else {}
        return MaterializeResult(metadata={**(tally.result().metadata or {}), **told, **judged})


def _told(generations: Generations) -> dict[str, str | int]:
    serving, previous = generations.serving(), generations.previous()
    return {
        "serving": serving.name if serving else "none",
        "quantization": serving.recipe.quantization if serving else "none",
        "previous": previous.name if previous else "none",
    }


def _judged(waiting: Generation, verdict: GateVerdict) -> dict[str, str | int | float]:
    return {
        "judged": waiting.name,
        "judged_quantization": waiting.recipe.quantization,
        "judged_points": verdict.points,
        "promoted": int(verdict.passed),
        "recall_at_10": round(verdict.recall, 4),
        "queries": verdict.queries,
        "refused_because": "; ".join(verdict.problems) or "nothing",
    }


ASSETS = [points, promotion]
