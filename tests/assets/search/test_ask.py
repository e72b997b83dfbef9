"""Ask: citations that hold, abstention, and posts that give orders, without and with a language model."""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from assets.search.ask import Asker
from assets.search.query import Followers
from assets.transforms.search.answers import NO_FIT, AskAnswer
from resources.vectors.values import SearchFilter
from tests.fakes import llm_server
from tests.fakes.llm_server import Provider
from tests.worlds.provider_llm import ADDRESS, WORLDS, llm_of, provider_at
from tests.worlds.small_site import HOSTILE, ORDER, POSTS, SmallSite, post_id
from tests.worlds.spend import MODEL, charged

ANYONE = SearchFilter()
QUESTION = "Which creators talk about sustainable fashion?"


@pytest.fixture
def provider() -> Provider:
    return provider_at(ADDRESS)


def asker(site: SmallSite, ceiling: int = 1) -> Asker:
    return Asker(site.searcher, llm_of(ADDRESS, ceiling))


def says(provider: Provider, *claims: Mapping[str, Any]) -> None:
    provider.text = lambda _: json.dumps({"claims": claims})


def quoted(site: SmallSite, question: str, **filters: Any) -> AskAnswer:
    return Asker(site.searcher).ask(question, SearchFilter(**filters))


def test_a_quote_is_word_for_word_in_the_post_that_it_cites(site: SmallSite) -> None:
    answer = quoted(site, QUESTION)
    texts = {post_id(id_, number): text for id_, texts in POSTS.items() for number, text in enumerate(texts)}
    assert {claim.account_id for claim in answer.claims} == {"anna", "bela"}
    for claim in answer.claims:
        [cited] = claim.post_ids
        assert claim.text in texts[cited]
        assert "ustainable fashion" in claim.text
    assert [source.post_id for source in answer.sources] == list(
        dict.fromkeys(id_ for claim in answer.claims for id_ in claim.post_ids)
    )


@pytest.mark.parametrize(
    "question", ["Who repairs steam locomotives?", "quantum chromodynamics", "Wer malt Aquarelle?"]
)
def test_a_question_that_no_post_answers_has_no_answer(site: SmallSite, question: str) -> None:
    answer = quoted(site, question)
    assert (answer.claims, answer.sources, answer.abstained) == ((), (), NO_FIT)


def test_filters_hold(site: SmallSite) -> None:
    assert {claim.account_id for claim in quoted(site, QUESTION, account_ids=frozenset({"bela"})).claims} == {"bela"}
    assert quoted(site, QUESTION, country="FR").abstained == NO_FIT
    few = Asker(site.searcher).ask(QUESTION, ANYONE, Followers(at_most=0))
    assert {claim.account_id for claim in few.claims} == {"anna"}
    with pytest.raises(ValueError, match="The query is empty"):
        quoted(site, " ")


def test_a_model_is_asked_with_the_ids_that_were_found_and_its_good_claims_are_kept(
    site: SmallSite, provider: Provider
) -> None:
    says(
        provider,
        {"text": "Sustainable fashion brands should publish their factories.", "post_ids": ["bela/0", "cleo/0"]},
        {"text": "Sustainable fashion is expensive.", "post_ids": ["anna/2", "p-none"]},
    )
    answer = asker(site).ask(QUESTION, ANYONE)
    assert [(claim.text, claim.post_ids) for claim in answer.claims] == [
        ("Sustainable fashion brands should publish their factories.", ("bela/0",)),
        ("Sustainable fashion is expensive.", ("anna/2",)),
    ]
    assert [source.post_id for source in answer.sources] == ["bela/0", "anna/2"]
    assert (answer.method, answer.model, answer.abstained) == ("model", MODEL, None)
    assert answer.usd is not None
    assert Decimal(answer.usd) == provider.usd > 0
    [body] = provider.bodies
    schema = body["response_format"]["json_schema"]["schema"]
    allowed = schema["properties"]["claims"]["items"]["properties"]["post_ids"]["items"]["enum"]
    sent = [post["post_id"] for post in json.loads(body["messages"][1]["content"])["posts"]]
    assert allowed == sorted(sent)
    assert {"anna/2", "bela/0"} <= set(sent)


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ({"text": "Sustainable fashion is dead.", "post_ids": ["p-none"]}, "cites no post"),
        ({"text": "Sustainable fashion is expensive since 1999.", "post_ids": ["anna/2"]}, "number 1999"),
        ({"text": "Sustainable fashion is not expensive.", "post_ids": ["anna/2"]}, "opposite"),
        ({"text": "Penguins dance over frozen lakes.", "post_ids": ["anna/0"]}, "do not say so"),
        ({"text": ORDER, "post_ids": [post_id(HOSTILE, 2)]}, None),
    ],
)
def test_a_claim_without_support_is_not_shown(
    site: SmallSite, provider: Provider, claim: dict[str, Any], reason: str | None
) -> None:
    says(provider, claim)
    answer = asker(site).ask(QUESTION, ANYONE)
    assert (answer.claims, answer.sources, answer.abstained) == ((), (), NO_FIT)
    assert [dropped.text for dropped in answer.dropped] == [claim["text"]]
    assert reason is None or reason in answer.dropped[0].reason


