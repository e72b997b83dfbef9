"""qdrant/*: the collection that search reads, in generations, and the promotion of the newest."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import polars as pl
from dagster import AssetExecutionContext

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.framework.asset import asset
from assets.framework.incremental import RunMetrics, Stage, bucket_threads, refresh
from assets.partitions import ALL_IN_ONE_RUN, BUCKETS
from assets.qdrant.points import PointWriter, index_config_of
from assets.qdrant.promotion import GateVerdict, generations_to_write, recorded_recall, serve_if_ready
from assets.transforms.search.points import DIGEST, HASHES, stored_points
from assets.verticals.tags import TAGS
from assets.verticals.thresholds import THRESHOLDS
from resources.delta.state import LedgerResource
from resources.delta.table import Changes, Contents, LakeResource, fingerprint
from resources.llm.embedder import EmbedderResource
from resources.settings import bucket_count
from resources.vectors.generations import Generation, Generations
from resources.vectors.index import VectorIndex
from resources.vectors.resource import QdrantResource


@asset(
    key=["qdrant", "cippus_text"],
    deps=[["corpus", "cippus_text"], ["embedding", "cippus_text"], ["vertical", "tags"]],
    partitions_def=BUCKETS,
    backfill_policy=ALL_IN_ONE_RUN,
    pool="qdrant",
    description="The collection that search reads: one point per chunk of text, with its dense and BM25 vectors and "
    "a payload for filters and display.",
    owners=["team:search"],
    kinds={"qdrant"},
)
def points(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    embedder: EmbedderResource,
    qdrant: QdrantResource,
) -> RunMetrics:
    """Write the differences between the lake and the generations: the served one, and one that is being built.

    Another model, sparse encoding or quantization is another generation, built beside the served one.
    """
    writer, total = PointWriter(lake, embedder.model()), RunMetrics()
    writer.require_bucket_count()
    index_config = index_config_of(writer.model, qdrant.quantization)
    version = fingerprint([index_config.model, index_config.sparse])
    with qdrant.generations() as generations:
        for generation in generations_to_write(generations, index_config):
            index = generations.open(generation)
            stage = Stage(stage_of(generation), (CHUNKS, VECTORS, TAGS), version, awaits=(THRESHOLDS,))
            buckets = _Buckets(context, writer, index)
            done = refresh(context, lake, ledger, stage, lambda _: buckets, buckets.bring_up_to_date, bucket_threads())  # noqa: B023
            is_whole = set(buckets).issubset(int(key) for key in context.partition_keys)
            # After all buckets are written: a damaged point of one of them may look orphaned until then.
            if is_whole and index.count() != done.rows:
                done.counts["orphaned_deleted"] += index.delete_orphaned(buckets)
            if done.changes.written and generation == generations.serving():
                index.optimize()
            total.rows, total.skipped = done.rows, done.skipped
            total.buckets_skipped, total.changes = done.buckets_skipped, total.changes + done.changes
            total.counts.update(done.counts)
            total.buckets |= done.buckets
            total.notes["generation"] = generation.number
    total.counts.update(upserted=0, payloads_set=0, points_deleted=0, orphaned_deleted=0)
    return total


def stage_of(generation: Generation) -> str:
    """Return the name of a generation's stage in the ledger."""
    return f"qdrant/{generation.name}"


