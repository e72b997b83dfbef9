"""Ask on the page: an answer that is sent claim by claim, errors below it, and thumbs on what it cites."""

import json
import re
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from starlette.requests import Request

from pipelines.web.errors import DEFECT
from pipelines.web.site import Site
from pipelines.web.views import ask
from resources.spend.resource import SpendResource
from tests.fakes.llm_server import CUT, Provider
from tests.fakes.spend_store import MemoryStore
from tests.pipelines.web.conftest import Open
from tests.worlds.provider_llm import llm_of, provider_at
from tests.worlds.small_site import SmallSite

ADDRESS = "http://page-provider.test/v1"
QUESTION = {"q": "Which creators talk about sustainable fashion?"}
FASHION = "Sustainable fashion is expensive."
FACTORIES = "Sustainable fashion brands should publish their factories."


@pytest.fixture
def provider() -> Provider:
    made = provider_at(ADDRESS)
    claims = [{"text": FASHION, "post_ids": ["anna/2"]}, {"text": FACTORIES, "post_ids": ["bela/0"]}]
    made.text = lambda _: json.dumps({"claims": [*claims, *claims]})
    return made


def test_a_claim_is_sent_before_the_model_has_ended(small: SmallSite, store: MemoryStore, provider: Provider) -> None:
    site = Site(small.lake, small.searcher, store, SpendResource(s3=small.lake.s3), llm_of(ADDRESS))
    request = Request({"type": "http", "method": "POST", "path": "/ask", "headers": []})
    parts: Any = ask.answer(site, request, QUESTION)
    sent: list[tuple[str, int]] = []

    async def read() -> None:
        sent.extend([(part, provider.pieces_sent) async for part in parts.body_iterator])

    anyio.run(read)
    [first] = [pieces for part, pieces in sent if FASHION in part]
    assert 0 < first < provider.pieces_sent
    assert FACTORIES in "".join(part for part, _ in sent)


def test_an_answer_of_a_model_is_cited_priced_and_can_be_judged(page: Open, provider: Provider) -> None:
    text = page(llm=llm_of(ADDRESS)).post("/ask", data=QUESTION).text
    assert text.count(FASHION) == text.count(FACTORIES) == 1
    assert re.findall(r'href="#(post-\d)"', text) == ["post-1", "post-2"]
    assert f"${provider.usd}" in text
    [form, _] = re.findall(r'<form class="thumbs".*?</form>', text, re.DOTALL)
    assert 'name="view" value=""' in form, "a thumb must not ask the model again"
    assert 'name="item_id" value="anna/2"' in form


def test_without_an_answer_the_nearest_posts_are_a_link_with_the_filters(page: Open) -> None:
    shown = page().get("/ask", params={"q": "zeppelins", "country": "DE"}).text
    assert "No post that was found answers this question." in shown
    [link] = re.findall(r'<a href="([^"]+)">Show the nearest posts</a>', shown)
    assert link.replace("&amp;", "&") == "/?q=zeppelins&country=DE"
    assert "Show the nearest posts" not in page().get("/ask", params={"q": "who talks about sourdough"}).text


def test_a_judged_quote_shows_its_thumb(page: Open) -> None:
    client = page()
    asked = "/ask?q=sustainable+fashion"
    pressed = re.compile(r'data-grade="good" aria-pressed="true"')
    shown = client.get(asked).text
    [item, *_] = re.findall(r'name="item_id" value="([^"]+)"', shown)
    assert not pressed.search(shown)
    form = {"q": "sustainable fashion", "view": "ask", "place": "post-1", "item_kind": "post", "item_id": item}
    answer = client.post("/judge", data={**form, "grade": "good"})
    assert answer.headers["Location"] == f"{asked}#post-1"
    assert len(pressed.findall(client.get(asked).text)) == 1


def test_what_breaks_while_the_answer_is_sent_is_a_sentence_below_it(
    page: Open, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.fault = lambda: CUT
    text = page(llm=llm_of(ADDRESS)).post("/ask", data=QUESTION).text
    assert "The answer is not complete. " in text
    assert text.index(FASHION) < text.index("The answer is not complete.")
    assert "</html>" in text

    def broken(*_: object) -> Iterator[str]:
        raise KeyError("secret")

    monkeypatch.setattr("resources.llm.client.Llm.stream", broken)
    text = page(llm=llm_of(ADDRESS)).post("/ask", data=QUESTION).text
    assert DEFECT in text
    assert "secret" not in text
    assert "</html>" in text


def test_what_cannot_be_asked_costs_nothing(page: Open, provider: Provider) -> None:
    client = page(llm=llm_of(ADDRESS))
    assert client.post("/ask", data={**QUESTION, "posted_before": "2026-02-31"}).status_code == 400
    assert client.post("/ask", data={"q": " "}).status_code == 200
    assert provider.requests == 0