def test_an_empty_answer_of_the_model_is_an_abstention(site: SmallSite, provider: Provider) -> None:
    says(provider)
    assert asker(site).ask(QUESTION, ANYONE).abstained == NO_FIT


@pytest.mark.parametrize("fault", [llm_server.DROP_ANSWER, llm_server.GARBAGE, llm_server.BROKEN, ""])
def test_without_an_answer_of_the_model_posts_are_quoted(site: SmallSite, provider: Provider, fault: str) -> None:
    """The last case is an answer that is no JSON."""
    provider.fault = lambda: fault
    provider.text = lambda _: "I would rather"
    answer = asker(site).ask(QUESTION, ANYONE)
    assert answer.method == "quotes"
    assert answer.note
    assert answer.claims == quoted(site, QUESTION).claims


def test_a_ceiling_stops_the_model_and_not_the_answer(site: SmallSite, provider: Provider) -> None:
    answer = asker(site, ceiling=0).ask(QUESTION, ANYONE)
    assert "The ceiling of project is $0" in (answer.note or "")
    assert answer.claims
    assert provider.requests == 0


def test_quotes_cost_nothing_and_no_answer_stays_on_the_store(site: SmallSite, provider: Provider) -> None:
    says(provider, {"text": "Sustainable fashion is expensive.", "post_ids": ["anna/2"]})
    assert asker(site).ask(QUESTION, ANYONE, quotes_only=True).method == "quotes"
    assert provider.requests == 0
    assert asker(site).ask(QUESTION, ANYONE).method == "model"
    store, _ = WORLDS[ADDRESS]
    assert [key for key in store.objects if re.match("llm/answers/", key)] == []


def test_claims_come_while_the_model_writes_and_the_whole_answer_at_last(site: SmallSite, provider: Provider) -> None:
    fashion = {"text": "Sustainable fashion is expensive.", "post_ids": ["anna/2"]}
    factories = {"text": "Sustainable fashion brands should publish their factories.", "post_ids": ["bela/0"]}
    says(provider, {"text": "Penguins dance over frozen lakes.", "post_ids": ["anna/0"]}, fashion, factories, factories)
    growing = asker(site).stream(QUESTION, ANYONE)
    assert (next(growing).claims, provider.pieces_sent) == ((), 0)
    first = next(growing)
    assert [claim.text for claim in first.claims] == [fashion["text"]]
    assert first.number("anna/2") == 1
    sent = provider.pieces_sent
    *_, whole = growing
    assert sent < provider.pieces_sent
    assert [claim.text for claim in whole.claims] == [fashion["text"], factories["text"]]
    assert whole.claims[:1] == first.claims
    assert [dropped.text for dropped in whole.dropped] == ["Penguins dance over frozen lakes."]
    assert Decimal(whole.usd or 0) == provider.usd
    assert asker(site).ask(QUESTION, ANYONE).claims == whole.claims


def test_what_a_model_said_before_it_broke_off_is_kept_and_said_to_be_incomplete(
    site: SmallSite, provider: Provider
) -> None:
    fashion = {"text": "Sustainable fashion is expensive.", "post_ids": ["anna/2"]}
    says(provider, fashion, *({"text": f"Sustainable fashion {word}.", "post_ids": ["anna/2"]} for word in "abcdefg"))
    provider.fault = lambda: llm_server.CUT
    answer = asker(site).ask(QUESTION, ANYONE)
    assert (answer.method, [claim.text for claim in answer.claims][:1]) == ("model", [fashion["text"]])
    assert (answer.note or "").startswith("The answer is not complete. ")
    assert provider.requests == 1


def test_a_model_that_is_busy_is_asked_again_before_it_has_written(site: SmallSite, provider: Provider) -> None:
    says(provider, {"text": "Sustainable fashion is expensive.", "post_ids": ["anna/2"]})
    faults = iter([llm_server.LIMIT, llm_server.LIMIT, ""])
    provider.fault = lambda: next(faults)
    answer = asker(site).ask(QUESTION, ANYONE)
    assert (answer.method, provider.requests) == ("model", 3)
    assert provider.paid_twice() == []


def test_an_answer_that_nobody_waits_for_stays_charged_at_its_bound(site: SmallSite, provider: Provider) -> None:
    says(provider, *({"text": "Sustainable fashion is expensive.", "post_ids": ["anna/2"]} for _ in range(9)))
    growing = asker(site).stream(QUESTION, ANYONE)
    assert [len(next(growing).claims) for _ in range(2)] == [0, 1]
    growing.close()
    store, _ = WORLDS[ADDRESS]
    assert charged(store) > provider.usd > 0