@dataclass
class _Buckets(Mapping[int, Contents]):
    """Bucket → fingerprint of the id and digest of every point, so that lost, foreign and stale points are found.

    A lookup reads the hashes of every point in the bucket, but no vector. Each thread keeps the points of its last
    bucket, because a stale bucket is compared next. After a write they are the desired points; the next run verifies
    them.
    """

    context: AssetExecutionContext
    writer: PointWriter
    index: VectorIndex
    _last: threading.local = field(default_factory=threading.local)

    def _stored(self, bucket: int) -> pl.DataFrame:
        """Return the ``stored_points`` of a bucket."""
        if getattr(self._last, "bucket", None) != bucket:
            self._last.bucket, self._last.points = bucket, stored_points(self.index.scroll_hashes(bucket))
        found: pl.DataFrame = self._last.points
        return found

    def __getitem__(self, bucket: int) -> Contents:
        stored = self._stored(bucket)
        parts = stored.select(pl.concat_str("point_id", DIGEST, separator=" ")).to_series()
        return Contents(fingerprint([self.index.generation(), *parts]), stored.height, 0)

    def __iter__(self) -> Iterator[int]:
        return iter(range(bucket_count()))

    def __len__(self) -> int:
        return bucket_count()

    def bring_up_to_date(self, bucket: int, metrics: RunMetrics) -> Changes:
        """Write the differences between a bucket of the lake and of the collection."""

        def on_progress(done: int, total: int) -> None:
            self.context.log.info("bucket %s: %s of %s points upserted", bucket, done, total)

        desired, stored = self.writer.desired(bucket), self._stored(bucket)
        changes, counts = self.writer.bring_up_to_date(self.index, bucket, desired, stored, on_progress)
        self._last.points = desired.select(HASHES).sort("point_id")
        metrics.counts.update(counts)
        return changes


@asset(
    key=["qdrant", "promotion"],
    deps=[["qdrant", "cippus_text"], ["corpus", "cippus_text"], ["embedding", "cippus_text"]],
    pool="qdrant",
    description="Serves the newest generation of the collection once it passes the gate: equal counts, idle "
    "optimisers, equal replicas, recall@10 of at least 0.98.",
    owners=["team:search"],
    kinds={"qdrant"},
)
def promotion(
    context: AssetExecutionContext,
    lake: LakeResource,
    ledger: LedgerResource,
    embedder: EmbedderResource,
    qdrant: QdrantResource,
) -> RunMetrics:
    """Optimize, judge and serve the candidate. A refused candidate waits beside the served generation.

    The generation that was served is kept until the next promotion: `cippus rollback` returns to it.
    """
    metrics, writer = RunMetrics(), PointWriter(lake, embedder.model())
    index_config = index_config_of(writer.model, qdrant.quantization)

    def on_dropped(generation: Generation) -> None:
        ledger.forget(stage_of(generation))
        context.log.info("%s dropped", generation.name)

    with qdrant.generations() as generations:
        waiting, verdict = serve_if_ready(
            generations, index_config, writer, on_dropped, qdrant.replica_problems, partial(recorded_recall, ledger)
        )
        if waiting is not None:
            log = context.log.info if verdict is not None and verdict.passed else context.log.warning
            log("%s %s", waiting.name, _outcome(verdict))
        metrics.rows = len(generations.all())
        metrics.changes = Changes(updated=int(verdict is not None and verdict.passed))
        chunks = sum(contents.rows for contents in lake.contents(CHUNKS).values())
        metrics.notes = {"chunks": chunks, **_aliases(generations)}
        serving = generations.serving()
    metrics.fingerprint = serving.id if serving else "none"
    metrics.notes |= _judgement(waiting, verdict) if waiting and verdict else {}
    return metrics


def _outcome(verdict: GateVerdict | None) -> str:
    if verdict is None:
        return "was rolled back and waits: `cippus rollback` serves it again."
    return "passed the gate" if verdict.passed else f"is not served: {'; '.join(verdict.problems)}"


def _aliases(generations: Generations) -> dict[str, str | int]:
    serving, previous = generations.serving(), generations.previous()
    return {
        "serving": serving.name if serving else "none",
        "quantization": serving.index_config.quantization if serving else "none",
        "previous": previous.name if previous else "none",
    }


def _judgement(waiting: Generation, verdict: GateVerdict) -> dict[str, str | int | float]:
    return {
        "judged": waiting.name,
        "judged_quantization": waiting.index_config.quantization,
        "judged_points": verdict.points,
        "promoted": int(verdict.passed),
        "recall_at_10": round(verdict.recall, 4),
        "queries": verdict.queries,
        "refused_because": "; ".join(verdict.problems) or "nothing",
    }


ASSETS = [points, promotion]
