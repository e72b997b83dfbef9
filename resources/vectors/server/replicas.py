"""Give the shards of a cluster the replicas that they lack: a plan of steps, which can be shown before it is taken."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from qdrant_client import models

ACTIVE = models.ReplicaState.ACTIVE.value
States = Mapping[int, Mapping[int, str]]
"""Shard → peer → state of its replica, such as Active or Dead."""


def states_of(found: models.CollectionClusterInfo) -> States:
    """Return the replicas of a collection, as one node sees them."""
    states: dict[int, dict[int, str]] = {}
    for here in found.local_shards:
        states.setdefault(here.shard_id, {})[found.peer_id] = here.state.value
    for there in found.remote_shards:
        states.setdefault(there.shard_id, {})[there.peer_id] = there.state.value
    return states


def peers_of(status: models.ClusterStatus) -> dict[int, str]:
    """Return id → address between nodes of the peers that a node knows; none for a single server."""
    if not isinstance(status, models.ClusterStatusOneOf1):
        return {}
    return {int(peer): found.uri for peer, found in status.peers.items()}


def unreachable_of(status: models.ClusterStatus) -> frozenset[int]:
    """Return the peers to which a node could not send its last messages."""
    if not isinstance(status, models.ClusterStatusOneOf1):
        return frozenset()
    failed = {uri.rstrip("/") for uri in status.message_send_failures}
    return frozenset(peer for peer, uri in peers_of(status).items() if uri.rstrip("/") in failed)


@dataclass(frozen=True)
class Shards:
    """The replicas of one collection, of which each shard is meant to have ``wanted``."""

    collection: str
    wanted: int
    states: States

    def active(self, shard: int) -> list[int]:
        """Return the peers whose replica of a shard is active, sorted."""
        return sorted(peer for peer, state in self.states[shard].items() if state == ACTIVE)

    def lost(self) -> list[int]:
        """Return the shards without an active replica: their points are not to be had from the cluster."""
        return [shard for shard in sorted(self.states) if not self.active(shard)]

    def without(self, peers: Collection[int]) -> "Shards":
        """Return the same without the replicas of some peers."""
        left = {
            shard: {peer: state for peer, state in replicas.items() if peer not in peers}
            for shard, replicas in self.states.items()
        }
        return replace(self, states=left)


@dataclass(frozen=True)
class Removal:
    """Remove a peer that will not come back, with its replicas."""

    peer: int
    address: str

    def said(self) -> str:
        """Return what the step does."""
        return f"Remove peer {self.peer} ({self.address}), which will not come back, with its replicas."


@dataclass(frozen=True)
class Factor:
    """Change how many replicas the shards of a collection are meant to have."""

    collection: str
    replicas: int

    def said(self) -> str:
        """Return what the step does."""
        return f"Set the number of replicas of {self.collection} to {self.replicas}."


@dataclass(frozen=True)
class Copy:
    """Copy a replica of a shard to a peer that has none. With ``is_move`` it is deleted where it was."""

    collection: str
    shard: int
    source: int
    target: int
    is_move: bool = False

    def said(self) -> str:
        """Return what the step does."""
        verb = "Move" if self.is_move else "Copy"
        return f"{verb} shard {self.shard} of {self.collection} from peer {self.source} to peer {self.target}."


Step = Removal | Factor | Copy


@dataclass(frozen=True)
class ClusterState:
    """What the nodes know. ``peers``: id → address; ``unreachable``: those that another one cannot reach."""

    peers: Mapping[int, str]
    unreachable: frozenset[int] = frozenset()
    collections: tuple[Shards, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the state for the command."""
        return {
            "peers": [
                {"peer": peer, "address": address, "reachable": peer not in self.unreachable}
                for peer, address in sorted(self.peers.items())
            ],
            "collections": [
                {"collection": found.collection, "replicas": found.wanted, "shards": found.states, "lost": found.lost()}
                for found in self.collections
            ],
        }


@dataclass
class _Placing:
    """The replicas of one collection while a plan is made. Peers that nobody reaches get none."""

    shards: Shards
    peers: tuple[int, ...]
    steps: list[Copy] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._held = {shard: set(replicas) for shard, replicas in self.shards.states.items()}
        self._active = {shard: set(self.shards.active(shard)) & set(self.peers) for shard in self._held}

    def load(self) -> Counter[int]:
        """Return peer → number of its replicas, for peers that can be reached."""
        counted = Counter(dict.fromkeys(self.peers, 0))
        counted.update(peer for peers in self._held.values() for peer in peers if peer in self.peers)
        return counted

    def replicate(self) -> None:
        """Plan the copies that are missing, each from an active replica to the peer with the fewest replicas."""
        for shard in sorted(self._held):
            while len(self._held[shard]) < self.shards.wanted and self._active[shard]:
                load = self.load()
                free = [peer for peer in self.peers if peer not in self._held[shard]]
                if not free:
                    break
                self._put(shard, min(self._active[shard]), min(free, key=lambda peer: (load[peer], peer)))

    def level(self) -> None:
        """Plan moves from the peer with the most replicas to the one with the fewest, until they differ by one."""
        while True:
            load = self.load()
            most = max(self.peers, key=lambda peer: (load[peer], -peer), default=0)
            least = min(self.peers, key=lambda peer: (load[peer], peer), default=0)
            movable = [s for s in sorted(self._held) if most in self._active[s] and least not in self._held[s]]
            if load[most] - load[least] < 2 or not movable:
                return
            self._put(movable[0], most, least, is_move=True)

    def _put(self, shard: int, source: int, target: int, *, is_move: bool = False) -> None:
        self.steps.append(Copy(self.shards.collection, shard, source, target, is_move))
        self._held[shard].add(target)
        self._active[shard].add(target)
        if is_move:
            self._held[shard].discard(source)
            self._active[shard].discard(source)


def plan(state: ClusterState, gone: Collection[int] = (), replicas: int = 0) -> list[Step]:
    """Return the steps after which every shard with an active replica has as many replicas as are wanted.

    ``gone``: peers to remove, whose replicas are lost. ``replicas``: the wanted number, 0 for that of each collection.
    A replica that is dead counts: it recovers from the others once its node is back. A peer that joined gets replicas
    of the others. More replicas than peers are not planned.
    """
    steps: list[Step] = [Removal(peer, state.peers[peer]) for peer in sorted(gone)]
    peers = tuple(sorted(state.peers.keys() - set(gone) - state.unreachable))
    for found in state.collections:
        wanted = replicas or found.wanted
        if wanted != found.wanted:
            steps.append(Factor(found.collection, wanted))
        placing = _Placing(replace(found.without(gone), wanted=wanted), peers)
        placing.replicate()
        placing.level()
        steps += placing.steps
    return steps
