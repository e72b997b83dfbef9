"""Erase accounts from real Qdrant nodes while others write: `QDRANT_BINARY=/path/to/qdrant make bench NAME=erasures`.

On one node and on three, two generations are filled. Accounts are erased one after the other, and a thread writes the
points of others meanwhile, to both generations. After each erasure no file of a node may have a word of the account.
"""

import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from random import Random
from statistics import median

import numpy as np
from rich.console import Console

from assets.erasure.points import delete_points
from resources.erasure.tombstones import KeyedHash, Subject
from resources.errors import InputError
from resources.vectors.generations import Generation, Generations, IndexConfig
from resources.vectors.resource import QdrantResource
from resources.vectors.values import IndexPoint, SparseVector
from tests.benchmarks import BenchResult, Target
from tests.cluster.nodes import BINARY, Nodes, started

DIMENSION, KEPT_ACCOUNTS, POINTS_OF_ACCOUNT = 1_024, 150, 8
"""A node has so many points of each account, so that every shard is larger than the logs that are written past."""
_WRITTEN, _WAIT_SECONDS = 8, 0.02
"""Points of a write, and the wait between writes."""


def measure(home: Path, console: Console, runs: int = 50, seed: int = 0) -> BenchResult:
    """Erase ``runs`` accounts on one node, then as many on three."""
    if not BINARY:
        message = "QDRANT_BINARY is not set: give it the path of a Qdrant server."
        raise InputError(message)
    figures, targets = dict[str, float](), dict[str, Target]()
    for count in (1, 3):
        with started(home / f"erasures-{count}", count) as nodes:
            found = Erasures(nodes, runs, Random(seed))  # noqa: S311  # not a secret
            found.run(console)
        named = f"{count} {'node' if count == 1 else 'nodes'}"
        figures |= {f"{name}, {named}": value for name, value in found.figures().items()}
        targets[f"accounts left in files, {named}"] = Target.at_most(0, len(found.left))
        targets[f"points of others lost or old, {named}"] = Target.at_most(0, found.wrong)
        targets[f"accounts in no file before, {named}"] = Target.at_most(0, found.unseen)
    return BenchResult("erasures", figures, targets)


