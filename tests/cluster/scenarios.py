"""A seeded run: a node has a fault at a random moment of an operation; it is mended, and one run puts all right."""

import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Thread

from assets.erasure.erase import erase
from assets.qdrant import promotion, reconciliation
from assets.qdrant.points import PointWriter, index_config_of
from resources.errors import CippusError
from resources.settings import bucket_count
from resources.vectors.generations import Generation, IndexConfig
from resources.vectors.resource import QdrantResource
from tests.cluster.nodes import Nodes, QdrantNode, restore
from tests.worlds.erasure import erasing
from tests.worlds.lineage import ACCOUNTS, World

OPERATIONS = ("fill", "update", "delete", "promote", "roll back", "reconcile", "erase")
FAULTS = ("killed", "stopped", "paused", "disk lost", "a fourth joins")
_RECOVERY_SECONDS = 90.0


class ScenarioError(AssertionError):
    """The collection is not what the lake says, or something was said in more than a sentence."""


@dataclass
class Scenario:
    """One run on a world whose collection is in ``nodes``. It ends as it began: three healthy nodes."""

    world: World
    nodes: Nodes
    seed: int
    said: list[str] = field(default_factory=list)
    embedded: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)  # noqa: S311  # not a secret
        self.operation = OPERATIONS[self.seed % len(OPERATIONS)]
        self.fault = FAULTS[self.seed // len(OPERATIONS) % len(FAULTS)]

    @property
    def name(self) -> str:
        """What happens."""
        return f"{self.operation}, and a node is {self.fault}".replace("is a fourth joins", "joins as the fourth")

    def go(self) -> None:
        """Run, mend, run again and verify. Raises ScenarioError."""
        node = self.draw.choice(self.nodes.nodes)
        delay = self.draw.uniform(0, 1.5)
        breaking = Thread(target=self._break, args=(node, delay))
        breaking.start()
        try:
            self._operate()
        except CippusError as error:
            self.said.append(str(error))
        finally:
            breaking.join()
        self._require_told(node)
        self._mend(node)
        self._wait_until_healthy()
        self._run()
        if self.operation == "erase":
            self._require_erased()
        self._verify()

    # What the operation is.

    def _operate(self) -> None:
        operate: dict[str, Callable[[], None]] = {
            "fill": self._fill, "update": self._update, "delete": self._delete, "promote": self._promote,
            "roll back": self._roll_back, "reconcile": self._reconcile, "erase": self._erase,
        }  # fmt: skip
        operate[self.operation]()

    def _fill(self) -> None:
        writer, config = self._writer(), self._config()
        with self.world.qdrant.generations() as generations:

            def fill(made: Generation) -> None:
                found = reconciliation.Reconciled(made.name)
                reconciliation.reconcile(generations.open(made), writer, range(bucket_count()), found, deep=False)

            promotion.rebuild(generations, config, writer, fill, self.world.qdrant.replica_problems)

    def _update(self) -> None:
        account = self.draw.choice(ACCOUNTS[2:])
        statement = "UPDATE posts SET text = text || %s, updated_at = clock_timestamp() WHERE account_id = %s"
        self.world.execute(statement, f" {self.seed}", account)
        self._run(may_fail=True)

    def _delete(self) -> None:
        statement = "UPDATE posts SET deleted_at = %s, updated_at = clock_timestamp() WHERE account_id = %s"
        deleted = "2024-04-01" if self.draw.random() < 0.5 else None
        self.world.execute(statement, deleted, self.draw.choice(ACCOUNTS[2:]))
        self._run(may_fail=True)

    def _promote(self) -> None:
        before = self.world.qdrant
        other = "scalar" if before.quantization == "none" else "none"
        self.world.__dict__["qdrant"] = QdrantResource(url=before.url, nodes=before.nodes, quantization=other)
        self._run(may_fail=True)

    def _roll_back(self) -> None:
        with self.world.qdrant.generations() as generations:
            if generations.previous() is not None:
                generations.roll_back()

    def _reconcile(self) -> None:
        with self.world.qdrant.generations() as generations:
            serving = generations.serving()
            if serving is None:
                return
            index, found = generations.open(serving), reconciliation.Reconciled(serving.name)
            index.delete([hashes.id for hashes in index.scroll_hashes()][:: self.draw.randint(2, 5)])
            reconciliation.reconcile(index, self._writer(), range(bucket_count()), found, deep=False)

    @property
    def _erased(self) -> tuple[str, str]:
        """The account that is erased, and a text of it."""
        return f"gone-{self.seed}", f"canary-of-{self.seed}"

    def _erase(self) -> None:
        """Extract a new account and erase it: the fault may be in the run or in the erasure."""
        account, text = self._erased
        self.world.execute(
            "INSERT INTO accounts (account_id, network, handle, updated_at) VALUES (%s, 'x', %s, clock_timestamp())",
            account, account,
        )  # fmt: skip
        self.world.execute(
            "INSERT INTO posts (post_id, account_id, network, text, updated_at) "
            "VALUES (%s, %s, 'x', %s, clock_timestamp())",
            f"{account}/0", account, f"{text} cooks vegan food for friends",
        )  # fmt: skip
        self._run(may_fail=True)
        try:
            erase(erasing(self.world), account, [text], ahead=True)
        except AssertionError as error:  # a run of the erasure failed
            self.said.append(self._sentence(str(error)))

    def _require_erased(self) -> None:
        """Erase once more, as a person does after a failure, and look into the files of all nodes."""
        account, text = self._erased
        receipt = erase(erasing(self.world), account, [text], ahead=True)
        left = {word: files for node in self.nodes.nodes for word in self._erased if (files := node.holds(word))}
        if not receipt.is_clean or left:
            raise ScenarioError(f"The account is left in {left or receipt.found_after}")

    def _run(self, *, may_fail: bool = False) -> None:
        report = self.world.run()
        self.embedded.update(self.world.embedded_texts)
        if report.success:
            return
        if not may_fail:
            raise ScenarioError(f"The run after the fault failed: {report.errors[0][-1500:]}")
        self.said.append(self._sentence(report.errors[0]))

    @staticmethod
    def _sentence(traceback: str) -> str:
        """Return the sentence that a person sees of a failed run; it must be one of ours."""
        last = [line for line in re.split(r"\n|\\n", traceback) if re.match(r"[A-Za-z_.]+Error: ", line)]
        if not last or not last[-1].startswith("resources."):
            raise ScenarioError(f"The run failed without a sentence: {traceback[-1500:]}")
        return last[-1].partition(": ")[2]

    # What happens to the node, and how it is mended.

    def _break(self, node: QdrantNode, delay: float) -> None:
        time.sleep(delay)
        if self.fault == "killed":
            node.end()
        elif self.fault == "stopped":
            node.end(signal.SIGTERM)
        elif self.fault == "paused":
            node.send(signal.SIGSTOP)
            time.sleep(self.draw.uniform(0.5, 4))
            node.send(signal.SIGCONT)
        elif self.fault == "disk lost":
            node.lose_disk()
        else:
            self.nodes.add()

    def _mend(self, node: QdrantNode) -> None:
        if self.fault in ("killed", "stopped"):
            node.start()
        elif self.fault == "disk lost":
            self._remove(node)
            node.bootstrap = next(one.uri for one in self.nodes.nodes if one.is_running)
            node.start()
            self.nodes.wait_for_consensus()
            self._restore()
        elif self.fault == "a fourth joins":
            self._restore()
            fourth = self.nodes.nodes.pop()
            fourth.lose_disk()
            self._remove(fourth)
            self._restore()

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

    def _restore(self) -> None:
        restore(self.world.qdrant)

    def _wait_until_healthy(self) -> None:
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

    # What must hold.

    def _require_told(self, node: QdrantNode) -> None:
        """Require that the check of the nodes says exactly one sentence of a node that is away."""
        found = self.world.qdrant.cluster()
        told = [] if found is None else [text for text in found.absent() if f"127.0.0.1:{node.http} " in text]
        if len(told) != (0 if node.is_running else 1):
            raise ScenarioError(f"Of the node {node.url}, which is {self.fault}, it was said: {told}")

    def _verify(self) -> None:
        writer = self._writer()
        with self.world.qdrant.generations() as generations:
            serving = generations.serving()
            if serving is None:
                raise ScenarioError("Nothing is served.")
            found = reconciliation.Reconciled(serving.name)
            reconciliation.reconcile(generations.open(serving), writer, range(bucket_count()), found, deep=True)
            points = generations.open(serving).count()
        if found.damage or points != found.points or not points:
            raise ScenarioError(f"{points} points instead of {found.points}; damage: {dict(found.damage)}")
        if twice := [text for text, count in self.embedded.items() if count > 1]:
            raise ScenarioError(f"Embedded more than once: {twice[:3]}")
        if self.operation not in ("update", "delete", "erase") and self.embedded:
            raise ScenarioError(f"Embedded: {list(self.embedded)[:3]}")
        if any("\n" in sentence for sentence in self.said):
            raise ScenarioError(f"More than a sentence: {self.said}")

    def _writer(self) -> PointWriter:
        return PointWriter(self.world.lake, self.world.embedding[0].model())

    def _config(self) -> IndexConfig:
        return index_config_of(self.world.embedding[0].model(), self.world.qdrant.quantization)


def serve_from(world: World, nodes: Nodes) -> None:
    """Let a world have its collection in a cluster, and fill it."""
    world.__dict__["qdrant"] = QdrantResource(url=nodes.url, nodes=nodes.addresses)
    world.run_well()
