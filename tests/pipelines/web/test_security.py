"""Who may send what: other sites' forms, other names of this host, and readers that no proxy knows."""

import pytest

from tests.fakes.spend_store import MemoryStore
from tests.pipelines.web.conftest import ORIGIN, Open
from tests.worlds.small_site import VERTICAL, in_order_of_uncertainty

LABEL = {"annotator": "ann", "vertical": VERTICAL, "item_id": in_order_of_uncertainty()[0], "action": "yes"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:81"},
        {"Origin": "http://127.0.0.1.evil.test"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_form_of_another_site_changes_nothing(page: Open, store: MemoryStore, headers: dict[str, str]) -> None:
    for path in ("/label", "/ask"):
        answer = page().post(path, data=LABEL, headers=headers)
        assert answer.status_code == 403
        assert "nothing was changed" in answer.text
    assert store.objects == {}


def test_without_an_origin_a_form_changes_nothing(page: Open, store: MemoryStore) -> None:
    client = page()
    del client.headers["Origin"]
    assert client.post("/label", data=LABEL).status_code == 403
    assert store.objects == {}


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:80", "127.0.0.1.evil.test", "", "127.0.0.1@evil.test", "[::1"]
)
def test_another_name_of_this_host_is_refused(page: Open, host: str) -> None:
    answer = page().get("/", headers={"Host": host})
    assert answer.status_code == 400
    assert "not served under this name" in answer.text


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1", "LOCALHOST", "[::1]:8765"])
def test_loopback_has_several_names(page: Open, host: str) -> None:
    assert page().get("/healthz", headers={"Host": host}).status_code == 200


def test_behind_a_proxy_its_header_says_who_asks(page: Open, store: MemoryStore) -> None:
    client = page(user_header="X-Forwarded-User")
    assert client.get("/").status_code == 401
    assert client.post("/label", data=LABEL).status_code == 401
    assert client.get("/healthz").status_code == 200
    assert client.post("/label", data=LABEL, headers={"X-Forwarded-User": "Eva@x.test"}).status_code == 303
    [key] = store.keys("landing/")
    assert key.startswith("landing/labels/page/eva@x.test/")


def test_every_answer_has_the_headers(page: Open) -> None:
    client = page()
    for address in ("/", "/static/page.css", "/static/label.js", "/healthz", "/nothing", "/favicon.ico"):
        answer = client.get(address)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert ("max-age" in answer.headers["cache-control"]) is address.startswith("/static/")


def test_a_large_form_is_refused(page: Open, store: MemoryStore) -> None:
    assert page().post("/label", content=b"x=" + b"y" * 70_000).status_code == 413
    assert page().post("/label", content=b"x=%ff").status_code == 400
    assert store.objects == {}
