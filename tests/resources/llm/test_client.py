"""The LLM client against a provider that keeps its own account: each request is paid once, and errors by kind."""

import json
from decimal import Decimal

import pytest

from resources.catalogues.prices import PriceFile
from resources.llm.answers import Answers, Claim
from resources.llm.client import Llm, SpendingStoppedError
from resources.llm.completions import Prices
from resources.llm.endpoint import PermanentEndpointError, TransientEndpointError
from resources.llm.request import Answer, Message, Request, Unanswered
from resources.spend.ledger import Ledger
from resources.spend.prices import PriceBook, UnknownPriceError
from resources.spend.spender import Spender
from tests.fakes import llm_server
from tests.fakes.llm_server import Provider
from tests.fakes.spend_store import START, MemoryStore
from tests.worlds.llm import Open, faults, texts
from tests.worlds.spend import ASSET, BOOK, MODEL, PROVIDER, charged, price_at, price_file, requests


def test_each_request_is_paid_once(opened: Open, provider: Provider, store: MemoryStore) -> None:
    wanted = [*requests(6), *requests(3)]
    with opened() as llm:
        first = list(llm.ask(wanted))
    with opened() as llm:
        again = list(llm.ask(wanted))
    assert len(first) == 6
    assert all(isinstance(found, Answer) and found.is_new for found in first)
    assert all(isinstance(found, Answer) and not found.is_new for found in again)
    assert {found.id for found in first} == {found.id for found in again}
    assert len(provider.bills) == 6
    assert charged(store) == provider.usd


def test_a_limited_request_is_sent_again_and_charged_once(opened: Open, provider: Provider, store: MemoryStore) -> None:
    faults(provider, llm_server.LIMIT, llm_server.LIMIT)
    with opened(requests=1) as llm:
        [found] = llm.ask(requests(1))
    assert isinstance(found, Answer)
    assert provider.requests == 3
    assert charged(store) == provider.usd


@pytest.mark.parametrize(
    "fault",
    [llm_server.DROP_ANSWER, llm_server.BROKEN_BILLED, llm_server.GARBAGE, llm_server.DROP_REQUEST, llm_server.BROKEN],
)
def test_a_call_of_unknown_fate_is_not_sent_again_and_stays_charged(
    opened: Open, provider: Provider, store: MemoryStore, fault: str
) -> None:
    faults(provider, fault)
    for _ in range(2):
        with opened(requests=1) as llm:
            [found] = llm.ask(requests(1))
        assert isinstance(found, Unanswered)
        assert "nobody knows" in found.reason
    assert provider.requests == 1
    assert charged(store) > provider.usd


@pytest.mark.parametrize("fault", [llm_server.DROP_ANSWER, llm_server.BROKEN_BILLED, llm_server.GARBAGE])
def test_a_lost_answer_that_the_provider_kept_is_found(
    opened: Open, provider: Provider, store: MemoryStore, fault: str
) -> None:
    faults(provider, fault)
    with opened(stored=True, requests=1) as llm:
        [found] = llm.ask(requests(1))
    assert isinstance(found, Answer)
    assert charged(store) == provider.usd


def test_an_answer_that_comes_late_is_found_by_the_next_run(
    opened: Open, provider: Provider, store: MemoryStore
) -> None:
    faults(provider, llm_server.DELAY)
    with opened(stored=True, requests=1) as llm:
        [found] = llm.ask(requests(1))
    assert isinstance(found, Unanswered)
    provider.show_delayed()
    with opened(stored=True, requests=1) as llm:
        [found] = llm.ask(requests(1))
    assert isinstance(found, Answer)
    assert len(provider.bills) == 1
    assert charged(store) == provider.usd


def test_an_endpoint_of_your_own_is_asked_again_and_costs_nothing(
    opened: Open, provider: Provider, store: MemoryStore
) -> None:
    faults(provider, llm_server.DROP_ANSWER, llm_server.BROKEN)
    with opened(free=True, requests=1) as llm:
        [found] = llm.ask(requests(1))
    assert isinstance(found, Answer)
    assert provider.requests == 3
    assert found.usd == "0"
    assert charged(store) == 0


