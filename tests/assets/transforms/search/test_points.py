"""Payloads, their digests, and the comparison of (id, digest) pairs."""

from datetime import UTC, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.search.points import (
    ADD,
    DIGEST,
    REWRITE,
    SET_PAYLOAD,
    compare,
    desired_points,
    payload_digest,
    payloads,
    stored_points,
)

TAG_SCHEMA = {"item_kind": pl.String, "item_id": pl.String, "vertical": pl.String}
CHUNK = {
    "point_id": "u", "post_id": "p", "chunk_no": 0, "account_id": "a", "account_bucket": 3, "handle": None,
    "text": "hi", "network": "x", "language": "en", "country": None, "followers_tier": 7, "content_hash": "c",
    "tokens": 1, "posted_at": datetime(2026, 7, 1, tzinfo=UTC),
}  # fmt: skip


def made(*tags: tuple[str, str, str], **changed: object) -> dict[str, object]:
    chunks = pl.DataFrame([{**CHUNK, **changed}], schema_overrides={"posted_at": pl.Datetime("us", "UTC")})
    points = desired_points(chunks, pl.DataFrame(list(tags), schema=TAG_SCHEMA, orient="row"))
    (payload,) = payloads(points)
    return payload


def test_a_payload_has_what_is_filtered_and_shown() -> None:
    found = made(("account", "a", "music"), ("account", "a", "food"), ("post", "p", "pets"), ("post", "other", "food"))
    assert found.pop(DIGEST) == payload_digest(found)
    assert found == {
        "post_id": "p", "chunk_no": 0, "account_id": "a", "account_bucket": 3, "network": "x", "language": "en",
        "followers_tier": 7, "text": "hi", "content_hash": "c", "posted_at": "2026-07-01T00:00:00+00:00",
        "verticals": ["food", "music"], "post_verticals": ["pets"],
    }  # fmt: skip


def test_the_digest_sees_every_field_and_no_order() -> None:
    base = made()[DIGEST]
    for field, value in {
        "country": "FR",
        "text": "ho",
        "posted_at": None,
        "handle": "@a",
        "network": "y",
        "followers_tier": 8,
    }.items():
        assert made(**{field: value})[DIGEST] != base, field
    assert made(("post", "p", "food"))[DIGEST] != base
    assert made(("account", "a", "b"), ("account", "a", "c")) == made(("account", "a", "c"), ("account", "a", "b"))
    assert made(tokens=2)[DIGEST] == base


def test_no_tags_are_empty_lists() -> None:
    found = made()
    assert (found["verticals"], found["post_verticals"]) == ([], [])


def test_the_digest_never_changes() -> None:
    # A stored digest is compared with those of later versions: another way to hash would rewrite every point.
    assert payload_digest({"a": 1, "b": ["é"]}) == payload_digest({"b": ["é"], "a": 1}) == 5793557473868830
    assert made()[DIGEST] == 2513297834521013


texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts, st.none() | texts, st.datetimes(timezones=st.just(UTC)), st.lists(texts, max_size=3, unique=True))
def test_the_digest_of_a_row_is_that_of_its_payload(
    text: str, handle: str | None, posted_at: datetime, tags: list[str]
) -> None:
    """Rows are hashed by the column and payloads one by one: two writers of JSON must agree."""
    payload = made(*(("post", "p", tag) for tag in tags), text=text, handle=handle, posted_at=posted_at)
    assert payload.pop(DIGEST) == payload_digest(payload) < 2**53
    assert datetime.fromisoformat(str(payload["posted_at"])) == posted_at


def test_a_payload_that_is_none_of_ours_has_a_digest_too() -> None:
    """Anybody may write to a collection, and a number beyond 64 bits is no JSON to everyone."""
    assert payload_digest({"a": 2**70}) == payload_digest({"a": 2**70})
    assert payload_digest({"a": 2**70}) != payload_digest({"a": 2**71})
    assert payload_digest({"a": float("nan")}) != payload_digest({"a": 0.0})


said = st.dictionaries(st.sampled_from("pqrstu"), st.tuples(st.sampled_from("12"), st.sampled_from([8, 9])))


def points(of: dict[str, tuple[str, int]]) -> pl.DataFrame:
    return stored_points((point, *pair) for point, pair in of.items())


@given(said, said)
def test_doing_what_compare_says_makes_them_equal(
    want: dict[str, tuple[str, int]], have: dict[str, tuple[str, int]]
) -> None:
    found, unwanted = compare(points(want), points(have))
    actions = dict(found.select("point_id", "action").iter_rows())
    after = {point: pair for point, pair in have.items() if point not in unwanted}
    for point, action in actions.items():
        if action == SET_PAYLOAD:
            after[point] = (after[point][0], want[point][1])
        elif action:
            assert (point in have) == (action == REWRITE)
            after[point] = want[point]
    assert after == want
    assert {point for point, action in actions.items() if not action} == {p for p in want if have.get(p) == want[p]}
    assert found["point_id"].to_list() == sorted(want)


def test_swapped_contents_are_seen() -> None:
    wanted, held = points({"p": ("1", 8), "q": ("2", 9)}), points({"p": ("2", 9), "q": ("1", 8)})
    assert compare(wanted, held)[0]["action"].to_list() == [REWRITE, REWRITE]
    assert compare(wanted, points({"p": ("2", 8), "q": ("2", 8)}))[0]["action"].to_list() == [REWRITE, SET_PAYLOAD]
    assert compare(wanted, points({"q": ("2", 9)}))[0]["action"].to_list() == [ADD, None]


def test_an_id_that_is_told_twice_counts_once() -> None:
    assert stored_points([("p", "1", 8), ("p", "1", 8), ("o", "", -1)]).rows() == [("o", "", -1), ("p", "1", 8)]
