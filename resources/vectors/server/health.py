"""The nodes of a Qdrant cluster: version, peers and replicas of each, and a sentence for every problem."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from qdrant_client import models
from tenacity import stop_after_attempt

from resources.vectors.server.calls import RETRY, QdrantCalls, client_of, shown_address
from resources.vectors.server.replicas import peers_of, states_of, unreachable_of
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

    ``peers``: id → address between nodes. ``unreachable``: the peers to which it could not send its last messages.
    ``replicas``: how many the shards are meant to have. ``error`` is a sentence when the request failed; the other
    fields are empty then. ``stopped`` says why a node that answers takes part in no decision of the cluster.
    """

    address: str
    error: str = ""
    version: str = ""
    peers: Mapping[int, str] = field(default_factory=dict)
    unreachable: frozenset[int] = frozenset()
    shards: models.CollectionClusterInfo | None = None
    replicas: int = 1
    stopped: str = ""


@dataclass(frozen=True)
class Cluster:
    """The nodes that were asked; ``is_complete`` when they are all expected nodes.

    ``configured_replicas``: how many the shards are to have, 0 for as many as when the collection was made.
    """

    nodes: tuple[Node, ...]
    is_complete: bool
    configured_replicas: int = 0

    @property
    def replicas(self) -> int:
        """How many replicas every shard is meant to have."""
        return self.configured_replicas or max((node.replicas for node in self.answering), default=1)

    @property
    def answering(self) -> list[Node]:
        """The nodes that answered."""
        return [node for node in self.nodes if not node.error]

    @property
    def _shards(self) -> list[models.CollectionClusterInfo]:
        return [node.shards for node in self.answering if node.shards]

    def problems(self) -> list[str]:
        """Return a sentence for every problem of every kind."""
        return [*self.absent(), *self.inactive(), *self.missing(), *self.unequal(), *self.skewed()]

    def absent(self) -> list[str]:
        """Return a sentence for each expected node that failed, has stopped, or is not known to another one."""
        found = [f"{node.error}. {_ABSENT}." for node in self.nodes if node.error]
        for node in self.answering if self.is_complete else []:
            if len(node.peers) < len(self.nodes):
                known = f"{node.address} knows {len(node.peers)} of {len(self.nodes)} expected nodes"
                found.append(f"{known}. {_ABSENT}.")
        found += [
            f"{node.address} takes part in no decision of the cluster any more: {node.stopped.rstrip('.')}. "
            "Look at its disk and log, then restart it: it does not go on by itself."
            for node in self.answering
            if node.stopped
        ]
        return [*found, *self._gone()]

    def unreachable(self) -> set[int]:
        """Return the peers that some node cannot reach."""
        return {peer for node in self.answering for peer in node.unreachable}

    def _gone(self) -> list[str]:
        """Return a sentence for each peer that nobody reaches and that has a dead replica: its disk may be lost."""
        addresses = {peer: address for node in self.answering for peer, address in node.peers.items()}
        dead = {peer for _, peer, state in self._replicas() if state == models.ReplicaState.DEAD.value}
        return [
            f"Peer {peer} ({addresses[peer]}) is not reached, and its replicas are dead. If its disk is lost, its node "
            f"cannot start again: it ends at once with “peer URI … already used”. First remove the peer by `cippus "
            f"cluster --gone {peer} --apply`, then start the node again: it joins empty, and gets replicas by `cippus "
            f"cluster --apply`."
            for peer in sorted(self.unreachable() & dead & addresses.keys())
        ]

    def inactive(self) -> list[str]:
        """Return a sentence for each replica that any node sees in another state than active."""
        return [
            f"Shard {shard} on peer {peer} is {state}. Look at that node's log and disk; a dead replica recovers from "
            f"the others once its node is back."
            for shard, peer, state in sorted(self._replicas())
            if state != models.ReplicaState.ACTIVE.value
        ]

    def _replicas(self) -> set[tuple[int, int, str]]:
        """Return (shard, peer, state) of each replica, as any node sees it."""
        return {
            (shard, peer, state)
            for found in self._shards
            for shard, states in states_of(found).items()
            for peer, state in states.items()
        }

    def missing(self) -> list[str]:
        """Return a sentence for each shard that has fewer replicas, in any state, than it is meant to have."""
        held = Counter(shard for shard, _ in {(shard, peer) for shard, peer, _ in self._replicas()})
        return [
            f"Shard {shard} has {count} of {self.replicas} replicas. `cippus cluster` shows the steps that restore the "
            f"others, and takes them with --apply."
            for shard, count in sorted(held.items())
            if count < self.replicas
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


def read_cluster(url: str, api_key: str, expected: Sequence[str], collection: str, replicas: int = 0) -> Cluster:
    """Ask every expected node, or ``url`` when none is named, for at most NODE_TIMEOUT_SECONDS a call."""
    addresses = list(expected) or [url]
    for address in addresses:
        shown_address("CIPPUS_QDRANT_NODES" if expected else "QDRANT_URL", address)
    with ThreadPoolExecutor(len(addresses)) as pool:
        nodes = pool.map(lambda address: _read(address, api_key, collection), addresses)
        return Cluster(tuple(nodes), bool(expected), replicas)


def _read(address: str, api_key: str, collection: str) -> Node:
    client = client_of(address, api_key, NODE_TIMEOUT_SECONDS)
    call = QdrantCalls(address, collection, _ONCE)
    shards, replicas = None, 1
    try:
        version, status = call(client.info).version, call(client.cluster_status)
        with suppress(CollectionMissingError):  # the node is up, and nothing is served yet
            shards = call(client.collection_cluster_info, collection)
            replicas = call(client.get_collection, collection).config.params.replication_factor or 1
    except VectorIndexError as error:
        return Node(address, error=str(error).rstrip("."))
    finally:
        client.close()
    peers = peers_of(status)
    if not isinstance(status, models.ClusterStatusOneOf1):
        return Node(address, "", version, {0: address}, frozenset(), shards, replicas)
    return Node(address, "", version, peers, unreachable_of(status), shards, replicas, _stopped(status))


def _stopped(status: models.ClusterStatusOneOf1) -> str:
    """Return why a node's consensus has stopped, in the server's own words, or nothing."""
    consensus = status.consensus_thread_status
    if isinstance(consensus, models.ConsensusThreadStatusOneOf):
        return ""
    return consensus.err if isinstance(consensus, models.ConsensusThreadStatusOneOf2) else "its consensus has stopped"