@dataclass
class Erasures:
    """Accounts that are erased from some nodes, one after the other.

    ``left``: account → files that still have a word of it. ``unseen``: accounts of which no file had a word before.
    ``made_anew``: erasures after which a collection is to be made anew, as it or one of its segments is too small.
    """

    nodes: Nodes
    count: int
    draw: Random
    seconds: list[float] = field(default_factory=list)
    left: dict[str, list[str]] = field(default_factory=dict)
    unseen: int = 0
    made_anew: int = 0
    writes: int = 0
    wrong: int = 0
    written: dict[tuple[str, str], int] = field(default_factory=dict)

    def run(self, console: Console) -> None:
        """Fill, erase beside writes, and compare the points of others with what was written."""
        qdrant = QdrantResource(url=self.nodes.url, nodes=self.nodes.addresses)
        with qdrant.generations() as generations:
            for _ in range(2):
                self._fill(generations)
            with self._writing(qdrant):
                for number in range(self.count):
                    self._erase(generations, gone(number))
                    if (number + 1) % 10 == 0:
                        console.print(f"{len(self.nodes.nodes)} nodes: {number + 1} erased, {self.writes} writes")
            self.wrong = sum(self._wrong(generations, generation) for generation in generations.all())

    def figures(self) -> dict[str, float]:
        """Return the figures so far."""
        return {
            "accounts erased": float(len(self.seconds)),
            "accounts in no file before": float(self.unseen),
            "accounts left in files": float(len(self.left)),
            "erasures that need a new generation": float(self.made_anew),
            "median seconds an erasure": median(self.seconds),
            "most seconds an erasure": max(self.seconds),
            "writes of others meanwhile": float(self.writes),
            "points of others lost or old": float(self.wrong),
        }

    def _fill(self, generations: Generations) -> None:
        made = generations.create(IndexConfig("bench", DIMENSION, "bench"))
        index, shards = generations.open(made), len(self.nodes.nodes)
        accounts = chain(map(kept, range(KEPT_ACCOUNTS)), map(gone, range(self.count)))
        index.upsert(point for account in accounts for point in points_of(account, POINTS_OF_ACCOUNT * shards))
        index.optimize()
        generations.promote(made)

    def _erase(self, generations: Generations, account: str) -> None:
        """Erase an account as `cippus erase` does, and look into the files of all nodes."""
        self.unseen += not self._found(account)
        begun = time.perf_counter()
        delete_points(generations, Subject(f"account-of-{account}", KeyedHash(b"")))
        is_done = all(generations.purge(generation) for generation in generations.all())
        self.seconds.append(time.perf_counter() - begun)
        if not is_done:
            self.made_anew += 1
        elif found := self._found(account):
            self.left[account] = found

    def _found(self, account: str) -> list[str]:
        payload = payload_of(account, 0, 0)
        words = [str(payload[name]) for name in ("account_id", "handle", "post_id")]
        return [file for node in self.nodes.nodes for file in node.holds(*words, f"text of {account}")]

    @contextmanager
    def _writing(self, qdrant: QdrantResource) -> Iterator[None]:
        """Write points of other accounts to all generations until the end of the context."""
        ended, failed = threading.Event(), list[Exception]()

        def write() -> None:
            try:
                with qdrant.generations() as generations:
                    indexes = [(generation.name, generations.open(generation)) for generation in generations.all()]
                    while not ended.wait(_WAIT_SECONDS):
                        name, index = self.draw.choice(indexes)
                        account = kept(self.draw.randrange(KEPT_ACCOUNTS))
                        version = self.writes + 1
                        points = points_of(account, _WRITTEN, version)
                        index.upsert(points)
                        self.writes = version
                        self.written |= {(name, point.id): version for point in points}
            except Exception as error:  # raised where the erasures are
                failed.append(error)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        if failed:
            raise failed[0]

    def _wrong(self, generations: Generations, generation: Generation) -> int:
        """Return how many points of others are missing, or older than what was written last."""
        count = POINTS_OF_ACCOUNT * len(self.nodes.nodes)
        wanted = [point.id for number in range(KEPT_ACCOUNTS) for point in points_of(kept(number), count)]
        index = generations.open(generation)
        found = {point.id: point.payload for point in index.scroll_points()}
        others = {id_ for id_, payload in found.items() if str(payload["account_id"]).startswith("account-of-kept")}
        expected = {id_: self.written.get((generation.name, id_), 0) for id_ in wanted}
        fields = payload_of("", 0, 0).keys()
        wrong = [
            id_
            for id_, version in expected.items()
            if id_ in found and (found[id_]["version"] != version or found[id_].keys() != fields)
        ]
        return len(others ^ expected.keys()) + len(wrong)


def kept(number: int) -> str:
    """Return an account that stays."""
    return f"kept-{number:03}"


def gone(number: int) -> str:
    """Return an account that is erased."""
    return f"gone-{number:03}"


def points_of(account: str, count: int, version: int = 0) -> list[IndexPoint]:
    """Return points of an account, with words that no other account has."""
    draw = np.random.default_rng(version)
    vectors = draw.normal(size=(count, DIMENSION)).astype(np.float32).round(3)
    return [
        IndexPoint(
            str(uuid.uuid5(uuid.NAMESPACE_OID, f"{account}/{number}")),
            vectors[number],
            SparseVector.of([number], [1.0]),
            payload_of(account, number, version),
        )
        for number in range(count)
    ]


def payload_of(account: str, number: int, version: int) -> Mapping[str, object]:
    """Return the payload of an account's point."""
    return {
        "account_id": f"account-of-{account}",
        "account_bucket": number % 4,
        "handle": f"handle-of-{account}",
        "post_id": f"post-of-{account}-{number}",
        "text": f"text of {account}, {number}, which nobody else wrote",
        "version": version,
    }