def test_a_dollar_stops_a_corpus_of_ten_and_goes_on_when_raised(
    opened: Open, provider: Provider, store: MemoryStore
) -> None:
    provider.price = lambda at: price_at(START) * 400
    book = PriceBook(PriceFile(models=price_file(400).models[:1]))
    wanted = [Request([Message("user", f"post number {number} " * 3)], 32) for number in range(700)]

    def open_at(ceiling: str) -> Llm:
        return opened(ceiling, requests=2, prices=Prices(book, PROVIDER, MODEL))

    answered: list[Answer | Unanswered] = []
    with open_at("1") as llm, pytest.raises(SpendingStoppedError, match=r"requests were not sent; .* about \$") as stop:
        answered.extend(llm.ask(wanted))
    assert Decimal("0.75") < provider.usd <= 1
    assert stop.value.left == 700 - len(answered)
    Ledger(store, {"project": Decimal(1)}).set_ceiling("project", Decimal(100), "worth it", "ana")
    with open_at("1") as llm:
        rest = list(llm.ask(wanted))
    assert len(texts(rest)) == 700
    assert provider.usd > 10
    assert provider.paid_twice() == []
    assert charged(store) == provider.usd
    assert abs(stop.value.likely_usd - (provider.usd - provider.usd * len(answered) / 700)) < provider.usd / 5


def test_a_run_that_sends_nothing_says_about_what_the_rest_costs(opened: Open, provider: Provider) -> None:
    provider.price = lambda at: price_at(START) * 400
    prices = Prices(PriceBook(PriceFile(models=price_file(400).models[:1])), PROVIDER, MODEL)
    words = "The oven must be hot before the bread goes in; wait an hour. "
    wanted = [Request([Message("user", f"{number}: {words * 20}")], 64) for number in range(40)]
    stops = []
    for ceiling in ("0", "0.5"):
        with opened(ceiling, prices=prices) as llm, pytest.raises(SpendingStoppedError) as stop:
            list(llm.ask(wanted))
        stops.append(stop.value)
    assert [stop.left for stop in stops] == [40, 40 - provider.requests]
    with opened("1000", prices=prices) as llm:
        paid = provider.usd
        list(llm.ask(wanted))
    true = provider.usd - paid
    assert true / 2 < stops[0].likely_usd < 2 * true < stops[0].most_usd
    assert abs(stops[1].likely_usd - true) < true / 10


def test_structured_answers_are_parsed_and_ask_for_their_schema(opened: Open, provider: Provider) -> None:
    schema = {"type": "object", "properties": {"echo": {"type": "integer"}}}
    with opened() as llm:
        [found] = llm.ask([Request([Message("user", "x")], 9, schema)])
    assert isinstance(found, Answer)
    assert found.value == {"echo": 1}
    assert provider.bodies[0]["response_format"]["json_schema"]["schema"] == schema


def test_the_bound_counts_every_byte_of_every_text() -> None:
    request = Request([Message("user", "日本語" * 100)], 50, {"type": "object"})
    most = request.most()
    assert most.input_tokens > 900
    assert most.output_tokens == 50


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_of_every_request_stops_at_once(
    opened: Open, provider: Provider, store: MemoryStore, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "complete", lambda _body: (status, b'{"error": "no sk-secret"}', {}))
    with opened() as llm, pytest.raises(PermanentEndpointError, match=f"answered {status}") as raised:
        list(llm.ask(requests(9)))
    assert "sk-secret" not in str(raised.value)
    assert charged(store) == 0


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_is_refused_leaves_the_others(
    opened: Open, provider: Provider, store: MemoryStore, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = provider.complete

    def refuse_one(body: dict[str, object]) -> object:
        return (status, b'{"error": "too long"}', {}) if "post 1" in json.dumps(body) else complete(body)

    monkeypatch.setattr(provider, "complete", refuse_one)
    with opened() as llm:
        found = list(llm.ask(requests(4)))
    assert len(texts(found)) == 3
    assert charged(store) == provider.usd


def test_a_server_that_stays_limited_is_transient(opened: Open, provider: Provider, store: MemoryStore) -> None:
    provider.fault = lambda: llm_server.LIMIT
    with opened() as llm, pytest.raises(TransientEndpointError, match=r"429 .* tried 3 times"):
        list(llm.ask(requests(1)))
    assert charged(store) == 0


def test_a_claim_of_another_run_is_left_to_it(opened: Open, provider: Provider, store: MemoryStore) -> None:
    request = requests(1)[0]
    other = Spender(Ledger(store, {"project": Decimal(1)}), "other", ASSET, MODEL)
    lease = other.reserve(f"{request.id(MODEL)}.1", Decimal("0.1"))
    assert Answers(store, ASSET).claim(Claim(request.id(MODEL), lease, 1))
    with opened() as llm:
        [found] = llm.ask([request])
    assert isinstance(found, Unanswered)
    assert provider.bills == []
    other.close()
    with opened() as llm:
        [found] = llm.ask([request])
    assert isinstance(found, Answer)


def test_a_model_without_a_price_is_refused_before_it_is_sent(
    store: MemoryStore, provider: Provider, opened: Open
) -> None:
    with (
        opened(prices=Prices(BOOK, PROVIDER, "another")) as llm,
        pytest.raises(UnknownPriceError, match="another at bench"),
    ):
        list(llm.ask(requests(1)))
    assert provider.requests == 0
