"""The API: the page's answers as JSON, errors as JSON sentences, its description, and any input without a defect."""

from typing import Any
from urllib.parse import quote

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok
from starlette.testclient import TestClient

from pipelines.web.api.application import make_api
from pipelines.web.site import Site
from resources.spend.resource import SpendResource
from tests.fakes.embedder import CountingEmbedder
from tests.fakes.spend_store import MemoryStore
from tests.pipelines.web.conftest import Open
from tests.worlds.small_site import HOSTILE, VERTICAL, SmallSite


def test_it_says_what_the_page_says(page: Open) -> None:
    client = page()
    found = client.get("/api/search", params={"q": "sustainable fashion", "vertical": VERTICAL}).json()
    assert found["accounts"][0]["account_id"] == "anna"
    assert found["accounts"][0]["about"]["verticals"] == [VERTICAL]
    answer = client.get("/api/ask", params={"q": "Who talks about sustainable fashion?"}).json()
    assert {claim["account_id"] for claim in answer["claims"]} == {"anna", "bela"}
    assert {id_ for claim in answer["claims"] for id_ in claim["post_ids"]} == {s["post_id"] for s in answer["sources"]}
    assert client.post("/api/ask", json={"q": "sustainable fashion"}).json()["method"] == "quotes"
    creator = client.get("/api/creator", params={"id": HOSTILE}).json()
    assert creator["account"]["bio"] == HOSTILE
    assert len(creator["posts"]) == 3
    assert {row["status"] for row in client.get("/api/verticals").json()} == {"needs labels"}


def test_page_and_api_say_that_a_query_was_not_read(page: Open, small: SmallSite) -> None:
    model = small.searcher.embedder.model()
    assert isinstance(model, CountingEmbedder)
    model.unreadable.add("sustainable 🍕")
    client, said = page(), "The embedding model cannot read this query."
    assert client.get("/api/search", params={"q": "sustainable 🍕"}).json()["is_read"] is False
    assert client.get("/api/search", params={"q": "sustainable"}).json()["is_read"] is True
    assert said in client.get("/", params={"q": "sustainable 🍕"}).text
    assert said not in client.get("/", params={"q": "sustainable"}).text


def test_shortlists_and_judgements_are_written(page: Open, store: MemoryStore) -> None:
    client = page()
    wanted = {"name": "Spring", "account_ids": ["anna", "bela"]}
    assert len(client.post("/api/shortlists", json=wanted).json()["accounts"]) == 2
    assert client.get("/api/shortlists").json() == ["Spring"]
    assert client.delete("/api/shortlist", params={"name": "Spring", "account_id": "anna"}).status_code == 204
    [left] = client.get("/api/shortlist?name=Spring").json()["accounts"]
    assert left["handle"] == "Bela"
    judgement = {"query": "x", "item_kind": "account", "item_id": "anna", "grade": 1}
    assert client.post("/api/judgements", json=judgement).status_code == 204
    assert len(list(store.keys("landing/judgements/"))) == 1
    assert client.delete("/api/shortlist?name=Spring").status_code == 204
    assert client.get("/api/shortlist?name=Spring").status_code == 404


@pytest.mark.parametrize(
    ("method", "address", "status", "sentence"),
    [
        ("GET", "/api/search", 400, "The query is empty"),
        ("GET", "/api/search?q=x&page=0", 400, "page: Input should be greater than or equal to 1."),
        ("GET", "/api/search?q=x&country=Narnia", 400, "Unknown country 'Narnia'"),
        ("GET", "/api/search?q=x&posted_after=y", 400, "it must be a day such as 2026-01-31."),
        ("GET", "/api/creator", 400, "id: Field required."),
        ("GET", f"/api/creator?id={quote('no' + HOSTILE)}", 404, "No live account has the id"),
        ("GET", "/api/nothing", 404, "There is no such endpoint."),
        ("PUT", "/api/search", 405, "This endpoint has no such method."),
        ("POST", "/api/judgements", 400, "The body"),
    ],
)
def test_an_error_is_a_json_sentence(page: Open, method: str, address: str, status: int, sentence: str) -> None:
    answer = page().request(method, address)
    assert answer.status_code == status
    assert sentence in answer.json()["error"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_defect_is_a_sentence_and_nothing_of_it_is_shown(page: Open) -> None:
    client = page(searcher=None)
    client._transport.raise_server_exceptions = False  # type: ignore[attr-defined]
    answer = client.get("/api/search?q=x")
    assert (answer.status_code, answer.json()) == (
        500, {"error": "The page has a defect; the log of `cippus web` shows it."}
    )  # fmt: skip


def test_a_key_is_asked_for_everywhere_and_a_program_needs_no_origin(page: Open) -> None:
    client = page(api_key="k" * 32)
    del client.headers["Origin"]
    key = {"Authorization": f"Bearer {'k' * 32}"}
    for wrong in (b"", b"Bearer k", b"Basic eA==", b"Basic \xff"):
        answer = client.get("/api/shortlists", headers={b"Authorization": wrong})
        assert answer.status_code == 401
        assert "API key" in answer.json()["error"]
    assert client.get("/").status_code == 401
    assert client.get("/healthz").status_code == 200
    wanted = {"name": "Spring", "account_ids": ["anna"]}
    assert client.post("/api/shortlists", json=wanted, headers=key).status_code == 200
    assert client.post("/api/shortlists", json=wanted).status_code == 401
    for browser in ({"Origin": "http://evil.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        assert client.post("/api/shortlists", json=wanted, headers={**key, **browser}).status_code == 403
    by_name = client.get("/api/shortlist?name=Spring", auth=("eva", "k" * 32))
    assert by_name.json()["accounts"][0]["added_by"] == "local"


@pytest.fixture(scope="module")
def api(small: SmallSite) -> TestClient:
    site = Site(small.lake, small.searcher, MemoryStore(), SpendResource(s3=small.lake.s3, ceiling_usd="5"))
    return TestClient(make_api(site), raise_server_exceptions=False)


def test_no_input_is_a_defect(api: TestClient) -> None:
    """`schemathesis` makes requests of the description: few here."""
    few = settings(
        max_examples=6, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip

    def asked(made: Any) -> None:
        answer = made.call()
        assert answer.status_code < 500, made.as_curl_command()
        assert answer.status_code in (200, 204) or answer.json()["error"]

    described = schemathesis.openapi.from_asgi("/openapi.json", api.app).get_all_operations()
    operations = [found.ok() for found in described if isinstance(found, Ok)]
    assert len(operations) == 12
    for operation in operations:
        few(given(operation.as_strategy())(asked))()
