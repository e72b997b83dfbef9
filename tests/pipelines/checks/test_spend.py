"""The check that the ledger equals the usage in stored answers, on a ledger in memory."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from pipelines.checks.spend import unmatched_answers
from resources.llm.answers import Answers
from resources.llm.request import Answer
from resources.spend.ledger import Ledger, settled
from resources.spend.log import Record
from resources.spend.prices import Usage
from resources.spend.spender import Spender
from tests.fakes.spend_store import MemoryStore

USAGE = Usage(5, 2)
ANSWER = Answer("abc", "hello", "stop", "m", USAGE, "0.1")


def paid(ledger: Ledger, *records: Record) -> None:
    """Pay for calls in a run."""
    spender = Spender(ledger, "run", "summary/x", "m")
    for record in records:
        spender.reserve(record.call, Decimal(1))
        spender.sent(record.call)
        spender.settle(record.call, record)
    spender.close()


def charge(call: str = "abc.1", usd: str = "0.1", tokens: tuple[int, int] = (5, 2), outcome: str = "billed") -> Record:
    return settled(call, Decimal(usd), outcome, input_tokens=tokens[0], output_tokens=tokens[1])


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(MemoryStore(), {"project": Decimal(100)}, sleep=lambda _: None)
    Answers(ledger.store, "summary/x").put(ANSWER)
    return ledger


def test_an_answer_with_its_charge_is_matched(ledger: Ledger) -> None:
    assert unmatched_answers(ledger) == 1, "not paid yet"
    paid(ledger, charge("abc.1", "0", outcome="refused"), charge("abc.2"))
    assert unmatched_answers(ledger) == 0


def test_an_answer_that_cost_nothing_needs_no_charge(ledger: Ledger) -> None:
    Answers(ledger.store, "summary/y").put(replace(ANSWER, id="free", usd="0"))
    paid(ledger, charge())
    assert unmatched_answers(ledger) == 0


@pytest.mark.parametrize(
    "fault",
    [
        lambda ledger: paid(ledger, charge(usd="0.2")),
        lambda ledger: paid(ledger, charge(tokens=(5, 3))),
        lambda ledger: paid(ledger, charge(tokens=(6, 2))),
        lambda ledger: paid(ledger, charge("other.1")),
        lambda ledger: paid(ledger, charge("abc.1"), charge("abc.2")),
    ],
)
def test_another_charge_is_found(ledger: Ledger, fault: Callable[[Ledger], object]) -> None:
    fault(ledger)
    assert unmatched_answers(ledger) == 1
