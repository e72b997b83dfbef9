"""Which posts enter the corpus, and what identifies a chunk."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms import corpus
from assets.transforms.corpus import Dropped, clean, decide

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
POST = {"account_bucket": 0, "account_id": "a", "posted_at": NOON, "likes": 0, "comments": 0, "deleted_at": None}
TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "deleted_at": pl.Datetime("us", "UTC"),
    "posted_at": pl.Datetime("us", "UTC"),
    "text": pl.String,
}


def posts(*rows: Mapping[str, object]) -> pl.DataFrame:
    return pl.DataFrame([{**POST, **row} for row in rows], schema_overrides=TYPES)


def accounts(**deleted: datetime | None) -> pl.DataFrame:
    rows = {"account_id": list(deleted), "deleted_at": list(deleted.values())}
    return pl.DataFrame(rows, schema_overrides={"deleted_at": pl.Datetime("us", "UTC")})


def reasons(frame: pl.DataFrame) -> dict[str, str | None]:
    return dict(frame.select("post_id", "dropped_because").iter_rows())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, ""),
        ("  \n\t ", ""),
        ("Fish &amp; chips", "Fish & chips"),
        ("look https://t.co/x1?y=2 now", "look now"),
        ("WWW.Example.com/path end", "end"),
        ("e\u0301clair", "éclair"),
        ("a\u200bb\ufeffc\u00add", "abcd"),
        ("null\x00byte", "nullbyte"),
        ("line\r\nbreak\u2028and\u00a0more", "line break and more"),
        ("👩\u200d🍳 cooks 👋🏽", "👩\u200d🍳 cooks 👋🏽"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("שלום עולם", "שלום עולם"),
    ],
)
def test_clean(text: str | None, expected: str) -> None:
    assert clean(text) == expected


@given(st.text())
def test_clean_is_idempotent_on_entity_free_text(text: str) -> None:
    once = clean(text.replace("&", ""))
    assert clean(once) == once


@pytest.mark.parametrize(("text", "expected"), [("…!?", False), ("", False), ("🎉", True), ("7", True), ("ok", True)])
def test_has_words(text: str, expected: bool) -> None:
    assert corpus.has_words(text) is expected


def test_the_first_reason_that_holds_is_given() -> None:
    decided = decide(
        posts(
            {"post_id": "kept", "text": "sunny"},
            {"post_id": "gone", "text": "sunny", "deleted_at": NOON},
            {"post_id": "orphan", "text": "rain", "account_id": "nobody"},
            {"post_id": "closed", "text": "rain", "account_id": "b"},
            {"post_id": "blank", "text": " !! "},
            {"post_id": "none", "text": None},
            {"post_id": "again", "text": "sunny https://x.y", "posted_at": NOON + timedelta(1)},
        ),
        accounts(a=None, b=NOON),
    )
    assert reasons(decided) == {
        "kept": None,
        "gone": Dropped.POST_DELETED,
        "orphan": Dropped.ACCOUNT_UNKNOWN,
        "closed": Dropped.ACCOUNT_DELETED,
        "blank": Dropped.EMPTY,
        "none": Dropped.EMPTY,
        "again": Dropped.DUPLICATE,
    }
    assert dict(decided.schema) == {name: dtype() for name, dtype in corpus.DECISIONS_SCHEMA.items()}


def test_of_equal_texts_the_oldest_stays_and_other_accounts_keep_theirs() -> None:
    decided = decide(
        posts(
            {"post_id": "p2", "text": "same"},
            {"post_id": "p1", "text": "same"},
            {"post_id": "p0", "text": "same", "posted_at": NOON + timedelta(hours=1)},
            {"post_id": "q", "text": "same", "account_id": "b", "posted_at": NOON + timedelta(hours=2)},
            {"post_id": "undated", "text": "same", "posted_at": None},
        ),
        accounts(a=None, b=None),
    )
    assert {post for post, reason in reasons(decided).items() if reason is None} == {"p1", "q"}


def test_a_deleted_post_does_not_shadow_its_twin() -> None:
    rows = posts({"post_id": "old", "text": "same", "deleted_at": NOON}, {"post_id": "new", "text": "same"})
    assert reasons(decide(rows, accounts(a=None)))["new"] is None


def test_over_the_cap_the_newest_stay_then_the_most_engaged() -> None:
    decided = decide(
        posts(
            {"post_id": "oldest", "text": "1", "posted_at": NOON - timedelta(9), "likes": 10**6},
            {"post_id": "all_quiet", "text": "2", "likes": 1, "comments": 1},
            {"post_id": "loud", "text": "3", "likes": 1, "comments": 2},
            {"post_id": "newest", "text": "4", "posted_at": NOON + timedelta(1), "likes": None},
            {"post_id": "undated", "text": "5", "posted_at": None},
        ),
        accounts(a=None),
        max_posts_per_account=2,
    )
    assert {post for post, reason in reasons(decided).items() if reason is None} == {"newest", "loud"}
    assert {reason for reason in reasons(decided).values() if reason} == {Dropped.OVER_CAP}


@pytest.mark.parametrize("unknown", ["likes", "comments"])
def test_unknown_engagement_counts_as_none(unknown: str) -> None:
    less = {"post_id": "a", "text": "1", "likes": 1, "comments": 1, unknown: None}
    more = {"post_id": "b", "text": "2", "likes": 1, "comments": 1}
    decided = decide(posts(less, more), accounts(a=None), max_posts_per_account=1)
    assert reasons(decided) == {"a": Dropped.OVER_CAP, "b": None}


def test_the_cap_is_20_000_an_account() -> None:
    rows = posts(*({"post_id": f"{number:05}", "text": str(number)} for number in range(20_002)))
    decided = reasons(decide(rows, accounts(a=None)))
    assert sum(reason == Dropped.OVER_CAP for reason in decided.values()) == 2


row = st.fixed_dictionaries(
    {
        "text": st.sampled_from(["x", "y", "z", "", "x  "]),
        "account_id": st.sampled_from("abc"),
        "likes": st.sampled_from([None, 0, 5]),
        "posted_at": st.sampled_from([None, NOON, NOON + timedelta(1)]),
        "deleted_at": st.sampled_from([None, NOON]),
    }
)


@given(st.lists(row, min_size=1, max_size=12), st.randoms(use_true_random=False), st.integers(1, 4))
def test_every_post_is_decided_whatever_the_order(rows: list[dict[str, object]], random, cap: int) -> None:  # type: ignore[no-untyped-def]
    named = [{**found, "post_id": f"p{number}"} for number, found in enumerate(rows)]
    before = reasons(decide(posts(*named), accounts(a=None, b=None), cap))
    random.shuffle(named)
    assert reasons(decide(posts(*named), accounts(a=None, b=None), cap)) == before
    assert set(before) == {found["post_id"] for found in named}
    kept = [found for found in named if before[str(found["post_id"])] is None]
    assert all(sum(found["account_id"] == owner for found in kept) <= cap for owner in "ab")
    assert len({(found["account_id"], clean(str(found["text"]))) for found in kept}) == len(kept)


def test_ids_and_hashes_never_change() -> None:
    assert corpus.point_id("yt_1", 0) == "005aaac6-0b02-5132-9e9d-1819b0093b87"
    assert corpus.point_id("p1", 0) != corpus.point_id("p", 10)
    assert corpus.point_id("p", 1) != corpus.point_id("p", 2)
    assert corpus.content_hash("hello") == "46fb7408d4f285228f4af516ea25851b"


def test_attributes_join_the_owner() -> None:
    owners = pl.DataFrame({"account_id": ["a"], "handle": ["@a"], "language": ["en"], "country": [None]})
    found = corpus.attributes(posts({"post_id": "p", "text": "t", "network": "x"}), owners)
    assert found.to_dicts() == [
        {
            "post_id": "p", "account_id": "a", "account_bucket": 0, "network": "x", "posted_at": NOON,
            "text": "t", "handle": "@a", "language": "en", "country": None,
        }
    ]  # fmt: skip
