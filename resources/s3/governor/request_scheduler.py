"""Decides which request is sent next: rates nested by prefix, fair queues, and the prefix that a 503 belongs to.

Pure like rate_control.py, which learns one rate, and prefix_tree.py, which holds them. A request is limited by the
bucket and by every folder down to one below `RateSettings.depth`: S3's real boundary may lie above or below it.
"""

from enum import IntEnum
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import Any

from resources.s3.governor.prefix_tree import Node, Path, Ticket
from resources.s3.governor.rate_control import RateSettings, Verb


class Outcome(IntEnum):
    """The outcome of a request; only THROTTLED lowers a rate."""

    ACCEPTED = 0  # a success, or an error that no retry changes
    THROTTLED = 1  # 503 SlowDown: nothing was applied
    FAILED = 2  # 500, reset, time-out: says nothing about the limit, and a write may have been applied
    WITHDRAWN = 3  # never sent: the client is gone, or the deadline passed


class RequestScheduler:
    """Submit, release and report tickets; the outcome of every ticket must be reported once."""

    def __init__(self, settings: RateSettings) -> None:
        self.settings = settings
        self._nodes: dict[tuple[Verb, Path], Node] = {}
        self._roots: dict[tuple[Verb, Path], Node] = {}
        self._order = count()
        self._leaf_length = settings.depth + 2  # bucket, `depth` segments, one below
        self.queued = 0

    # ---- submit and release

    def submit(
        self, now: float, path: Path, verb: Verb, cost: int = 1, retry: bool = False, payload: Any = None
    ) -> Ticket:
        """Submit one request on a key in the folder `path` = (bucket, segment, …); see `Ticket.released`."""
        place = path[: self._leaf_length]
        if len(place) < self._leaf_length:  # only leaves have queues, so that a folder does not delay its subfolders
            place += ("",) * (self._leaf_length - len(place))
        leaf = self._nodes.get((verb, place)) or self._add(now, place, verb)
        ticket = Ticket(leaf, path, cost, retry, payload)
        if leaf.queued or any(node.ready_at(now) > now or (node.queued and node.ready) for node in leaf.upward()):
            self._enqueue(ticket, leaf)
        else:
            self._send(now, ticket, waited=False)
        return ticket

    def release(self, now: float) -> list[Ticket]:
        """Return the queued requests that may be sent now, in order."""
        released: list[Ticket] = []
        if self.queued:
            for root in self._roots.values():
                while root.queued and (ticket := self._next(root, now)) is not None:
                    released.append(ticket)
        return released

    def next_release(self, now: float) -> float | None:
        """Return when to call `release` next, None if nothing is queued."""
        if not self.queued:
            return None
        return max(now, min(self._opens_at(root, now) for root in self._roots.values() if root.queued))

    def _send(self, now: float, ticket: Ticket, waited: bool) -> None:
        ticket.released = True
        ticket.released_at = now
        for node in ticket.node.upward():
            if node.gated:
                node.gated = False
                if ticket.bound is None:
                    ticket.bound = node
            node.charge(now, ticket.cost, waited)
            node.last_used = now

    def _enqueue(self, ticket: Ticket, leaf: Node) -> None:
        (leaf.retries if ticket.retry else leaf.fresh).append(ticket)
        self.queued += 1
        for node in leaf.upward():
            node.queued += 1
            if node.parent is not None and not node.listed:
                node.listed = True
                node.tag = max(node.tag, node.parent.clock)
                heappush(node.parent.ready, (node.tag, next(self._order), node))

    def _dequeue(self, ticket: Ticket) -> None:
        self.queued -= 1
        for node in ticket.node.upward():
            node.queued -= 1

    def _next(self, root: Node, now: float) -> Ticket | None:
        if root.ready_at(now) > now:
            root.gated = True
            return None
        ticket = self._pick(root, now)
        if ticket is not None:
            self._dequeue(ticket)
            self._send(now, ticket, waited=True)
        return ticket

    def _pick(self, node: Node, now: float) -> Ticket | None:
        """Return the next ticket below `node`, which may send; set children aside until their rate lets them send."""
        for queue in (node.retries, node.fresh):
            while queue:
                ticket = queue.popleft()
                if not ticket.reported:
                    return ticket
        while node.waiting and node.waiting[0][0] <= now:
            child = heappop(node.waiting)[2]
            heappush(node.ready, (child.tag, next(self._order), child))
        while node.ready:
            tag, _, child = node.ready[0]
            if not child.queued:
                heappop(node.ready)
                child.listed = False
                continue
            opens_at = child.ready_at(now)
            if opens_at > now:
                child.gated = True
            else:
                found = self._pick(child, now)
                if found is not None:
                    node.clock = tag
                    child.tag = tag + found.cost
                    heapreplace(node.ready, (child.tag, next(self._order), child))
                    return found
                opens_at = self._opens_at(child, now)
            heappop(node.ready)
            heappush(node.waiting, (max(opens_at, now + 1e-6), next(self._order), child))
        return None

    def _opens_at(self, node: Node, now: float) -> float:
        own = node.ready_at(now)
        if node.ready or not node.waiting:
            return own
        return max(own, node.waiting[0][0])

    # ---- answers

    def report(self, now: float, ticket: Ticket, outcome: Outcome) -> None:
        """Report the outcome of a ticket; a second report has no effect."""
        if ticket.reported:
            return
        ticket.reported = True
        if not ticket.released:
            self._dequeue(ticket)
        elif outcome is Outcome.ACCEPTED:
            for node in ticket.node.upward():
                node.in_flight -= 1
                node.accepts += ticket.cost
                node.note(False, False, ticket.released_at)
                node.accepted(now, ticket.released_at, ticket.cost, ticket.bound is node)
        else:
            self._report_refused(now, ticket, outcome)

    def _report_refused(self, now: float, ticket: Ticket, outcome: Outcome) -> None:
        throttled = outcome is Outcome.THROTTLED
        probed = [
            node for node in ticket.node.upward() if node.misses > 1
        ]  # only refused since their last accepted request
        unused = ticket.cost - 1 if throttled else ticket.cost if outcome is Outcome.WITHDRAWN else 0
        for node in ticket.node.upward():
            node.in_flight -= 1
            if throttled:
                node.rejects += 1
                node.note(True, not probed, ticket.released_at)
            if unused:
                self._refund(now, node, unused)
        if not throttled:
            for node in probed:
                node.probe_failed()
            return
        for node in probed or [self._limiting_node(ticket)]:  # a 503 of a probe belongs to the probed nodes
            node.throttled(now, ticket.released_at)

    def _refund(self, now: float, node: Node, cost: int) -> None:
        node.refund(now, cost)
        parent = node.parent
        if parent is not None and node.queued:  # children may send sooner than they were set aside for
            for _, _, child in parent.waiting:
                heappush(parent.ready, (child.tag, next(self._order), child))
            parent.waiting.clear()

    def _limiting_node(self, ticket: Ticket) -> Node:
        """Return the node whose limit most likely caused a 503.

        The first guess is the known limit that the request waited for, whose growth caused the 503. A child that is
        refused far more often than its siblings has a limit of its own. Without a known limit it is the prefix at
        `depth`, or a node above it several of whose children are refused and none is accepted.
        """
        nodes = list(ticket.node.upward())
        bound = ticket.bound
        if bound is None or not bound.known:
            known = [node for node in nodes if node.known]
            bound = min(known, key=lambda node: node.rate) if known else None
        at = nodes.index(bound) if bound is not None else max(0, len(nodes) - 1 - self.settings.depth)
        for below in range(at):
            if nodes[below].stands_out():
                return nodes[below]
        if not (nodes[at].known and nodes[at].misses):
            for above in range(at + 1, len(nodes)):
                if nodes[above].refused_children:
                    at = above
        return nodes[at]

    # ---- the tree

    def _add(self, now: float, path: Path, verb: Verb) -> Node:
        if len(self._nodes) >= self.settings.max_nodes:
            self._evict()
        parent = self._nodes.get((verb, path[:-1])) or (self._add(now, path[:-1], verb) if len(path) > 1 else None)
        ceiling = self.settings.ceiling(verb) if len(path) > self.settings.depth else 1e6
        node = self._nodes[(verb, path)] = Node(path, verb, parent, self.settings, ceiling)
        node.last_used = now
        if parent is None:
            self._roots[(verb, path)] = node
        else:
            parent.children += 1
        return node

    def _evict(self) -> None:
        """Forget a tenth of the nodes: idle ones, those without a learned limit first, then the longest unused."""
        idle = [node for node in self._nodes.values() if not (node.children or node.queued or node.in_flight)]
        idle.sort(key=lambda node: (node.known, node.last_used))
        for node in idle[: max(1, self.settings.max_nodes // 10)]:
            del self._nodes[(node.verb, node.path)]
            if node.parent is None:
                del self._roots[(node.verb, node.path)]
            else:
                node.parent.children -= 1

    # ---- what is known

    def rate(self, path: Path, verb: Verb) -> float:
        """Return the lowest rate from the bucket down to `path`, in requests/s."""
        lengths = range(1, min(len(path), self._leaf_length) + 1)
        rates = [node.rate for length in lengths if (node := self._nodes.get((verb, path[:length]))) is not None]
        return min(rates, default=min(self.settings.initial, self.settings.ceiling(verb)))

    def nodes(self) -> list[Node]:
        """Return all nodes that are remembered."""
        return list(self._nodes.values())

    def to_json(self, now: float, wall: float) -> dict[str, Any]:
        """Return the learned limits as JSON values; `wall` is the time in seconds since 1970."""
        return {
            "format": 1,
            "limits": [
                {
                    "path": list(node.path),
                    "verb": str(node.verb),
                    "rate": node.rate,
                    "at": wall - (now - node.last_used),
                }
                for node in self._nodes.values()
                if node.known
            ],
        }

    def restore(self, json: Any, now: float, wall: float) -> None:
        """Restore limits from `to_json`, except those older than a day. Raises ValueError, with nothing restored."""
        try:
            if json["format"] != 1:
                raise ValueError("unknown format")
            found = [
                (tuple(map(str, item["path"])), Verb(item["verb"]), float(item["rate"]), float(item["at"]))
                for item in json["limits"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the saved limits are damaged: {error!r}") from error
        for path, verb, rate, at in found:
            if path and 0 <= wall - at < self.settings.stale_after and 0 < rate < 1e6:
                place = path[: self._leaf_length]
                node = self._nodes.get((verb, place)) or self._add(now, place, verb)
                node.restore(rate)
                node.last_used = now - (wall - at)
