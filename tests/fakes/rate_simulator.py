"""A simulated S3 with request limits, hosts with a request scheduler each, and their clients. Seeded, without a clock.

`simulate(World(...))` returns a `Result`.
"""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Literal

from resources.s3.governor.prefix_tree import Ticket
from resources.s3.governor.rate_control import RateSettings, Verb
from resources.s3.governor.request_scheduler import Outcome, RequestScheduler

Kind = Literal["bucket", "fixed", "sliding"]
Path = tuple[str, ...]


class Partition:
    """One limit of the server: a token bucket, or at most `rate` in each fixed or sliding second."""

    def __init__(self, kind: Kind, rate: float, capacity_seconds: float) -> None:
        self.kind, self.capacity_seconds = kind, capacity_seconds
        self.rate = rate
        self.tokens = max(1.0, rate * capacity_seconds)
        self.seen = 0.0
        self.window, self.used, self.debt = -1, 0, 0
        self.log: deque[float] = deque()
        self.wanting, self.wanted_at, self.could_take = 0, 0.0, 0.0

    def want(self, now: float) -> None:
        self.permitted(now)
        self.wanting += 1

    def served(self, now: float) -> None:
        self.permitted(now)
        self.wanting -= 1

    def permitted(self, now: float) -> float:
        """Return what the limit allowed while requests waited."""
        if self.wanting:
            self.could_take += (now - self.wanted_at) * self.rate
        self.wanted_at = now
        return self.could_take

    def take(self, now: float, cost: int) -> bool:
        if self.kind == "bucket":  # a multi-delete may leave a debt
            capacity = max(1.0, self.rate * self.capacity_seconds)
            self.tokens = min(capacity, self.tokens + (now - self.seen) * self.rate)
            self.seen = now
            if self.tokens < min(cost, 1.0):
                return False
            self.tokens -= cost
            return True
        if self.kind == "fixed":
            if int(now) != self.window:
                self.window, self.used, self.debt = int(now), self.debt, 0
            if self.used + 1 > self.rate:
                return False
            self.used += 1
            self.debt += cost - 1  # of a multi-delete
            return True
        while self.log and self.log[0] <= now - 1.0:
            self.log.popleft()
        if len(self.log) + 1 > self.rate:
            return False
        self.log.extend([now] * cost)
        return True


@dataclass
class World:
    limit: float = 100.0
    kind: Kind = "bucket"
    capacity_seconds: float = 1.0
    boundary: int = 3  # how many elements of the path share one limit
    hosts: int = 1
    workers: int = 64  # per host
    seconds: float = 20.0
    rtt: float = 0.005
    jitter: float = 0.2  # each way takes rtt/2 times 1 ± jitter
    folders: tuple[Path, ...] = (("lake", "posts", "raw", "p0"),)
    weights: tuple[float, ...] | None = None
    open_rate: float | None = None  # arrivals/s per host instead of workers
    jumps: tuple[tuple[float, float], ...] = ()  # (time, new limit)
    idle: tuple[float, float] | None = None  # no requests between these times
    costs: tuple[int, ...] = (1,)
    settings: RateSettings = field(default_factory=RateSettings)
    seed: int = 1
    verb: Verb = Verb.WRITE


@dataclass
class Result:
    accepted: int  # by cost
    answers: int
    throttled: int
    goodput: float  # accepted / (limit x time x limited places)
    wasted: float  # 503s / answers
    fairness: float  # Jain's index over hosts
    by_folder: dict[Path, int]
    by_host: list[int]
    per_second: list[int]
    throttled_per_second: list[int]
    schedulers: list[RequestScheduler]
    sends: list[tuple[float, int, Path]]  # when, host, folder: of host 0 only


