"""Read the replicas of a cluster's shards, and take the steps of a plan, one at a time."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from qdrant_client import QdrantClient, models

from resources.vectors.generations import SERVING, generation_number
from resources.vectors.server.calls import REQUEST_TIMEOUT_SECONDS, RETRY, QdrantCalls, client_of, shown_address
from resources.vectors.server.health import Cluster
from resources.vectors.server.replicas import (
    ACTIVE,
    ClusterState,
    Copy,
    Factor,
    Removal,
    Shards,
    Step,
    peers_of,
    states_of,
    unreachable_of,
)
from resources.vectors.values import CollectionMissingError, VectorIndexError

_TRANSFER_SECONDS = 3600.0
_UNREACHED_SECONDS = 60.0
"""A copy is given up when one of its two peers is not reached for so long. Qdrant itself waits on."""
_POLL_SECONDS = 0.5


@contextmanager
def connect(url: str, api_key: str, nodes: Sequence[str], cluster: Cluster) -> Iterator["ClusterRepair"]:
    """Yield the repair of the cluster at ``url``, or at one of its other ``nodes`` when that does not answer."""
    client = client_of(url, api_key, REQUEST_TIMEOUT_SECONDS, nodes)
    try:
        yield ClusterRepair(client, QdrantCalls(shown_address("QDRANT_URL", url), SERVING, RETRY), cluster)
    finally:
        client.close()


class ClusterRepair:
    """The cluster behind ``client``. ``nodes`` are its nodes as ``read_cluster`` found them."""

    def __init__(
        self,
        client: QdrantClient,
        calls: QdrantCalls,
        nodes: Cluster,
        transfer_seconds: float = _TRANSFER_SECONDS,
        unreached_seconds: float = _UNREACHED_SECONDS,
    ) -> None:
        self._client = client
        self._call = calls
        self._nodes = nodes
        self._transfer_seconds = transfer_seconds
        self._unreached_seconds = unreached_seconds

    def state(self) -> ClusterState:
        """Return the peers, and the replicas of every generation. Raises VectorIndexError for a single server."""
        peers = peers_of(self._call(self._client.cluster_status))
        if not peers:
            raise VectorIndexError(f"Qdrant at {self._call.name} is a single server: it has no other nodes.")
        names = [found.name for found in self._call(self._client.get_collections).collections]
        shards = [self._shards(name) for name in sorted(names) if generation_number(name) is not None]
        unreachable = self._nodes.unreachable() & peers.keys()
        return ClusterState(peers, frozenset(unreachable), tuple(found for found in shards if found))

    def _shards(self, collection: str) -> Shards | None:
        try:
            wanted = self._call(self._client.get_collection, collection).config.params.replication_factor or 1
            found = self._call(self._client.collection_cluster_info, collection)
        except CollectionMissingError:  # dropped by another process since it was listed
            return None
        return Shards(collection, wanted, states_of(found))

    def require_gone(self, state: ClusterState, peers: Collection[int]) -> None:
        """Raise VectorIndexError for a peer that the cluster does not know, or that it still reaches."""
        for peer in peers:
            if peer not in state.peers:
                known = ", ".join(map(str, sorted(state.peers)))
                raise VectorIndexError(f"The cluster has no peer {peer}; its peers are {known}.")
            if peer not in state.unreachable:
                at = f"Peer {peer} ({state.peers[peer]})"
                raise VectorIndexError(f"{at} is reached by the others: stop it first if it is to go for good.")

    def take(self, step: Step) -> None:
        """Take one step, and wait until it is done.

        Raises VectorIndexError if it fails, takes an hour, or a peer of a copy is not reached for a minute.
        """
        if isinstance(step, Removal):
            self._call(self._client.remove_peer, step.peer, force=True)
        elif isinstance(step, Factor):
            change = models.CollectionParamsDiff(replication_factor=step.replicas)
            self._call(self._client.update_collection, step.collection, collection_params=change)
        else:
            self._copy(step)

    def _unreached(self, *peers: int) -> list[int]:
        """Return which of these peers the node that answers cannot reach now."""
        unreachable = unreachable_of(self._call(self._client.cluster_status))
        return [peer for peer in peers if peer in unreachable]

    def _copy(self, step: Copy) -> None:
        shard, source, target = step.shard, step.source, step.target
        operation: models.ReplicateShardOperation | models.MoveShardOperation
        if step.is_move:
            move = models.MoveShard(shard_id=shard, from_peer_id=source, to_peer_id=target)
            operation = models.MoveShardOperation(move_shard=move)
        else:
            copy = models.ReplicateShard(shard_id=shard, from_peer_id=source, to_peer_id=target)
            operation = models.ReplicateShardOperation(replicate_shard=copy)
        self._call(self._client.cluster_collection_update, step.collection, operation)
        started, seen = time.monotonic(), False
        reached = started
        while True:
            found = self._shards(step.collection)
            state = found.states.get(step.shard, {}).get(step.target, "") if found else ACTIVE
            if state == ACTIVE:
                return
            now, away = time.monotonic(), self._unreached(source, target)
            said = f"{step.said().rstrip('.')} failed: the replica is {state or 'gone'}"
            if (seen and not state) or now >= started + self._transfer_seconds:
                raise VectorIndexError(f"{said}. Look at the logs of both nodes, and run the command again.")
            reached = reached if away else now
            if now >= reached + self._unreached_seconds:
                raise VectorIndexError(
                    f"{said}, and peer {away[0]} is not reached. Look at its disk and log and start it, or remove it "
                    f"by `cippus cluster --gone {away[0]} --apply`; then run the command again."
                )
            seen = seen or bool(state)
            time.sleep(_POLL_SECONDS)
