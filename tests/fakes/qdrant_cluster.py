"""The nodes of a Qdrant cluster that share one set of points, and the faults that they may have."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from qdrant_client import QdrantClient

FAULTS = (
    "missing node", "lost disk", "dead replica", "missing replica", "unequal replicas", "version skew",
    "optimiser stuck", "optimiser failed", "401", "503", "slow", "reset", "full disk", "internal error", "bad request",
    "proxy", "alias race", "half-applied upsert", "consensus stopped",
)  # fmt: skip
DISK_FULL = "Service internal error: No space left on device: WAL buffer size exceeds available disk space"
PANIC = "Service internal error: task 12 panicked"
WRONG_VECTOR = "Wrong input: Vector dimension error: expected dim: 4, got 5"


@dataclass
class Cluster:
    """Nodes that share one set of points. ``faults`` may change at any time; the last node has those of a node.

    ``asked``: method and path of every request, in order.
    """

    addresses: list[str] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)
    released: threading.Event = field(default_factory=threading.Event)
    client: QdrantClient = field(default_factory=lambda: QdrantClient(":memory:"))
    lock: threading.Lock = field(default_factory=threading.Lock)
    bulk: dict[str, int] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The first node's address, which stands for the cluster's."""
        return self.addresses[0]

    @contextmanager
    def suffering(self, fault: str) -> Iterator[None]:
        """One fault for a while."""
        assert fault in FAULTS
        self.faults.add(fault)
        try:
            yield
        finally:
            self.released.set()
            self.faults.discard(fault)
            self.released = threading.Event()
