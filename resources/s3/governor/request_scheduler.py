"""Which request may go next: rates nested by path, fair queues between prefixes, and the blame for each 503.

Pure like rate_control.py, which learns one rate, and prefix_tree.py, which holds them. A request passes the rates of
the bucket and of every folder down to one below `RateSettings.depth`: S3's real boundary may lie above or below it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import Any

from resources.s3.governor.prefix_tree import Node, Path, Ticket, way
from resources.s3.governor.rate_control import Outcome, RateSettings, Verb

__all__ = ["Limit", "Outcome", "RateSettings", "RequestScheduler", "Ticket", "Verb"]


@dataclass(frozen=True, slots=True)
class Limit:
    """What is known of one place, for status and metrics."""

    path: Path  # ends with "" for what lies directly in a folder above the depth
    verb: Verb
    rate: float  # requests/s
    known: bool  # learned from a 503; otherwise the start value or what it grew to
    queued: int
    in_flight: int
    accepted: int
    throttled: int


class RequestScheduler:
    """Submit, release, settle: every ticket is settled exactly once, whatever became of it."""

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
        """Ask to send one request on a key in the folder `path` = (bucket, segment, …); see `released`."""
        place = path[: self._leaf_length]
        if len(place) < self._leaf_length:  # only leaves have queues, so that no folder is before those in it
            place += ("",) * (self._leaf_length - len(place))
        leaf = self._nodes.get((verb, place)) or self._add(now, place, verb)
        ticket = Ticket(leaf, path, cost, retry, now, payload)
        node: Node | None = leaf
        if not leaf.queued:
            while node is not None:
                if node.ready_at(now) > now or (node.queued and node.ready):
                    break
                node = node.parent
        if node is None:
            self._send(now, ticket, leaf, waited=False)
        else:
            self._enqueue(ticket, leaf)
        return ticket

    def release(self, now: float) -> list[Ticket]:
        """The queued requests that may go now, in order."""
        released: list[Ticket] = []
        if self.queued:
            for root in self._roots.values():
                while root.queued and (ticket := self._next(root, now)) is not None:
                    released.append(ticket)
        return released

    def next_release(self, now: float) -> float | None:
        """When `release` has something to do again, or None when nothing is queued."""
        if not self.queued:
            return None
        return max(now, min(self._opens_at(root, now) for root in self._roots.values() if root.queued))

    def _send(self, now: float, ticket: Ticket, leaf: Node, waited: bool) -> None:
        ticket.released = True
        ticket.released_at = now
        node: Node | None = leaf
        while node is not None:
            if node.gated:
                node.gated = False
                if ticket.bound is None:
                    ticket.bound = node
            node.charge(now, ticket.cost, waited)
            node.last_used = now
            node = node.parent

    def _enqueue(self, ticket: Ticket, leaf: Node) -> None:
        (leaf.retries if ticket.retry else leaf.fresh).append(ticket)
        self.queued += 1
        node = leaf
        while True:
            node.queued += 1
            parent = node.parent
            if parent is None:
                return
            if not node.listed:
                node.listed = True
                node.tag = max(node.tag, parent.clock)
                heappush(parent.ready, (node.tag, next(self._order), node))
            node = parent

    def _next(self, root: Node, now: float) -> Ticket | None:
        if root.ready_at(now) > now:
            root.gated = True
            return None
        ticket = self._pick(root, now)
        if ticket is not None:
            leaf = ticket.node
            node: Node | None = leaf
            while node is not None:
                node.queued -= 1
                node = node.parent
            self.queued -= 1
            self._send(now, ticket, leaf, waited=True)
        return ticket

    def _pick(self, node: Node, now: float) -> Ticket | None:
        """The next ticket below `node`, which itself may send; children that may not are set aside until they may."""
        for queue in (node.retries, node.fresh):
            while queue:
                ticket = queue.popleft()
                if not ticket.settled:
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

    def settle(self, now: float, ticket: Ticket, outcome: Outcome, accepted_cost: int | None = None) -> None:
        """Report what became of a ticket, once; `accepted_cost`: how many keys of a multi-delete went through."""
        if ticket.settled:
            return
        ticket.settled = True
        if not ticket.released:
            self.queued -= 1
            for node in way(ticket):
                node.queued -= 1
        elif outcome is Outcome.ACCEPTED:
            accepted = ticket.cost if accepted_cost is None else accepted_cost
            for node in way(ticket):
                node.in_flight -= 1
                node.accepts += accepted
                node.note(False, False, ticket.released_at)
                node.accepted(now, ticket.released_at, accepted, ticket.bound is node)
        else:
            self._settle_refused(now, ticket, outcome)

    def _settle_refused(self, now: float, ticket: Ticket, outcome: Outcome) -> None:
        throttled = outcome is Outcome.THROTTLED
        probed = [node for node in way(ticket) if node.misses > 1]  # they had nothing but 503s lately
        unused = ticket.cost - 1 if throttled else ticket.cost if outcome is Outcome.WITHDRAWN else 0
        for node in way(ticket):
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
        for node in probed or [self._blame(ticket)]:  # a further 503 of a probe is no news
            node.throttled(now, ticket.released_at)

    def _refund(self, now: float, node: Node, cost: int) -> None:
        node.refund(now, cost)
        parent = node.parent
        if parent is not None and node.queued:  # it may go sooner than it was set aside for
            for _, _, child in parent.waiting:
                heappush(parent.ready, (child.tag, next(self._order), child))
            parent.waiting.clear()

    def _blame(self, ticket: Ticket) -> Node:
        """The place whose limit a 503 most likely told of.

        The first guess is the known limit that the request had waited for, because its growth is what caused the 503.
        A child that is refused far more than its siblings has a limit of its own. Without a known limit it is the
        prefix at `depth`, or a place above of which several children are refused and none is accepted.
        """
        places = list(way(ticket))
        bound = ticket.bound
        if bound is None or not bound.known:
            known = [node for node in places if node.known]
            bound = min(known, key=lambda node: node.rate) if known else None
        at = places.index(bound) if bound is not None else max(0, len(places) - 1 - self.settings.depth)
        for below in range(at):
            if places[below].stands_out():
                return places[below]
        if not (places[at].known and places[at].misses):
            for above in range(at + 1, len(places)):
                if places[above].refused_children:
                    at = above
        return places[at]

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
        """Forget a tenth of the places: idle ones, unknown limits first, then the longest unused."""
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
        """The lowest rate on the way to `path`, in requests/s."""
        rates = [node.rate for node in self._places(path, verb)]
        return min(rates, default=min(self.settings.initial, self.settings.ceiling(verb)))

    def _places(self, path: Path, verb: Verb) -> Iterator[Node]:
        for length in range(1, min(len(path), self._leaf_length) + 1):
            node = self._nodes.get((verb, path[:length]))
            if node is not None:
                yield node

    def limits(self) -> list[Limit]:
        """Every place that is remembered."""
        return [
            Limit(node.path, node.verb, node.rate, node.known, node.queued, node.in_flight, node.accepts, node.rejects)
            for node in self._nodes.values()
        ]

    def to_json(self, now: float, wall: float) -> dict[str, Any]:
        """The learned limits, as JSON values; `wall` is the time of day in seconds since 1970."""
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
        """Take up what `to_json` gave; limits older than a day are left out. ValueError: damaged, nothing was taken."""
        try:
            if json["format"] != 1:
                raise ValueError("unknown format")
            found = [
                (tuple(map(str, item["path"])), Verb(item["verb"]), float(item["rate"]), float(item["at"]))
                for item in json["limits"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the saved limits are damaged and were left out: {error!r}") from error
        for path, verb, rate, at in found:
            if path and 0 <= wall - at < self.settings.stale_after and 0 < rate < 1e6:
                place = path[: self._leaf_length]
                node = self._nodes.get((verb, place)) or self._add(now, place, verb)
                node.restore(rate)
                node.last_used = now - (wall - at)
