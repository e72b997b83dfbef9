"""Shortlists and judgements on the page: kept at once, by several windows, exported, logged, and erased."""

import csv
import io
import json
import re
from urllib.parse import quote

import polars as pl
import pytest

from assets import audit, shortlists
from assets.judging import Judging
from assets.shortlists import Shortlists
from resources.errors import InputError
from tests.fakes.spend_store import MemoryStore, lose_answer
from tests.pipelines.web.conftest import Open
from tests.worlds.shipping_catalogue import DATE, REASON
from tests.worlds.small_site import HOSTILE

NAME = "Frühling =1+1 “A”"


def test_ticked_results_are_added_shown_exported_and_logged(page: Open, store: MemoryStore) -> None:
    client = page()
    ticks = {"action": "add", "name": f"  {NAME} ", "account_id": ["anna", HOSTILE, "anna"], "q": "sourdough"}
    answer = client.post("/shortlists", data=ticks)
    assert answer.status_code == 303
    shown = page().get(answer.headers["location"]).text  # another process
    assert "2 creators." in shown
    assert 'href="/?q=sourdough"' in shown
    assert HOSTILE not in shown
    assert quote(NAME).replace("%20", "+") in client.get("/shortlists").text.replace("%20", "+")
    file = client.get("/shortlists.csv", params={"name": NAME})
    assert file.headers["content-disposition"] == 'attachment; filename="shortlist.csv"'
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert [row["account_id"] for row in rows] == ["anna", HOSTILE]
    assert rows[0]["followers"] == "0"
    assert rows[0]["vertical_overrides"] == f"{rows[0]['verticals']} is shipped by a person on {DATE}: {REASON}"
    assert REASON in client.get(answer.headers["location"]).text
    assert {event.action for event in audit.Audit(store, lambda: store.now).events()} <= {"export", "shortlist"}
    log = client.get("/audit").text
    assert "exported the shortlist" in log
    assert "added 2 creators" in log
    client.post("/shortlists", data={"action": "remove", "name": NAME, "account_id": "anna"})
    assert "1 creator." in client.get(answer.headers["location"]).text
    assert client.post("/shortlists", data={"action": "delete", "name": NAME}).headers["location"] == "/shortlists"
    assert client.get("/shortlists", params={"name": NAME}).status_code == 404
    assert list(store.keys("shortlists/")) == []


@pytest.mark.parametrize("address", ["/?q=sourdough", "/creator?id=anna"])
def test_the_names_of_other_shortlists_are_offered(page: Open, store: MemoryStore, address: str) -> None:
    assert "<option" not in page().get(address).text.partition('id="shortlist-names"')[2].partition("</datalist>")[0]
    for name in ("Winter", NAME, "<b>"):
        Shortlists(store).add(name, ["anna"], "ann")
    offered = page().get(address).text.partition('<datalist id="shortlist-names">')[2].partition("</datalist>")[0]
    assert re.findall('value="([^"]*)"', offered) == ["&lt;b&gt;", NAME, "Winter"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"action": "add", "name": "x"}, "No creator is ticked"),
        ({"action": "add", "name": " ", "account_id": "anna"}, "a name has 1 to 60 printable characters"),
        ({"action": "add", "name": "x\x00", "account_id": "anna"}, "printable"),
        ({"action": "add", "name": "x" * 61, "account_id": "anna"}, "1 to 60"),
        ({"action": "add", "name": "x", "account_id": "nobody"}, "No live account has the id"),
        ({"action": "steal", "name": "x"}, "it must be add, remove or delete"),
    ],
)
def test_what_cannot_be_kept_is_a_sentence(
    page: Open, store: MemoryStore, fields: dict[str, str], sentence: str
) -> None:
    answer = page().post("/shortlists", data=fields)
    assert (answer.status_code, sentence in answer.text) == (400, True)
    assert store.objects == {}


def test_two_windows_and_lost_answers_lose_nothing(store: MemoryStore) -> None:
    mine, others = Shortlists(store), Shortlists(store)
    others.add("x", ["first"], "ann")
    turns = iter(["second", "third"])

    def interrupt(key: str) -> None:
        store.before_write = lambda _key: None
        if (account := next(turns, None)) is not None:
            others.add("x", [account], "ann")
            store.before_write = interrupt

    store.before_write = interrupt
    assert mine.add("x", ["fourth"], "eva") == 1
    store.before_write = lambda _key: None

    def lose_once(key: str) -> None:
        store.after_write = lambda _key: None
        lose_answer(key)

    store.after_write = lose_once
    mine.add("x", ["fifth"], "eva")
    found = mine.get("x")
    assert found is not None
    assert {entry.account_id for entry in found.entries} == {"first", "second", "third", "fourth", "fifth"}


