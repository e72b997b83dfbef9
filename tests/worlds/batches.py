"""An asset that sends requests in batches, run after run, while processes end and a provider fails.

Everything is in this process and on one clock. The asset's table is a dictionary: what it has taken in.
"""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from resources.catalogues.prices import PriceFile, Rate
from resources.llm.answers import Answers
from resources.llm.batches.bedrock import BedrockBatches
from resources.llm.batches.book import Book
from resources.llm.batches.jobs import Jobs
from resources.llm.batches.lane import BatchLane
from resources.llm.batches.openai_api import TOGETHER, Dialect, OpenAiBatches
from resources.llm.batches.provider import BatchProvider
from resources.llm.completions import Prices
from resources.llm.endpoint import Endpoint
from resources.llm.request import Answer, Message, Request, Unanswered
from resources.spend.account import PROJECT
from resources.spend.ledger import Ledger
from resources.spend.prices import Lane, PriceBook
from resources.spend.spender import Spender
from resources.spend.store import UncertainWriteError
from tests.fakes.batch_server import BatchAccount
from tests.fakes.bedrock_server import BUCKET, ROLE, BedrockAccount
from tests.fakes.spend_store import START, MemoryStore, SimulatedCrash
from tests.worlds.spend import ASSET, MODEL, PROVIDER

REQUESTS = [
    Request(
        [Message("user", f"post {number} " * (number % 5 + 1))],
        16 + number,
        {"type": "object"},
        account_ids=[f"a{number}"],
    )
    for number in range(7)
]
PER_TOKEN = Decimal("0.0000005")
_RATE = {"provider": PROVIDER, "model": MODEL, "input": 1, "output": 1, "batch_input": "0.5", "batch_output": "0.5"}
RATES = PriceFile(models=(Rate.model_validate({**_RATE, "source": "the test", "date": START.date()}),))
PRICES = Prices(PriceBook(RATES), PROVIDER, MODEL, Lane.BATCH)


@dataclass
class BatchWorld:
    """``crash_at``: steps, counted over writes and requests, before which the process ends."""

    fault: str = ""
    times: int = 1
    provider: str = "openai"
    crash_at: Sequence[int] = ()
    lose_writes_at: Sequence[int] = ()
    ceiling: Decimal = Decimal(1)
    most_lines: int = 1_000
    least: int = 1
    scope: str = "0"
    table: dict[str, Answer | Unanswered] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    runs: int = 0
    crashes: int = 0

    def __post_init__(self) -> None:
        self.store = MemoryStore()
        self.store.before_write = lambda _key: self._step()
        self.store.after_write = lambda _key: self._write_lost()
        given = PER_TOKEN, lambda: self.store.now, self.fault, self.times, self.provider == "together"
        if self.provider == "bedrock":
            self.account: BatchAccount = BedrockAccount(*given, self.most_lines, self._step, store=self.store)
        else:
            self.account = BatchAccount(*given, self.most_lines, self._step)
        self.ledger = Ledger(self.store, {PROJECT: self.ceiling}, sleep=lambda _seconds: None)

    def _step(self) -> None:
        self.steps += 1
        if self.steps in self.crash_at:
            raise SimulatedCrash

    def _write_lost(self) -> None:
        self._step()
        if self.steps in self.lose_writes_at:
            raise UncertainWriteError("the answer was lost")

    def lane(self) -> BatchLane:
        self.runs += 1
        spender = Spender(self.ledger, f"run{self.runs}", ASSET, MODEL, patience_seconds=0)
        book = Book(self.store, ASSET, self.scope)
        return BatchLane(Jobs(book, self._api(), PRICES, spender), Answers(self.store, ASSET), MODEL)

    def _api(self) -> BatchProvider:
        if isinstance(self.account, BedrockAccount):
            found = BedrockBatches(self.account.client, self.store, BUCKET, MODEL, ROLE)
            found.limits = replace(found.limits, least=self.least)
            return found
        endpoint = Endpoint("http://provider.test/v1", MODEL, kind="LLM", transport=self.account.transport())
        return OpenAiBatches(endpoint, TOGETHER if self.provider == "together" else Dialect())

    def run(self, requests: Sequence[Request] = REQUESTS, minutes: int = 15) -> None:
        """One run of the asset; afterwards the clock goes on."""
        try:
            with self.lane() as lane:
                known = list(lane.find([id_ for id_ in self.waiting if id_ not in self.table]))
                self._take(known)
                seen = {found.id for found in known} | self.table.keys()
                fresh = [request for request in requests if request.id(MODEL) not in seen]
                self.waiting.update({request.id(MODEL): "" for request in fresh})
                self._take(list(lane.ask(fresh)))
                lane.forget(list(self.table))
        except SimulatedCrash:
            self.crashes += 1
        except UncertainWriteError:
            pass
        self.store.now += dt.timedelta(minutes=minutes)

    def _take(self, found: Sequence[Answer | Unanswered]) -> None:
        for each in found:
            if isinstance(each, Answer) or each.is_final:
                self.table[each.id] = each
            else:
                self.waiting[each.id] = each.reason

    def play(self, most_runs: int = 30) -> "BatchWorld":
        """Run until every request is taken in, and nothing of a batch is left."""
        while self.runs < most_runs and (len(self.table) < len(REQUESTS) or any(self.left())):
            self.run()
        return self

    def left(self) -> list[str]:
        """Return what is left of batches: objects here except the page, and files at the provider."""
        own = [key for key in self.store.objects if key.startswith("llm/") and not key.endswith("/jobs.json")]
        return own + list(self.account.files)

    @property
    def answers(self) -> dict[str, str]:
        return {id_: found.text for id_, found in self.table.items() if isinstance(found, Answer)}

    @property
    def charged(self) -> Decimal:
        self.ledger.seal_stale(older_than=dt.timedelta(days=-9))
        return self.ledger.account().amount(PROJECT)

    def paid_twice(self) -> list[str]:
        counts = Counter(id_ for id_, _ in self.account.bills)
        return [id_ for id_, count in counts.items() if count > 1]

    def problems(self) -> list[str]:
        """Return what went wrong; nothing if the ledger is the provider's account and every paid answer is taken in."""
        found = []
        if self.charged != self.account.usd:
            found.append(f"{self.charged} charged, {self.account.usd} billed")
        if self.paid_twice() and self.fault != "done: worked twice":
            found.append(f"paid twice: {self.paid_twice()}")
        billed = {id_ for id_, _ in self.account.bills}
        if missing := billed - self.answers.keys() - self.account.lost:
            found.append(f"paid and not taken in: {missing}")
        if open_ := {request.id(MODEL) for request in REQUESTS} - self.table.keys():
            found.append(f"{len(open_)} requests are open after {self.runs} runs: {set(self.waiting.values())}")
        if self.left():
            found.append(f"left: {self.left()}")
        return found