class Simulation:
    def __init__(self, world: World, on_send: Callable[[float, Ticket], None] | None = None) -> None:
        self.world = world
        self.random = random.Random(world.seed)  # noqa: S311 - a simulation
        self.events: list[tuple[float, int, Callable[[], None]]] = []
        self.order = count()
        self.now = 0.0
        self.partitions: dict[Path, Partition] = {}
        self.limit = world.limit
        self.schedulers = [RequestScheduler(world.settings) for _ in range(world.hosts)]
        self.timers: list[float] = [0.0] * world.hosts
        self.accepted: Counter[Path] = Counter()
        self.by_host = [0] * world.hosts
        size = int(world.seconds) + 1
        self.per_second, self.bad_per_second = [0] * size, [0] * size
        self.answers = self.throttled = 0
        self.on_send = on_send
        self.sends: list[tuple[float, int, Path]] = []

    def at(self, when: float, call: Callable[[], None]) -> None:
        heappush(self.events, (when, next(self.order), call))

    def run(self) -> Result:
        world = self.world
        for folder in world.folders:
            self._partition(folder)
        for when, limit in world.jumps:
            self.at(when, lambda limit=limit: self._jump(limit))  # type: ignore[misc]
        for host in range(world.hosts):
            start = self.random.uniform(0.0, 0.05)
            if world.open_rate is not None:
                self.at(start, lambda host=host: self._arrive(host))  # type: ignore[misc]
            else:
                for folder in self._assigned():
                    self.at(start, lambda host=host, folder=folder: self._ask(host, folder))  # type: ignore[misc]
        while self.events and self.events[0][0] <= world.seconds:
            self.now, _, call = heappop(self.events)
            call()
        return self._result()

    def _jump(self, limit: float) -> None:
        self.limit = limit
        for partition in self.partitions.values():
            partition.permitted(self.now)
            partition.rate = limit

    def _partition(self, path: Path) -> Partition:
        key = path[: self.world.boundary]
        found = self.partitions.get(key)
        if found is None:
            found = self.partitions[key] = Partition(self.world.kind, self.limit, self.world.capacity_seconds)
        return found

    def _assigned(self) -> list[Path]:
        """Return the folder of each worker, in proportion to the weights."""
        world = self.world
        weights = world.weights or (1.0,) * len(world.folders)
        each = world.workers / sum(weights)
        return [
            folder for folder, weight in zip(world.folders, weights, strict=True) for _ in range(round(weight * each))
        ]

    def _arrive(self, host: int) -> None:
        assert self.world.open_rate is not None
        self._ask(host, self.random.choices(self.world.folders, self.world.weights)[0])
        self.at(self.now + self.random.expovariate(self.world.open_rate), lambda: self._arrive(host))

    def _ask(self, host: int, folder: Path) -> None:
        world = self.world
        if world.idle and world.idle[0] <= self.now < world.idle[1]:
            self.at(world.idle[1], lambda: self._ask(host, folder))
            return
        self._partition(folder).want(self.now)
        cost = world.costs[0] if len(world.costs) == 1 else self.random.choice(world.costs)
        self._submit(host, folder, cost, retry=False)

    def _submit(self, host: int, folder: Path, cost: int, retry: bool) -> None:
        ticket = self.schedulers[host].submit(self.now, folder, self.world.verb, cost, retry)
        if ticket.released:
            self._send(host, ticket)
        else:
            self._arm(host)

    def _arm(self, host: int) -> None:
        when = self.schedulers[host].next_release(self.now)
        if when is not None and (self.timers[host] <= self.now or when < self.timers[host]):
            late = max(when, self.now) + self.random.uniform(0.0001, 0.001)
            self.timers[host] = late
            self.at(late, lambda: self._timer(host, late))

    def _timer(self, host: int, when: float) -> None:
        if self.timers[host] == when:
            self.timers[host] = 0.0
            for ticket in self.schedulers[host].release(self.now):
                self._send(host, ticket)
            self._arm(host)

    def _send(self, host: int, ticket: Ticket) -> None:
        if host == 0:
            self.sends.append((self.now, host, ticket.path))
        if self.on_send is not None:
            self.on_send(self.now, ticket)
        self.at(self.now + self._way(), lambda: self._serve(host, ticket))

    def _way(self) -> float:
        return self.world.rtt / 2 * self.random.uniform(1 - self.world.jitter, 1 + self.world.jitter)

    def _serve(self, host: int, ticket: Ticket) -> None:
        ok = self._partition(ticket.path).take(self.now, ticket.cost)
        self.at(self.now + self._way(), lambda: self._answer(host, ticket, ok))

    def _answer(self, host: int, ticket: Ticket, ok: bool) -> None:
        self.answers += 1
        second = int(self.now)
        self.schedulers[host].report(self.now, ticket, Outcome.ACCEPTED if ok else Outcome.THROTTLED)
        if ok:
            self._partition(ticket.path).served(self.now)
            self.accepted[ticket.path] += ticket.cost
            self.by_host[host] += ticket.cost
            self.per_second[second] += ticket.cost
            if self.world.open_rate is None:
                self._ask(host, ticket.path)
        else:
            self.throttled += 1
            self.bad_per_second[second] += 1
            self._submit(host, ticket.path, ticket.cost, retry=True)
        self._arm(host)

    def _result(self) -> Result:
        world = self.world
        permitted = sum(partition.permitted(world.seconds) for partition in self.partitions.values())
        accepted = sum(self.accepted.values())
        return Result(
            accepted, self.answers, self.throttled, accepted / permitted, self.throttled / max(self.answers, 1),
            jain(self.by_host), dict(self.accepted), self.by_host, self.per_second, self.bad_per_second,
            self.schedulers, self.sends,
        )  # fmt: skip


def jain(shares: Iterable[float]) -> float:
    """Return Jain's fairness index: 1 if all shares are equal, 1/n if one has everything."""
    found = list(shares)
    squares = sum(share * share for share in found)
    return sum(found) ** 2 / (len(found) * squares) if squares else 1.0


def simulate(world: World) -> Result:
    return Simulation(world).run()


SERVERS: dict[str, tuple[Kind, float]] = {
    "bucket .05s": ("bucket", 0.05),
    "bucket .25s": ("bucket", 0.25),
    "bucket 1s": ("bucket", 1.0),
    "bucket 2s": ("bucket", 2.0),
    "fixed": ("fixed", 0.0),
    "sliding": ("sliding", 0.0),
}
