"""Labels given on the page: each is on the store before the next post is shown, whatever happens to the server."""

import io
import re
import threading
from collections.abc import Callable
from urllib.parse import urlencode

import polars as pl
import pytest

from assets.dropped_files import label_rows
from assets.labelling import Labelling, LabelNotKeptError
from assets.transforms.labels.page import annotator_name
from assets.transforms.labels.queue import is_planned_overlap
from resources.delta.table import LakeResource
from resources.s3.client import S3Resource
from tests.fakes.spend_store import MemoryStore, lose_answer
from tests.pipelines.web.conftest import Open
from tests.worlds.small_site import HOSTILE, OTHER, VERTICAL, in_order_of_uncertainty, post_id

ORDER = in_order_of_uncertainty()
WHO = {"annotator": "ann", "vertical": VERTICAL}


def shown(text: str) -> str:
    """The id of the post that a page shows."""
    [found] = re.findall(r'name="item_id" value="([^"]*)"', text)
    return str(found)


def labels(store: MemoryStore) -> list[tuple[str, str, bool]]:
    """The labels of all files, as the lineage reads them."""
    rows = [
        row
        for key in sorted(store.keys("landing/"))
        for table in label_rows(key, store.objects[key])
        for row in table.to_pylist()
    ]
    assert all(row["reason"] is None and row["item_kind"] == "post" for row in rows)
    return [(row["annotator"], row["item_id"], row["is_member"]) for row in rows]


def press(page: Open, action: str, address: str = "") -> str:
    """Press a button of a page that a new server serves; return the address of the next page."""
    client = page()
    text = client.get(address or f"/label?{urlencode(WHO)}").text
    form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text))
    answer = client.post("/label", data={**form, "action": action})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def test_yes_no_skip_and_undo(page: Open, store: MemoryStore) -> None:
    """Every press is answered by a server that knows nothing but the store, as after a kill."""
    client = page()
    assert shown(client.get(f"/label?{urlencode(WHO)}").text) == ORDER[0]
    after = press(page, "yes")
    assert labels(store) == [("ann", ORDER[0], True)]
    assert shown(client.get(after).text) == ORDER[1]
    after = press(page, "skip", after)
    assert shown(client.get(after).text) == ORDER[2]
    after = press(page, "no", after)
    assert labels(store) == [("ann", ORDER[0], True), ("ann", ORDER[2], False)]
    assert shown(client.get(after).text) == ORDER[3]
    after = press(page, "undo", after)
    assert labels(store) == [("ann", ORDER[0], True)]
    assert shown(client.get(after).text) == ORDER[2]
    after = press(page, "yes", after)
    assert labels(store) == [("ann", ORDER[0], True), ("ann", ORDER[2], True)]
    assert "2 labels" in client.get(after).text
    for _ in range(3):
        after = press(page, "undo", after)
    assert labels(store) == []


def test_until_no_post_is_left(page: Open, store: MemoryStore) -> None:
    client = page()
    for item in ORDER:
        client.post("/label", data={**WHO, "item_id": item, "action": "no"})
    assert len(labels(store)) == len(ORDER)
    assert "no post left" in client.get(f"/label?{urlencode(WHO)}").text
    again = next(item for item in ORDER if is_planned_overlap(VERTICAL, item))
    assert shown(client.get(f"/label?{urlencode({**WHO, 'annotator': 'eva'})}").text) == again
    assert len(list(store.keys("landing/"))) == len(list(store.keys("audit/"))) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"action": "maybe"}, "it must be yes, no, skip or undo."),
        ({"item_id": "nobody"}, "is not in the lake any more"),
        ({"item_id": HOSTILE}, "is not in the lake any more"),
        ({"vertical": HOSTILE}, "choose one of the list."),
        ({"annotator": "../x"}, "it must begin with"),
        ({"annotator": ""}, "it must begin with"),
        ({"skipped": "-1"}, "it must be 0 to 100,000."),
        ({"language": "Klingonese"}, "Unknown language"),
    ],
)
def test_a_bad_form_keeps_nothing(page: Open, store: MemoryStore, change: dict[str, str], sentence: str) -> None:
    answer = page().post("/label", data={**WHO, "item_id": ORDER[0], "action": "yes", **change})
    assert answer.status_code == 400
    assert sentence in answer.text
    assert store.objects == {}


