"""A seeded run: a node has a fault at a random moment of an operation; it is mended, and one run puts all right."""

import random
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from assets.erasure.erase import erase
from assets.qdrant import promotion, reconciliation
from assets.qdrant.points import PointWriter, index_config_of
from resources.errors import CippusError
from resources.settings import bucket_count
from resources.vectors.generations import Generation, IndexConfig
from resources.vectors.resource import QdrantResource
from tests.cluster.faults import FAULTS, Fault, ScenarioError
from tests.cluster.nodes import Nodes
from tests.worlds.erasure import erasing
from tests.worlds.lineage import World
from tests.worlds.lineage_rows import ACCOUNTS

OPERATIONS = ("fill", "update", "delete", "promote", "roll back", "reconcile", "erase")


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
        kind = FAULTS[self.seed // len(OPERATIONS) % len(FAULTS)]
        self.fault = Fault(self.world, self.nodes, kind, self.draw)

    @property
    def name(self) -> str:
        """What happens."""
        return f"{self.operation}, and {self.fault.name}"

    def go(self) -> None:
        """Run, mend, run again and verify. Raises ScenarioError."""
        with ThreadPoolExecutor(1) as pool:
            breaking = pool.submit(self.fault.happen)
            try:
                self._operate()
            except CippusError as error:
                self.said.append(str(error))
        breaking.result()
        self.said += self.fault.told()
        self.fault.mend()
        self.fault.wait_until_healthy()
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

    # What must hold.

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
