"""Checks of qdrant/*: points, generations, nodes."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dagster import AssetCheckResult, AssetCheckSeverity

from assets.corpus import CHUNKS
from assets.embeddings import VECTORS
from assets.partitions import BUCKETS
from assets.qdrant.collection import stage_of
from assets.qdrant.points import index_config_of
from assets.qdrant.promotion import candidate
from assets.transforms.search.points import HASHES, desired_points, stored_points
from assets.verticals.tags import TAGS
from pipelines.checks.declaration import Check, Metadata, check, differences
from resources.delta.table import LakeResource
from resources.llm.embedder import EmbedderResource
from resources.vectors.resource import QdrantResource

if TYPE_CHECKING:
    from resources.vectors.server.health import Cluster  # its client takes a second to import


def ledger_name_of_served(qdrant: QdrantResource) -> str:
    """Return the name of the served generation's ledger entries."""
    with qdrant.generations() as generations:
        serving = generations.serving()
    return stage_of(serving) if serving else "qdrant/none"


def _today(qdrant: QdrantResource) -> str:
    """Return the generation and the day: an index has no log, so each day its points are read again."""
    return f"{ledger_name_of_served(qdrant)} {datetime.now(UTC).date()}"


@check(
    "qdrant/cippus_text",
    "points missing, stale or foreign",
    reads=(CHUNKS, VECTORS, TAGS),
    version=_today,
    by_bucket=True,
    guards=True,
    ledger_name=ledger_name_of_served,
)
def points_match_chunks(bucket: int, lake: LakeResource, qdrant: QdrantResource) -> tuple[int, Metadata]:
    """The collection has exactly the chunks of the corpus, with the same ids, content hashes and payloads."""
    chunks, tags = lake.scan_cached(CHUNKS, bucket).collect(), lake.scan_cached(TAGS, bucket).collect()
    with qdrant.open() as index:
        stored = stored_points(index.scroll_hashes(bucket))
    return differences(desired_points(chunks, tags).select(HASHES).lazy(), stored.lazy()), {"points": stored.height}


@check("qdrant/cippus_text", "points of no bucket", daily=True)
def no_orphaned_points(qdrant: QdrantResource) -> int | None:
    """Every point belongs to one of the account buckets."""
    if ledger_name_of_served(qdrant) == "qdrant/none":
        return None
    with qdrant.open() as index:
        return index.count() - sum(len(list(index.scroll_hashes(int(key)))) for key in BUCKETS.get_partition_keys())


@check("qdrant/promotion", "encoders without a served generation", guards=True)
def encoder_is_served(embedder: EmbedderResource, qdrant: QdrantResource) -> tuple[int, Metadata]:
    """A generation is served, and it has vectors of the current encoder. Otherwise search finds nothing."""
    wanted = index_config_of(embedder.model(), qdrant.quantization)
    with qdrant.generations() as generations:
        serving = generations.serving()
    is_served = serving is not None and serving.index_config.has_vectors_of(wanted)
    return int(not is_served), {"served": serving.index_config.model if serving else "none"}


@check("qdrant/promotion")
def newest_is_served(embedder: EmbedderResource, qdrant: QdrantResource) -> AssetCheckResult:
    """The newest generation is served. Warns if the recall gate refused it or it was rolled back."""
    wanted = index_config_of(embedder.model(), qdrant.quantization)
    with qdrant.generations() as generations:
        serving, waiting = generations.serving(), candidate(generations, wanted)
    passed = serving is not None and serving.index_config == wanted
    reason = "was rolled back" if waiting and waiting.is_rolled_back else "has not passed the gate"
    served = f"{serving.name if serving else 'Nothing'} is served"
    return AssetCheckResult(
        passed=passed,
        severity=AssetCheckSeverity.WARN,
        description=f"{served}." if passed else f"{served}; {waiting.name if waiting else 'the newest'} {reason}.",
    )


def _cluster_check(name: str, promise: str, find_problems: Callable[["Cluster"], list[str]]) -> Check:
    def evaluate(qdrant: QdrantResource) -> AssetCheckResult | None:
        cluster = qdrant.cluster()
        if cluster is None:
            return None  # the embedded engine is one process, and no cluster
        problems = find_problems(cluster)
        return AssetCheckResult(
            passed=not problems,
            severity=AssetCheckSeverity.ERROR,
            description=" ".join(problems) or promise,
            metadata={"nodes": len(cluster.nodes), "answering": len(cluster.answering), "found": len(problems)},
        )

    evaluate.__doc__ = promise
    return check("qdrant/promotion", name=name, daily=True)(evaluate)


CHECKS = [
    _cluster_check(
        "nodes_present",
        "Every expected node answers and takes part in consensus, and all know each other.",
        lambda cluster: cluster.absent(),
    ),
    _cluster_check(
        "shards_active",
        "Every shard has as many replicas as it is meant to have, and they are active.",
        lambda cluster: [*cluster.inactive(), *cluster.missing()],
    ),
    _cluster_check("replicas_equal", "The replicas of a shard hold as many points.", lambda cluster: cluster.unequal()),
    _cluster_check("versions_equal", "All nodes run one version.", lambda cluster: cluster.skewed()),
]
