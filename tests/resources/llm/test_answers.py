"""Answers that are stored: known by all that they depend on, and forgotten with an account."""

from dataclasses import replace

import pytest

from resources.llm.answers import Answers, Claim, forget_account
from resources.llm.request import Answer, Message
from tests.fakes.llm_server import Provider
from tests.fakes.spend_store import MemoryStore
from tests.worlds.llm import Open
from tests.worlds.spend import ASSET, MODEL, requests


def test_an_account_is_forgotten_with_its_answers_and_claims(
    opened: Open, provider: Provider, store: MemoryStore
) -> None:
    of_a, of_both, of_b, of_nobody, asked = requests(5)
    asked = replace(asked, account_ids=("a",))
    wanted = [replace(of_a, account_ids=("a",)), replace(of_both, account_ids=("b", "a"))]
    wanted += [replace(of_b, account_ids=("b",)), of_nobody]
    answers = Answers(store, ASSET)
    with opened() as llm:
        list(llm.ask(wanted))
    assert answers.claim(Claim(asked.id(MODEL), "lease", 1, account_ids=("a",)))
    found = answers.find(wanted[1].id(MODEL))
    assert isinstance(found, Answer)
    assert found.account_ids == ("b", "a")
    assert forget_account(store, "a") == 4
    assert [answer.account_ids for answer in answers.all()] == [("b",)]
    assert forget_account(store, "a") == 0
    sent = provider.requests
    with opened() as llm:
        list(llm.ask(wanted[2:3]))
    assert provider.requests == sent, "the other account's answer is still paid"


def test_equal_texts_of_two_accounts_are_two_requests() -> None:
    [request] = requests(1)
    ids = {replace(request, account_ids=owners).id(MODEL) for owners in ((), ("a",), ("b",), ("a", "b"), ("b", "a"))}
    assert len(ids) == 4


def test_an_answer_that_comes_late_is_not_stored_for_an_erased_account(
    opened: Open, provider: Provider, store: MemoryStore
) -> None:
    """Reconciliation finds the call at the provider after an erasure deleted its claim."""
    [request] = requests(1)
    request = replace(request, account_ids=("a",))
    with opened(stored=True) as llm:
        [answer] = llm.ask([request])
        call = f"{answer.id}.1"
        forget_account(store, "a")
        record = llm.fate(call)
        assert record is not None
        assert not list(llm.answers.all())
        llm.answers.claim(Claim(answer.id, "lease", 1, account_ids=("a",)))
        llm.fate(call)
        assert [found.account_ids for found in llm.answers.all()] == [("a",)]


@pytest.mark.parametrize(
    "change",
    [
        {"max_tokens": 7},
        {"temperature": 0.5},
        {"seed": 3},
        {"prompt_version": "2"},
        {"schema": {"type": "object"}},
        {"messages": [Message("system", "post 0 ")]},
    ],
)
def test_an_id_is_of_everything_that_the_answer_depends_on(change: dict[str, object]) -> None:
    request = requests(1)[0]
    assert request.id(MODEL) == requests(1)[0].id(MODEL)
    assert replace(request, **change).id(MODEL) != request.id(MODEL)  # type: ignore[arg-type]
    assert request.id("other") != request.id(MODEL)
