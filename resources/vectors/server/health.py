"""The nodes behind a Qdrant server: which are there, what they run, what they hold; and what is wrong with that."""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from qdrant_client import models

from resources.vectors.server.address import client_of, shown_address
from resources.vectors.server.calls import QdrantCalls, RetryPolicy
from resources.vectors.values import CollectionMissingError, VectorIndexError

NODE_TIMEOUT_SECONDS = 5
_ONCE = RetryPolicy(attempts=1)
_ABSENT = (
    "Look at its pod (pending: capacity, volumes, image pull), at the StorageClass (block storage, there beforehand) "
    "and at port 6335 between peers; in hybrid cloud at the agent's outbound 443, and whether its install command was "
    "generated anew or its secrets were rotated"
)


@dataclass(frozen=True)
class Replica:
    """A shard's copy on one peer; ``points`` only where that peer itself was asked."""

    shard: int
    peer: int
    state: str
    points: int | None = None


@dataclass(frozen=True)
class Node:
    """What one address answered: its version, its own peer id, the peers that it knows, the replicas that it sees.

    ``error`` is a sentence when it did not answer, and the rest is empty then.
    """

    address: str
    error: str = ""
    version: str = ""
    peer: int = 0
    peers: frozenset[int] = frozenset()
    replicas: tuple[Replica, ...] = ()


@dataclass(frozen=True)
class Cluster:
    """The nodes that were asked, which are all that are expected when ``is_complete``."""

    nodes: tuple[Node, ...]
    is_complete: bool

    @property
    def answering(self) -> list[Node]:
        """The nodes that answered."""
        return [node for node in self.nodes if not node.error]

    def absent(self) -> list[str]:
        """A sentence for each expected node that does not answer or that another does not count as a peer."""
        found = [f"{node.address} does not answer ({node.error}). {_ABSENT}." for node in self.nodes if node.error]
        for node in self.answering if self.is_complete else []:
            if len(node.peers) < len(self.nodes):
                known = f"{node.address} knows {len(node.peers)} of {len(self.nodes)} expected nodes"
                found.append(f"{known}. {_ABSENT}.")
        return found

    def inactive(self) -> list[str]:
        """A sentence for each replica that any node sees in another state than active."""
        odd = {(r.shard, r.peer, r.state) for node in self.answering for r in node.replicas if r.state != "Active"}
        return [
            f"Shard {shard} on peer {peer} is {state}. Look at that node's log and disk; a dead replica recovers from "
            f"the others once its node is back."
            for shard, peer, state in sorted(odd)
        ]

    def unequal(self) -> list[str]:
        """A sentence for each shard whose replicas hold different numbers of points."""
        held: defaultdict[int, dict[int, int]] = defaultdict(dict)
        for node in self.answering:
            held_here = {r.shard: r.points for r in node.replicas if r.peer == node.peer and r.points is not None}
            for shard, points in held_here.items():
                held[shard][node.peer] = points
        return [
            f"Shard {shard} holds {', '.join(f'{points:,} points on peer {peer}' for peer, points in of.items())}. "
            f"Wait for shard transfers to end; if it stays so, drop the smaller replica and let it be made anew."
            for shard, of in sorted(held.items())
            if len(set(of.values())) > 1
        ]

    def skewed(self) -> list[str]:
        """One sentence when nodes run different versions."""
        versions = {node.address: node.version for node in self.answering}
        if len(set(versions.values())) < 2:
            return []
        told = ", ".join(f"{address} runs {version}" for address, version in versions.items())
        return [f"Versions differ: {told}. Finish the rolling upgrade, one minor version at a time."]


def read_cluster(url: str, api_key: str, expected: Sequence[str], collection: str) -> Cluster:
    """Ask every expected node, or the one at ``url`` where none is named; none is waited for more than some seconds."""
    addresses = list(expected) or [url]
    for address in addresses:
        shown_address("CIPPUS_QDRANT_NODES" if expected else "QDRANT_URL", address)
    with ThreadPoolExecutor(len(addresses)) as pool:
        nodes = pool.map(lambda address: _read(address, api_key, collection), addresses)
        return Cluster(tuple(nodes), is_complete=bool(expected))


def _read(address: str, api_key: str, collection: str) -> Node:
    client = client_of(address, api_key, NODE_TIMEOUT_SECONDS)
    call = QdrantCalls(address, collection, _ONCE)
    try:
        version, status = call(client.info).version, call(client.cluster_status)
        found = [call(client.collection_cluster_info, collection)]
    except CollectionMissingError:
        found = []  # the node is there, and nothing is served yet
    except VectorIndexError as error:
        return Node(address, error=str(error).rstrip("."))
    finally:
        client.close()
    replicas = [
        *(
            Replica(s.shard_id, info.peer_id, s.state.value, s.points_count)
            for info in found
            for s in info.local_shards
        ),
        *(Replica(s.shard_id, s.peer_id, s.state.value) for info in found for s in info.remote_shards),
    ]
    if isinstance(status, models.ClusterStatusOneOf1):
        peer, peers = status.peer_id, frozenset(int(known) for known in status.peers)
    else:  # a single node: Qdrant without its distributed mode
        peer, peers = 0, frozenset({0})
    return Node(address, "", version, found[0].peer_id if found else peer, peers, tuple(replicas))
