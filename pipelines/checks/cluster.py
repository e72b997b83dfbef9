"""Checks of the cluster behind qdrant/*: every expected node is there, and all hold and run the same."""

from collections.abc import Callable

from dagster import AssetCheckResult, AssetChecksDefinition, AssetCheckSeverity, AssetKey, asset_check

from resources.qdrant import QdrantResource
from resources.qdrant_health import Cluster


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
