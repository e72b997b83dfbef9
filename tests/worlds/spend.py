"""Two runs that spend money at once, crash at seeded points, and meet a provider with seeded faults.

Everything is in this process and on one clock, so a seed always does the same.
"""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from tenacity import stop_after_attempt, wait_none

from resources.catalogues.prices import PriceFile, Rate
from resources.llm.answers import Answers
from resources.llm.client import Llm, SpendingStoppedError
from resources.llm.completions import Completions, Prices
from resources.llm.endpoint import RETRY, Endpoint, EndpointError
from resources.llm.request import Answer, Message, Request, Unanswered
from resources.spend.account import PROJECT
from resources.spend.lease_log import LedgerUnavailableError
from resources.spend.ledger import Ledger
from resources.spend.prices import PriceBook
from resources.spend.spender import Spender
from resources.spend.store import UncertainWriteError
from tests.fakes.llm_server import FAULTS, Provider, transport
from tests.fakes.spend_store import START, MemoryStore, SimulatedCrash

ASSET, MODEL, PROVIDER = "summary/account_summaries", "tiny", "bench"
CHANGE = START.date() + dt.timedelta(days=1)
AT_ONCE = RETRY.copy(stop=stop_after_attempt(3), wait=wait_none())
PER_TOKEN = (Decimal("0.000001"), Decimal("0.0000037"))


def charged(store: MemoryStore) -> Decimal:
    """USD that the ledger has charged, at the bound where the bill is unknown."""
    return Ledger(store, {}).account().amount("project")


def price_file(times: int = 1) -> PriceFile:
    """Prices that change at the first midnight."""
    old, new = (price * 1_000_000 * times for price in PER_TOKEN)
    common = {"provider": PROVIDER, "model": MODEL, "source": "the bench", "date": START.date()}
    first = Rate.model_validate({**common, "input": old, "output": old})
    return PriceFile(models=(first, Rate.model_validate({**common, "input": new, "output": new, "from": CHANGE})))


def price_at(at: dt.datetime) -> Decimal:
    return PER_TOKEN[at.date() >= CHANGE]


def requests(count: int) -> list[Request]:
    return [Request([Message("user", f"post {number} " * (number % 5 + 1))], 16 + number) for number in range(count)]


BOOK = PriceBook(price_file())


@dataclass
class Outcome:
    """What one seed did."""

    seed: int
    crashes: int = 0
    lost_writes: int = 0
    faults: int = 0
    stopped: int = 0
    problems: list[str] = field(default_factory=list)


