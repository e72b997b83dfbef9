"""The nodes of a Qdrant cluster: version, peers and replicas of each, and a sentence for every problem."""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from qdrant_client import models
from tenacity import stop_after_attempt

from resources.vectors.server.calls import RETRY, QdrantCalls, client_of, shown_address
from resources.vectors.values import CollectionMissingError, VectorIndexError

NODE_TIMEOUT_SECONDS = 5
_ONCE = RETRY.copy(stop=stop_after_attempt(1))
_ABSENT = (
    "Look at its pod (pending: capacity, volumes, image pull), at the StorageClass (block storage, created beforehand) "
    "and at port 6335 between peers; in hybrid cloud at the agent's outbound 443, and whether its install command was "
    "generated again or its secrets were rotated"
)


@dataclass(frozen=True)
class Node:
    """The answer of one address: version, the peers that it knows, and the shards that it sees, if it has any.

    ``error`` is a sentence when the request failed; the other fields are empty then.
    """

    address: str
    error: str = ""
    version: str = ""
    peers: frozenset[int] = frozenset()
    shards: models.CollectionClusterInfo | None = None


@dataclass(frozen=True)
class Cluster:
    """The nodes that were asked; ``is_complete`` when they are all expected nodes."""

    nodes: tuple[Node, ...]
    is_complete: bool

    @property
    def answering(self) -> list[Node]:
        """The nodes that answered."""
        return [node for node in self.nodes if not node.error]

    @property
    def _shards(self) -> list[models.CollectionClusterInfo]:
        return [node.shards for node in self.answering if node.shards]

    def absent(self) -> list[str]:
        """Return a sentence for each expected node that failed or that another node does not know as a peer."""
        found = [f"{node.error}. {_ABSENT}." for node in self.nodes if node.error]
        for node in self.answering if self.is_complete else []:
            if len(node.peers) < len(self.nodes):
                known = f"{node.address} knows {len(node.peers)} of {len(self.nodes)} expected nodes"
                found.append(f"{known}. {_ABSENT}.")
        return found

    def inactive(self) -> list[str]:
        """Return a sentence for each replica that any node sees in another state than active."""
        replicas = {
            replica
            for shards in self._shards
            for replica in (
                *((shard.shard_id, shards.peer_id, shard.state.value) for shard in shards.local_shards),
                *((shard.shard_id, shard.peer_id, shard.state.value) for shard in shards.remote_shards),
            )
        }
        return [
            f"Shard {shard} on peer {peer} is {state}. Look at that node's log and disk; a dead replica recovers from "
            f"the others once its node is back."
            for shard, peer, state in sorted(replicas)
            if state != models.ReplicaState.ACTIVE.value
        ]

    def unequal(self) -> list[str]:
        """Return a sentence for each shard whose replicas hold different numbers of points."""
        stored: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for shards in self._shards:
            for shard in shards.local_shards:
                stored[shard.shard_id][shards.peer_id] = shard.points_count
        return [
            f"Shard {shard} holds {', '.join(f'{points:,} points on peer {peer}' for peer, points in by_peer.items())}."
            f" Wait for shard transfers to end; if they stay unequal, drop the smaller replica: Qdrant makes it again."
            for shard, by_peer in sorted(stored.items())
            if len(set(by_peer.values())) > 1
        ]

    def skewed(self) -> list[str]:
        """Return one sentence when nodes run different versions."""
        if len({node.version for node in self.answering}) < 2:
            return []
        versions = ", ".join(f"{node.address} runs {node.version}" for node in self.answering)
        return [f"Versions differ: {versions}. Finish the rolling upgrade, one minor version at a time."]


def read_cluster(url: str, api_key: str, expected: Sequence[str], collection: str) -> Cluster:
    """Ask every expected node, or ``url`` when none is named, for at most NODE_TIMEOUT_SECONDS a call."""
    addresses = list(expected) or [url]
    for address in addresses:
        shown_address("CIPPUS_QDRANT_NODES" if expected else "QDRANT_URL", address)
    with ThreadPoolExecutor(len(addresses)) as pool:
        nodes = pool.map(lambda address: _read(address, api_key, collection), addresses)
        return Cluster(tuple(nodes), is_complete=bool(expected))


def _read(address: str, api_key: str, collection: str) -> Node:
    client = client_of(address, api_key, NODE_TIMEOUT_SECONDS)
    call = QdrantCalls(address, collection, _ONCE)
    shards = None
    try:
        version, status = call(client.info).version, call(client.cluster_status)
        with suppress(CollectionMissingError):  # the node is up, and nothing is served yet
            shards = call(client.collection_cluster_info, collection)
    except VectorIndexError as error:
        return Node(address, error=str(error).rstrip("."))
    finally:
        client.close()
    peers = map(int, status.peers) if isinstance(status, models.ClusterStatusOneOf1) else [0]  # 0: a single node
    return Node(address, "", version, frozenset(peers), shards)
