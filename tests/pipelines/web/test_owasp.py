"""Attacks on the page by the kinds of the OWASP Top Ten (2021) that no other test of the page tries."""

import json
from urllib.parse import quote

import pytest

from tests.fakes.spend_store import MemoryStore
from tests.pipelines.web.conftest import Open
from tests.worlds.small_site import VERTICAL, in_order_of_uncertainty

POST = in_order_of_uncertainty()[0]
SPLIT = "x\r\nSet-Cookie: a=b"
SQL = "' OR 1=1; DROP TABLE posts; --"
TEMPLATE = "{{ 7 * 191 }}${7*191}<%= 7*191 %>"
UP = "../../../../etc/passwd"


@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", f"..%5c{UP}", "/etc/passwd", "%00"])
def test_only_static_files_are_served(page: Open, path: str) -> None:
    answer = page().get(f"/static/{path}")
    assert answer.status_code in (400, 404)
    assert "import" not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("name", [UP, "a/b", "landing/labels/x", "", ".", "x" * 300, SPLIT])
def test_a_name_cannot_leave_its_folder(page: Open, store: MemoryStore, name: str) -> None:
    form = {"name": name, "action": "add", "account_id": "anna"}
    answer = page().post("/shortlists", data=form)
    assert "set-cookie" not in answer.headers
    assert all(key.startswith(("shortlists/", "audit/")) for key in store.objects)
    assert not {"", ".", ".."} & {part for key in store.objects for part in key.split("/")}
    assert answer.status_code in (303, 400)


def test_nobody_labels_or_judges_in_the_name_of_another(page: Open, store: MemoryStore) -> None:
    client = page(user_header="X-Forwarded-User")
    by_ann = {"X-Forwarded-User": "ann"}
    label = {"annotator": "eva", "vertical": VERTICAL, "item_id": POST, "action": "yes"}
    judgement = {
        "q": "fashion",
        "item_kind": "account",
        "item_id": "anna",
        "grade": "good",
        "who": "eva",
        "view": "search",
    }
    assert client.post("/label", data=label, headers=by_ann).status_code in (303, 400)
    assert client.post("/judge", data=judgement, headers=by_ann).status_code == 303
    twice = client.post("/label", data=label, headers=[("X-Forwarded-User", "ann"), ("X-Forwarded-User", "eva")])
    assert twice.status_code == 400
    assert store.objects
    assert not any("eva" in key or b"eva" in body for key, body in store.objects.items())


@pytest.mark.parametrize("value", [SQL, TEMPLATE, "%{(#a=1)}", "*)(uid=*))(|(uid=*", "; cat /etc/passwd", "$(id)"])
@pytest.mark.parametrize("field", ["q", "network", "language", "country", "vertical", "like", "posted_after", "page"])
def test_an_expression_of_another_language_is_text(page: Open, field: str, value: str) -> None:
    answer = page().get(f"/?{'q=fashion&' if field != 'q' else ''}{field}={quote(value)}")
    assert answer.status_code in (200, 400)
    assert "1337" not in answer.text
    assert "root:" not in answer.text


@pytest.mark.parametrize("place", ["//evil.test", "https://evil.test", SPLIT, "javascript:alert(1)", "\\\\evil.test"])
def test_a_redirect_stays_on_the_page(page: Open, place: str) -> None:
    form = {"q": "fashion", "item_kind": "account", "item_id": "anna", "grade": "good", "view": "search"}
    for change in ({"place": place}, {"view": place}, {"q": f"fashion{place}"}):
        answer = page().post("/judge", data={**form, **change})
        assert answer.headers.get("location", "/?").startswith("/?")
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("method", ["TRACE", "PUT", "DELETE", "PATCH", "CONNECT", "DEBUG"])
def test_other_methods_do_nothing(page: Open, store: MemoryStore, method: str) -> None:
    for path in ("/", "/label", "/shortlists", "/static/page.js"):
        answer = page().request(method, path, headers={"X-Secret": "echoed"})
        assert answer.status_code == 405
        assert "echoed" not in answer.text
    assert store.objects == {}


@pytest.mark.parametrize(
    "given", ["Bearer wrong", "Bearer ", "Basic !!!", "Basic Og==", "key", "Bearer keykey", "bearer\tkey"]
)
def test_a_wrong_key_opens_nothing(page: Open, given: str) -> None:
    client = page(api_key="key")
    assert client.get("/", headers={"Authorization": given}).status_code == 401
    assert client.get("/?api_key=key&key=key").status_code == 401
    assert client.get("/api/openapi.json", headers={"Authorization": given}).status_code == 401


def test_the_api_takes_no_bomb(page: Open, store: MemoryStore) -> None:
    client = page()
    deep = "[" * 20_000 + "]" * 20_000
    for body in (
        deep,
        json.dumps({"q": "x" * 70_000}),
        '{"q": 1e999}',
        '{"q": NaN}',
        "null",
        '"' + "\\ud800" * 9 + '"',
    ):
        answer = client.post("/api/ask", content=body, headers={"Content-Type": "application/json"})
        assert 400 <= answer.status_code < 500, body[:30]
    assert store.objects == {}


def test_no_address_in_a_question_is_fetched(page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a connection was opened")

    client = page()
    client.get("/?q=warm")  # the lake's own connections are open now
    monkeypatch.setattr("socket.create_connection", refused)
    for address in ("http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "http://127.0.0.1:1/"):
        for view in ("/?q=", "/ask?q=", "/?like=", "/creator?id="):
            answer = client.get(f"{view}{quote(address, safe='')}")
            assert answer.status_code in (200, 400, 404)
            assert "root:" not in answer.text
