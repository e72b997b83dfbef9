"""Checks of qdrant/*: points, generations, nodes."""

from collections.abc import Callable

from dagster import AssetCheckResult, AssetChecksDefinition, AssetCheckSeverity, AssetKey, asset_check

from assets.corpus import CHUNKS
from assets.partitions import BUCKETS
from assets.qdrant.points import index_config_of
from assets.qdrant.promotion import candidate
from assets.transforms.search.points import compare, desired_points, held_points
from assets.verticals import TAGS
from pipelines.checks import verdict
from resources.delta.table import LakeResource
from resources.llm.embedder import EmbedderResource
from resources.vectors.resource import QdrantResource
from resources.vectors.server.health import Cluster


@asset_check(asset=AssetKey(["qdrant", "cippus_text"]), name="points_match_chunks")
def points_match_chunks(lake: LakeResource, qdrant: QdrantResource) -> AssetCheckResult:
    """The collection has exactly the chunks of the corpus, with the same ids, content hashes and payloads."""
    differing = points = 0
    with qdrant.open() as index:
        for bucket in sorted(int(key) for key in BUCKETS.get_partition_keys()):
            desired = desired_points(lake.scan(CHUNKS, bucket).collect(), lake.scan(TAGS, bucket).collect())
            held = held_points(index.scroll_hashes(bucket))
            found = compare(desired, held)
            differing += len(found.new) + len(found.changed) + len(found.gone)
            points += held.height
        foreign = index.count() - points
    return verdict("points missing, stale or foreign", found=differing + foreign, metadata={"points": points})


@asset_check(asset=AssetKey(["qdrant", "promotion"]), name="encoder_is_served")
def encoder_is_served(embedder: EmbedderResource, qdrant: QdrantResource) -> AssetCheckResult:
    """A generation is served, and it has vectors of the current encoder. Otherwise search finds nothing."""
    wanted = index_config_of(embedder.model(), qdrant.quantization)
    with qdrant.generations() as generations:
        serving = generations.serving()
    served = serving.index_config.model if serving else "none"
    is_served = serving is not None and serving.index_config.has_vectors_of(wanted)
    return verdict("encoders without a served generation", found=int(not is_served), metadata={"served": served})


@asset_check(asset=AssetKey(["qdrant", "promotion"]), name="newest_is_served")
def newest_is_served(embedder: EmbedderResource, qdrant: QdrantResource) -> AssetCheckResult:
    """The newest generation is served. Warns if the recall gate refused it or it was rolled back."""
    wanted = index_config_of(embedder.model(), qdrant.quantization)
    with qdrant.generations() as generations:
        serving, waiting = generations.serving(), candidate(generations, wanted)
    passed = serving is not None and serving.index_config == wanted
    why = "was rolled back" if waiting and waiting.held else "has not passed the gate"
    told = f"{serving.name if serving else 'Nothing'} is served"
    return AssetCheckResult(
        passed=passed,
        severity=AssetCheckSeverity.WARN,
        description=f"{told}." if passed else f"{told}; {waiting.name if waiting else 'what is asked for'} {why}.",
    )


def _check(name: str, promise: str, wrong: Callable[[Cluster], list[str]]) -> AssetChecksDefinition:
    @asset_check(asset=AssetKey(["qdrant", "promotion"]), name=name, description=promise)
    def check(qdrant: QdrantResource) -> AssetCheckResult:
        cluster = qdrant.cluster()
        if cluster is None:
            return AssetCheckResult(passed=True, description="The embedded engine is one process, and no cluster.")
        found = wrong(cluster)
        return AssetCheckResult(
            passed=not found,
            severity=AssetCheckSeverity.ERROR,
            description=" ".join(found) or promise,
            metadata={"nodes": len(cluster.nodes), "answering": len(cluster.answering), "found": len(found)},
        )

    return check


CHECKS = [
    _check("nodes_present", "Every expected node answers, and all know each other.", Cluster.absent),
    _check("shards_active", "Every replica of every shard is active.", Cluster.inactive),
    _check("replicas_equal", "The replicas of a shard hold as many points.", Cluster.unequal),
    _check("versions_equal", "All nodes run one version.", Cluster.skewed),
]