def test_a_post_is_shown_in_a_language_that_the_person_reads(page: Open) -> None:
    english = page().get(f"/label?{urlencode({**WHO, 'language': 'English'})}").text
    assert shown(english) == ORDER[0]
    assert "no post left" in page().get(f"/label?{urlencode({**WHO, 'language': 'ja'})}").text


@pytest.fixture
def labelling(store: MemoryStore) -> Labelling:
    return Labelling(LakeResource(s3=S3Resource(bucket="none")), store)


def test_the_last_label_of_a_post_and_vertical_counts(labelling: Labelling, store: MemoryStore) -> None:
    for item, vertical, is_member in [("p1", VERTICAL, True), ("p2", VERTICAL, True), ("p1", OTHER, True),
                                      ("p1", VERTICAL, False)]:  # fmt: skip
        labelling.label("ann", item, vertical, is_member=is_member)
    found = labelling.labels("ann").select("item_id", "vertical", "is_member").rows()
    assert found == [("p2", VERTICAL, True), ("p1", OTHER, True), ("p1", VERTICAL, False)]
    assert labelling.undo("ann", VERTICAL) == "p1"
    assert labelling.undo("ann", VERTICAL) == "p2"
    assert labelling.undo("ann", VERTICAL) is None
    assert labelling.undo("eva", VERTICAL) is None
    assert len(store.objects) == 1


def test_windows_of_one_person_lose_nothing(labelling: Labelling, store: MemoryStore) -> None:
    """Another window writes between each read and write of this one, and one answer in two is lost."""
    written: list[int] = []

    def meanwhile(_key: str) -> None:
        store.before_write = lambda _: None
        written.append(len(written))
        labelling.label("ann", f"other{written[-1]}", VERTICAL, is_member=False)

    for number in range(6):
        store.before_write = meanwhile
        store.after_write = lose_once(store) if number % 2 else lambda _: None
        labelling.label("ann", f"mine{number}", VERTICAL, is_member=True)
    expected = {f"{whose}{number}" for whose in ("mine", "other") for number in range(6)}
    assert sorted(labelling.labels("ann")["item_id"]) == sorted(expected)


def lose_once(store: MemoryStore) -> Callable[[str], None]:
    def lose(key: str) -> None:
        store.after_write = lambda _: None
        lose_answer(key)

    return lose


def test_threads_lose_nothing(labelling: Labelling) -> None:
    def give(who: int) -> None:
        for number in range(5):
            labelling.label("ann", f"{who}/{number}", VERTICAL, is_member=True)

    threads = [threading.Thread(target=give, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert labelling.labels("ann").height == 15


def test_a_store_that_never_takes_a_label_is_a_sentence(labelling: Labelling, store: MemoryStore) -> None:
    store.before_write = lose_answer
    with pytest.raises(LabelNotKeptError, match="The label was not kept"):
        labelling.label("ann", "p1", VERTICAL, is_member=True)
    assert store.objects == {}


def test_labels_of_the_page_are_files_as_people_drop_them(labelling: Labelling, store: MemoryStore) -> None:
    labelling.label("ann", post_id("anna", 0), VERTICAL, is_member=True)
    [(key, body)] = store.objects.items()
    assert re.fullmatch(r"landing/labels/page/ann/\d{4}-\d\d-\d\d\.parquet", key)
    rows = pl.read_parquet(io.BytesIO(body))
    assert rows["annotator"].to_list() == ["ann"]
    assert rows["labelled_at"].null_count() == 0


@pytest.mark.parametrize(
    ("written", "name"), [("Ann", "ann"), (" Ann  Lee ", "ann-lee"), ("eva@x.test", "eva@x.test"), ("7", "7")]
)
def test_a_name_is_part_of_a_key(written: str, name: str) -> None:
    assert annotator_name(written) == name


@pytest.mark.parametrize("written", ["", " ", ".", "../x", "a/b", "Ünal", "x" * 65, "a\n/b", "-a"])
def test_a_name_that_cannot_be_part_of_a_key_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="it must begin with"):
        annotator_name(written)
