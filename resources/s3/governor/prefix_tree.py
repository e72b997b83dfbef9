"""The tree of prefixes that requests belong to: queues, turns of children, and recent refusals.

Pure data with the bookkeeping of one node; request_scheduler.py decides what to release and which node a 503 is
attributed to.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from resources.s3.governor.rate_control import LearnedRate, RateSettings, Verb

Path = tuple[str, ...]

ANSWERS_COMPARED = 100.0  # responses over which siblings are compared


@dataclass(slots=True, eq=False)
class Ticket:
    """One request's place in the queue; `payload` belongs to the caller."""

    node: "Node"
    path: Path
    cost: int
    retry: bool
    payload: Any
    released: bool = False
    released_at: float = 0.0
    reported: bool = False
    bound: "Node | None" = None  # the deepest node whose rate this request had to wait for


class Node(LearnedRate):
    """A prefix and verb: its rate, its queue (leaves only), the turns of its children (start-time fair queueing)."""

    __slots__ = (
        "accepts", "all_accepts", "all_refusals", "children", "clock", "epoch", "fresh", "gated", "last_used", "listed",
        "own_accepts", "own_refusals", "parent", "path", "queued", "ready", "refused_child", "refused_children",
        "refused_sent", "rejects", "retries", "seen_epoch", "tag", "verb", "waiting",
    )  # fmt: skip

    def __init__(self, path: Path, verb: Verb, parent: "Node | None", settings: RateSettings, ceiling: float) -> None:
        super().__init__(settings, ceiling)
        self.path = path
        self.verb = verb
        self.parent = parent
        self.children = 0
        self.queued = 0
        self.fresh: deque[Ticket] = deque()
        self.retries: deque[Ticket] = deque()
        self.ready: list[tuple[float, int, Node]] = []  # by virtual time: the child with the fewest requests is next
        self.waiting: list[tuple[float, int, Node]] = []  # by the time at which a blocked child may send
        self.listed = False  # in `ready` or `waiting` of the parent
        self.gated = False  # its own rate has blocked it since its last release
        self.tag = 0.0
        self.clock = 0.0
        self.last_used = 0.0
        self.accepts = 0
        self.rejects = 0
        self.own_accepts = self.own_refusals = 0.0  # this child's responses ...
        self.seen_epoch = 0
        self.all_accepts = self.all_refusals = 0.0  # ... and of all children, halved at each epoch
        self.epoch = 0
        self.refused_child: Node | None = None  # in a series of 503s without an accepted request:
        self.refused_sent = 0.0
        self.refused_children = 0  # ... how often another child that was not being probed was refused next

    def upward(self) -> Iterator["Node"]:
        """Yield this node and its ancestors up to the bucket: the nodes that limit a request here."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def note(self, refused: bool, fresh: bool, sent_at: float) -> None:
        """Count a response of this child among the parent's last hundred; a 503 is attributed by these counts."""
        parent = self.parent
        if parent is None:
            return
        if parent.all_accepts + parent.all_refusals >= ANSWERS_COMPARED:
            parent.all_accepts *= 0.5
            parent.all_refusals *= 0.5
            parent.epoch += 1
        if self.seen_epoch != parent.epoch:
            fading = 0.5 ** (parent.epoch - self.seen_epoch)
            self.own_accepts *= fading
            self.own_refusals *= fading
            self.seen_epoch = parent.epoch
        if refused:
            parent.all_refusals += 1.0
            self.own_refusals += 1.0
            if parent.refused_child is None:
                parent.refused_sent = sent_at
            elif parent.refused_child is not self and fresh:
                parent.refused_children += 1
            parent.refused_child = self
        else:
            parent.all_accepts += 1.0
            self.own_accepts += 1.0
            if parent.refused_child is not None and sent_at > parent.refused_sent:
                parent.refused_child = None
                parent.refused_children = 0

    def stands_out(self) -> bool:
        """Return whether this child is refused so much more often than its siblings that the limit must be its own."""
        parent = self.parent
        if parent is None or self.own_refusals < 2.5:
            return False
        others = parent.all_accepts + parent.all_refusals - self.own_accepts - self.own_refusals
        other_refusals = parent.all_refusals - self.own_refusals
        if others < 6.0:
            return False
        own_share = self.own_refusals / (self.own_accepts + self.own_refusals)
        return own_share * (others + 1.0) > 4.0 * (other_refusals + 1.0)