def test_a_list_has_an_end(store: MemoryStore) -> None:
    kept = Shortlists(store)
    kept.add("x", [str(number) for number in range(shortlists.MOST_ENTRIES)], "ann")
    with pytest.raises(InputError, match="would have 1,001 creators"):
        kept.add("x", ["another"], "ann")


def test_an_erased_account_is_in_no_list_and_no_event(store: MemoryStore) -> None:
    kept, log = Shortlists(store), audit.Audit(store)
    for name in ("x", "y", "for creator-1 only"):
        kept.add(name, ["creator-1", "creator-2"] if name != "y" else ["creator-2"], "ann")
        log.record("ann", "export", f"exported the shortlist {name!r} as CSV")
    assert shortlists.forget_account(store, "creator-1") == 2
    assert audit.forget_account(store, "creator-1") == 1
    assert kept.names() == ["x", "y"]
    assert b"creator-1" not in b"".join(store.objects.values())
    assert sum(len(json.loads(store.objects[key])["entries"]) for key in store.keys("shortlists/")) == 2


def test_an_erased_handle_is_in_no_name_of_a_list_and_the_others_stay(store: MemoryStore) -> None:
    kept, log = Shortlists(store), audit.Audit(store)
    for name in ("for @Anna.x", "for erased", "annas"):
        kept.add(name, ["creator-1", "creator-2"], "ann")
        log.record("ann", "export", f"exported the shortlist {name!r} as CSV")
    assert shortlists.forget_account(store, "creator-1", "Anna.x".__eq__) == 3
    assert audit.forget_account(store, "creator-1", "Anna.x".__eq__) == 1
    assert kept.names() == ["annas", "for erased", "for erased 2"]
    assert b"Anna.x" not in b"".join(store.objects.values())
    moved = kept.get("for erased 2")
    assert moved is not None
    assert (moved.name, [entry.account_id for entry in moved.entries]) == ("for erased 2", ["creator-2"])


def test_thumbs_are_kept_shown_and_taken_back(page: Open, store: MemoryStore) -> None:
    client = page()
    thumb = {"q": "Sustainable  fashion", "country": "DE", "item_kind": "account", "item_id": "anna", "grade": "good",
             "view": "search", "place": "result-1"}  # fmt: skip
    answer = client.post("/judge", data=thumb)
    assert answer.headers["location"] == "/?q=Sustainable++fashion&country=DE#result-1"
    assert client.get("/?q=sustainable fashion").text.count('aria-pressed="true"') == 1
    assert client.post("/judge", data={**thumb, "item_id": "bela", "grade": "bad", "view": ""}).status_code == 204
    [key] = store.keys("landing/judgements/")
    rows = pl.read_parquet(io.BytesIO(store.objects[key]))
    assert rows.select("query", "item_kind", "item_id", "grade", "judge").rows() == [
        ("sustainable fashion", "account", "anna", 1, "local"),
        ("sustainable fashion", "account", "bela", 0, "local"),
    ]
    client.post("/judge", data={**thumb, "grade": "none"})
    assert Judging(store).given("local", "sustainable fashion") == {("account", "bela"): 0}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"grade": "2"}, "it must be good, bad or none"),
        ({"item_kind": "brand"}, "brand"),
        ({"item_id": "nobody"}, "is not in the lake"),
        ({"q": " "}, "must have 1 to 500"),
        ({"place": "x\r\nSet-Cookie: a=b", "view": "search", "q": ""}, "must have 1 to 500"),
    ],
)
def test_what_cannot_be_judged_is_a_sentence(
    page: Open, store: MemoryStore, changed: dict[str, str], sentence: str
) -> None:
    thumb = {"q": "x", "item_kind": "account", "item_id": "anna", "grade": "good", **changed}
    answer = page().post("/judge", data=thumb)
    assert (answer.status_code, sentence in answer.text) == (400, True)
    assert list(store.keys("landing/")) == []
