"""Payloads, their hashes, and the comparison of (id, hash) pairs."""

from datetime import UTC, datetime

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.points import compare, payload_hash, payloads

TAG_SCHEMA = {"item_kind": pl.String, "item_id": pl.String, "vertical": pl.String}
CHUNK = {
    "point_id": "u", "post_id": "p", "chunk_no": 0, "account_id": "a", "account_bucket": 3, "handle": None,
    "text": "hi", "network": "x", "language": "en", "country": None, "content_hash": "c", "tokens": 1,
    "posted_at": datetime(2026, 7, 1, tzinfo=UTC),
}  # fmt: skip


def made(*tags: tuple[str, str, str], **changed: object) -> dict[str, object]:
    chunks = pl.DataFrame([{**CHUNK, **changed}])
    return payloads(chunks, pl.DataFrame(list(tags), schema=TAG_SCHEMA, orient="row"))["u"]


def test_a_payload_has_what_is_filtered_and_shown() -> None:
    found = made(("account", "a", "music"), ("account", "a", "food"), ("post", "p", "pets"), ("post", "other", "food"))
    assert found.pop("payload_hash") == payload_hash(found)
    assert found == {
        "post_id": "p", "chunk_no": 0, "account_id": "a", "account_bucket": 3, "network": "x", "language": "en",
        "text": "hi", "content_hash": "c", "posted_at": "2026-07-01T00:00:00+00:00",
        "verticals": ["food", "music"], "post_verticals": ["pets"],
    }  # fmt: skip


def test_the_hash_sees_every_field_and_no_order() -> None:
    base = made()["payload_hash"]
    for field, value in {"country": "FR", "text": "ho", "posted_at": None, "handle": "@a", "network": "y"}.items():
        assert made(**{field: value})["payload_hash"] != base, field
    assert made(("post", "p", "food"))["payload_hash"] != base
    assert made(("account", "a", "b"), ("account", "a", "c")) == made(("account", "a", "c"), ("account", "a", "b"))
    assert made(tokens=2)["payload_hash"] == base


def test_no_tags_are_empty_lists() -> None:
    found = made()
    assert (found["verticals"], found["post_verticals"]) == ([], [])


def test_the_hash_never_changes() -> None:
    # A stored hash is compared with those of later versions: another way to hash would rewrite every point.
    assert (
        payload_hash({"a": 1, "b": ["é"]}) == payload_hash({"b": ["é"], "a": 1}) == "1c39fe90994e8471c7dec2b05671d837"
    )


def test_a_payload_that_is_none_of_ours_has_a_hash_too() -> None:
    """Anybody may write to a collection, and a number beyond 64 bits is no JSON to everyone."""
    assert payload_hash({"a": 2**70}) == payload_hash({"a": 2**70})
    assert payload_hash({"a": 2**70}) != payload_hash({"a": 2**71})
    assert payload_hash({"a": float("nan")}) != payload_hash({"a": 0.0})


hashes = st.dictionaries(st.sampled_from("pqrstu"), st.tuples(st.sampled_from("12"), st.sampled_from("89")))


@given(hashes, hashes)
def test_doing_what_compare_says_makes_them_equal(
    want: dict[str, tuple[str, str]], have: dict[str, tuple[str, str]]
) -> None:
    desired = {point: {"content_hash": c, "payload_hash": p} for point, (c, p) in want.items()}
    todo = compare(desired, [(point, c, p) for point, (c, p) in have.items()])
    after = {point: pair for point, pair in have.items() if point not in todo.gone}
    after |= {point: want[point] for point in [*todo.new, *todo.reembedded, *todo.repayloaded]}
    assert after == want
    assert todo.unchanged == sum(have.get(point) == pair for point, pair in want.items())
    assert all(want[point][0] == have[point][0] for point in todo.repayloaded)


def test_swapped_contents_are_seen() -> None:
    desired = {"p": {"content_hash": "1", "payload_hash": "x"}, "q": {"content_hash": "2", "payload_hash": "y"}}
    todo = compare(desired, [("p", "2", "y"), ("q", "1", "x")])
    assert todo.reembedded == ["p", "q"]
