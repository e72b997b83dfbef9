"""What happens to a node of a cluster while something is done, what must be said of it, and how it is mended."""

import random
import re
import signal
import time
from dataclasses import dataclass

from resources.vectors.values import VectorIndexError
from tests.cluster.nodes import Nodes, QdrantNode, restore
from tests.worlds.lineage import World

FAULTS = ("killed", "stopped", "paused", "disk lost", "a fourth joins", "disk full")
_RECOVERY_SECONDS = 90.0
_ALL_FULL = 0.5
"""Share of full disks that are those of all nodes. With one, the others take all writes, and its replicas are dead."""
_FULL = re.compile(r"the disk is full \(.*No space left on device")


class ScenarioError(AssertionError):
    """The collection is not what the lake says, or something was said in more than a sentence."""


@dataclass
class Fault:
    """One fault of a random node, which happens after a random while."""

    world: World
    nodes: Nodes
    kind: str
    draw: random.Random

    def __post_init__(self) -> None:
        self.node = self.draw.choice(self.nodes.nodes)
        self._delay = self.draw.uniform(0, 1.5)
        self._pause = self.draw.uniform(0.5, 4)
        self._full = self.nodes.nodes if self.draw.random() < _ALL_FULL else [self.node]

    @property
    def name(self) -> str:
        """What happens."""
        if self.kind == "disk full":
            return "the disks of all nodes are full" if len(self._full) > 1 else "a node has its disk full"
        if self.kind == "disk lost":
            return "a node has its disk lost"
        return "a node joins as the fourth" if self.kind == "a fourth joins" else f"a node is {self.kind}"

    @property
    def is_possible(self) -> bool:
        """Whether this machine has disks that may be filled."""
        return self.kind != "disk full" or all(node.has_small_disk for node in self.nodes.nodes)

    def happen(self) -> None:
        """Wait a while, then let it happen."""
        time.sleep(self._delay)
        if self.kind == "killed":
            self.node.end()
        elif self.kind == "stopped":
            self.node.end(signal.SIGTERM)
        elif self.kind == "paused":
            self.node.send(signal.SIGSTOP)
            time.sleep(self._pause)
            self.node.send(signal.SIGCONT)
        elif self.kind == "disk lost":
            self.node.lose_disk()
        elif self.kind == "disk full":
            for full in self._full:
                full.fill_disk()
        else:
            self.nodes.add()

    def mend(self) -> None:
        """Mend it as a person does."""
        if self.kind in ("killed", "stopped"):
            self.node.start()
        elif self.kind == "disk lost":
            self._remove(self.node)
            self.node.bootstrap = next(one.uri for one in self.nodes.nodes if one.is_running)
            self.node.start()
            self.nodes.wait_for_consensus()
            restore(self.world.qdrant)
        elif self.kind == "disk full":
            self._free_disks()
        elif self.kind == "a fourth joins":
            restore(self.world.qdrant)
            fourth = self.nodes.nodes.pop()
            fourth.lose_disk()
            fourth.unmount_disk()
            self._remove(fourth)
            restore(self.world.qdrant)

    def _free_disks(self) -> None:
        """Free the disks, and restart the nodes of which a check says that they do not go on by themselves."""
        for full in self._full:
            full.free_disk()
        found = self.world.qdrant.cluster()
        told = [] if found is None else [text for text in found.absent() if "then restart it" in text]
        for full in self._full:
            if any(text.startswith(full.url) for text in told):
                full.end(signal.SIGTERM)
                full.start(wait=False)
        for full in self._full:  # a node is ready when it is in step with the others, so all have to run
            full.wait()

    def _remove(self, node: QdrantNode) -> None:
        """Remove a node as `cippus cluster --gone --apply` does, as soon as the others do not reach it."""
        deadline = time.monotonic() + _RECOVERY_SECONDS
        while True:
            with self.world.qdrant.repair() as repair:
                state = repair.state()
                gone = [peer for peer in state.unreachable if state.peers[peer].rstrip("/") == node.uri]
            if gone:
                restore(self.world.qdrant, gone)
                return
            if time.monotonic() > deadline:
                raise ScenarioError(f"The others still reach {node.uri}.")
            time.sleep(0.5)

    def wait_until_healthy(self) -> None:
        """Wait until no check finds anything wrong with the cluster."""
        deadline = time.monotonic() + _RECOVERY_SECONDS
        while problems := self._problems():
            if time.monotonic() > deadline:
                raise ScenarioError(f"The cluster does not recover: {' '.join(problems)}")
            time.sleep(0.5)

    def _problems(self) -> list[str]:
        with self.world.qdrant.generations() as generations:
            names = [generation.name for generation in generations.all()]
        found = [self.world.qdrant.cluster(name) for name in names]
        return [told for one in found if one for told in one.problems()]

    def told(self) -> list[str]:
        """Return what is said of the fault while it lasts. Raises ScenarioError unless that is one sentence."""
        found = self.world.qdrant.cluster()
        told = [] if found is None else [text for text in found.absent() if f"127.0.0.1:{self.node.http} " in text]
        may_have_stopped = self.kind == "disk full" and len(told) == 1  # its consensus, and not its process
        if len(told) != (0 if self.node.is_running else 1) and not may_have_stopped:
            raise ScenarioError(f"Of the node {self.node.url}, which is {self.kind}, it was said: {told}")
        return [*told, *(self._told_of_full_disks() if self.kind == "disk full" else [])]

    def _told_of_full_disks(self) -> list[str]:
        """Write: the error has the server's own words, unless the servers have ended.

        If the other nodes take the writes, a check names the replicas.
        """
        try:
            with self.world.qdrant.open() as index:
                index.upsert(list(index.scroll_points()))
        except VectorIndexError as error:
            told = [str(error)]
            is_told = bool(_FULL.search(told[0])) or not any(node.is_running for node in self._full)
        else:
            told = self._problems()
            is_told = bool(told) and len(self._full) == 1
        if not is_told:
            raise ScenarioError(f"{self.name}, and it was said: {told}")
        return told[:1]
