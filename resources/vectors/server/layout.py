"""How a new collection is laid out on the nodes of a cluster: shards, replicas, and replicas that confirm a write."""

from dataclasses import dataclass
from typing import Any

from qdrant_client import models

from resources.vectors.values import VectorIndexError

WAL_CAPACITY_MB = 1
"""Size of a file of a shard's log. Deleted points stay in the log until it is written past, so an erasure ends sooner
with a small one. A collection also needs twice as much free disk for every shard."""


@dataclass(frozen=True)
class Layout:
    """Shards, replicas, and replicas that must confirm a write; 0 for the default of the number of nodes.

    The default is one shard for every node, two replicas where there are several nodes, and one that confirms.
    """

    shards: int = 0
    replicas: int = 0
    write_consistency: int = 0

    def of_nodes(self, nodes: int) -> dict[str, Any]:
        """Return arguments of ``create_collection``. Raises VectorIndexError for more replicas than nodes."""
        replicas = self.replicas or min(2, nodes)
        if replicas > nodes:
            raise VectorIndexError(
                f"CIPPUS_QDRANT_REPLICAS is {replicas}, but the cluster has {nodes} "
                f"{'node' if nodes == 1 else 'nodes'}: add nodes, or set at most {nodes}."
            )
        if self.write_consistency > replicas:
            raise VectorIndexError(
                f"CIPPUS_QDRANT_WRITE_CONSISTENCY is {self.write_consistency}, but a shard has {replicas} "
                f"{'replica' if replicas == 1 else 'replicas'}: set at most {replicas}."
            )
        return {
            "shard_number": self.shards or nodes,
            "replication_factor": replicas,
            "write_consistency_factor": self.write_consistency or 1,
            "wal_config": models.WalConfigDiff(wal_capacity_mb=WAL_CAPACITY_MB),
        }