class World:
    """A seeded world: `play` it, and read the problems."""

    def __init__(self, seed: int, count: int = 8, crashes: int = 4) -> None:
        self.random = random.Random(seed)  # noqa: S311 -- a seeded test
        self.outcome = Outcome(seed)
        self.store = MemoryStore()
        self.store.before_write = lambda _key: self._step()
        self.store.after_write = lambda _key: self._step(after=True)
        self.provider = Provider(price_at, lambda: self.store.now, self._fault)
        self.transport = transport(self.provider)
        self.ceiling = Decimal(self.random.choice(["0.0004", "0.001", "0.01", "1"]))
        self.day_ceiling = self.ceiling * self.random.choice([Decimal("0.5"), Decimal(1)])
        self.ledger = Ledger(
            self.store, {"project": self.ceiling, "day": self.day_ceiling}, sleep=lambda _seconds: None
        )
        self.wanted = requests(count)
        self.crash_at = sorted(self.random.sample(range(1, 12 * count), crashes))
        self.steps, self.is_faulty = 0, True
        self.answered: dict[str, Answer] = {}

    def play(self) -> Outcome:
        """Play until both runs end, reconcile, and check. Then raise the ceiling and finish the work."""
        self._spend()
        self._check("first")
        self.is_faulty = False
        for scope in ("project", "day"):
            self.ledger.set_ceiling(scope, Decimal(100), "the test resumes", "tester")
        self._spend()
        self._check("resumed", Decimal(100))
        missing = {request.id(MODEL) for request in self.wanted} - set(self.answered)
        if missing:
            self._problem(f"{len(missing)} requests have no answer after the ceiling was raised")
        return self.outcome

    def _spend(self) -> None:
        runs = [self._run("a", self.wanted), self._run("b", self.wanted[::-1])]
        while runs:
            run = self.random.choice(runs)
            try:
                next(run)
            except StopIteration:
                runs.remove(run)

    def _run(self, name: str, wanted: list[Request]) -> Iterator[None]:
        """Ask for everything; after a crash, start again as another process."""
        for number in range(12):
            llm = self._llm(f"{name}{number}")
            try:
                self.ledger.seal_stale()
                for found in llm.ask(wanted):
                    if isinstance(found, Answer):
                        self.answered[found.id] = found
                    assert isinstance(found, Answer | Unanswered)
                    yield
                llm.close()
            except SimulatedCrash:
                self.outcome.crashes += 1
                self.store.now += dt.timedelta(minutes=self.random.choice([0, 1, 10]))
            except (EndpointError, LedgerUnavailableError, UncertainWriteError):
                self._close(llm)
            except SpendingStoppedError as stopped:
                self.outcome.stopped += 1
                if stopped.left < 1 or stopped.most_usd < stopped.likely_usd:
                    self._problem(f"{stopped.left} left, likely {stopped.likely_usd}, at most {stopped.most_usd}")
                self._close(llm)
                return
            else:
                return
            yield

    def _close(self, llm: Llm) -> None:
        try:
            llm.close()
        except (SimulatedCrash, LedgerUnavailableError, UncertainWriteError):
            self.outcome.crashes += 1

    def _llm(self, run: str) -> Llm:
        endpoint = Endpoint("http://provider.test/v1", MODEL, kind="LLM", transport=self.transport)
        completions = Completions(endpoint, Prices(BOOK, PROVIDER, MODEL), 1, finds_stored=True)
        spender = Spender(self.ledger, run, ASSET, MODEL, patience_seconds=0)
        return Llm(completions, spender, Answers(self.store, ASSET), requests=1, retry=AT_ONCE)

    def _step(self, *, after: bool = False) -> None:
        """A place where the process may end, an answer may be lost, or the clock may jump."""
        if not self.is_faulty:
            return
        self.steps += 1
        if self.crash_at and self.steps >= self.crash_at[0]:
            self.crash_at.pop(0)
            raise SimulatedCrash
        if self.random.random() < 0.02:
            self.store.now += dt.timedelta(seconds=self.random.choice([-7200, 30, 3600, 43_200]))
        if after and self.random.random() < 0.03:
            self.outcome.lost_writes += 1
            raise UncertainWriteError("the answer was lost")

    def _fault(self) -> str:
        self._step()
        if self.provider.usd > self.ceiling and self.is_faulty:
            self._problem(f"billed {self.provider.usd} above the ceiling {self.ceiling}")
        if not self.is_faulty or self.random.random() > 0.25:
            return ""
        self.outcome.faults += 1
        return self.random.choice(FAULTS)

    def _check(self, when: str, ceiling: Decimal | None = None) -> None:
        """Reconcile with the provider, and compare the ledger with its account, call by call."""
        was, self.is_faulty = self.is_faulty, False
        if self.provider.usd > (ceiling or self.ceiling):
            self._problem(f"{when}: billed {self.provider.usd}, ceiling {ceiling or self.ceiling}")
        self._check_days(when, ceiling or self.day_ceiling)
        self.provider.show_delayed()
        self.ledger.seal_stale(older_than=dt.timedelta(days=-9))
        llm = self._llm("reconciler")
        left = self.ledger.reconcile(lambda call: llm.fate(call, absent=True))
        llm.close()
        ledger = {record.call: record.usd for record in self.ledger.settled() if record.usd}
        bills = {bill.call: bill.usd for bill in self.provider.bills}
        if left:
            self._problem(f"{when}: {left} calls have no known fate")
        if ledger != bills:
            self._problem(f"{when}: the ledger has {ledger}, the provider billed {bills}")
        if self.ledger.account().amount(PROJECT) != self.provider.usd:
            self._problem(f"{when}: {self.ledger.account().amount(PROJECT)} charged, {self.provider.usd} billed")
        if self.provider.paid_twice():
            self._problem(f"{when}: paid twice: {self.provider.paid_twice()}")
        summed = sum((Decimal(row["usd"]) for lease in self.ledger.history() for row in lease["rows"]), Decimal(0))
        if summed != self.provider.usd:
            self._problem(f"{when}: the history has {summed}, the provider billed {self.provider.usd}")
        self.is_faulty = was

    def _check_days(self, when: str, ceiling: Decimal) -> None:
        account = self.ledger.account()
        scopes = {scope for lease in account.leases.values() for scope in lease.scopes}
        for scope in sorted(scopes):
            if scope.startswith("day:") and account.amount(scope) > ceiling:
                self._problem(f"{when}: {scope} has {account.amount(scope)}, ceiling {ceiling}")

    def _problem(self, text: str) -> None:
        self.outcome.problems.append(text)
