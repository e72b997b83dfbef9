"""Which posts enter the corpus, and what identifies a chunk."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assets.transforms.text import corpus
from assets.transforms.text.cleaning import clean
from assets.transforms.text.corpus import Dropped, decide
from assets.transforms.text.near_duplicates import near_duplicates

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
POST = {
    "account_bucket": 0,
    "account_id": "a",
    "posted_at": NOON,
    "likes": 0,
    "comments": 0,
    "shares": 0,
    "deleted_at": None,
}
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


def test_only_the_posts_that_may_be_kept_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counted(texts: Sequence[str]) -> list[int | None]:
        compared.append(len(texts))
        return near_duplicates(texts)

    monkeypatch.setattr(corpus, "near_duplicates", counted)
    rows = [{"post_id": f"{n:03}", "text": f"post{n}", "posted_at": NOON + timedelta(n)} for n in range(100)]
    decided = decide(posts(*rows, {"post_id": "b", "account_id": "b", "text": "x"}), accounts(a=None, b=None), 4)
    assert compared == [4 * corpus.COMPARED_PER_KEPT, 1]
    assert decided["dropped_because"].value_counts().sort("count").rows() == [(None, 5), ("over_cap", 96)]
    assert {"096", "097", "098", "099"} & kept(decided) >= {"098", "099"}


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
            {"post_id": "nearly", "text": "SUNNY ☀", "posted_at": NOON + timedelta(1)},
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
        "nearly": Dropped.NEAR_DUPLICATE,
    }
    repeats = dict(decided.filter(pl.col("duplicate_of").is_not_null()).select("post_id", "duplicate_of").iter_rows())
    assert repeats == {"again": "kept", "nearly": "kept"}
    assert dict(decided.schema) == {name: dtype() for name, dtype in corpus.DECISIONS_SCHEMA.items()}


def test_texts_behind_an_address_without_a_space_are_told_apart() -> None:
    said = [f"https://youtu.be/abc{what}" for what in ("今日はラーメン", "明日は寿司です", "新しい動画")]
    decided = decide(posts(*({"post_id": text[20:], "text": text} for text in said)), accounts(a=None))
    assert decided["dropped_because"].to_list() == [None] * 3


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


def kept(frame: pl.DataFrame) -> set[str]:
    return {post for post, reason in reasons(frame).items() if reason is None}


def test_nearly_equal_texts_of_an_account_are_kept_once() -> None:
    long = "the quick brown fox jumps over the lazy dog and then it runs all the way home before the rain"
    decided = decide(
        posts(
            {"post_id": "first", "text": long},
            {"post_id": "shouted", "text": f"{long.upper()}!!", "posted_at": NOON + timedelta(1)},
            {"post_id": "edited", "text": long.replace("lazy", "sleepy"), "posted_at": NOON + timedelta(2)},
            {"post_id": "other", "text": long.replace("runs", "sleeps").replace("rain", "snow").replace("lazy", "big")},
            {"post_id": "elsewhere", "text": f"{long}!", "account_id": "b", "posted_at": NOON + timedelta(3)},
        ),
        accounts(a=None, b=None),
    )
    assert kept(decided) == {"first", "other", "elsewhere"}
    assert {reason for reason in reasons(decided).values() if reason} == {Dropped.NEAR_DUPLICATE}
    assert set(decided["duplicate_of"].drop_nulls()) == {"first"}


def test_over_the_cap_most_are_the_newest_and_the_rest_the_most_engaging() -> None:
    rows = [{"post_id": f"new{day}", "text": f"new {day}", "posted_at": NOON + timedelta(day)} for day in range(8)]
    rows += [
        {"post_id": "loved", "text": "x1", "likes": 9000, "posted_at": NOON - timedelta(9)},
        {"post_id": "shared", "text": "x2", "shares": 300, "posted_at": NOON - timedelta(8)},
        {"post_id": "newer", "text": "x3", "comments": 5, "posted_at": NOON - timedelta(1)},
        {"post_id": "undated", "text": "x4", "likes": 299, "posted_at": None},
    ]
    newest = {f"new{day}" for day in range(8)}
    assert kept(decide(posts(*rows), accounts(a=None), max_posts_per_account=10)) == newest | {"loved", "shared"}
    assert kept(decide(posts(*rows), accounts(a=None), max_posts_per_account=5)) == {
        "new4",
        "new5",
        "new6",
        "new7",
        "loved",
    }
    over = decide(posts(*rows), accounts(a=None), max_posts_per_account=10)["dropped_because"].drop_nulls()
    assert set(over) == {Dropped.OVER_CAP}


def test_a_text_that_is_said_again_is_as_new_as_its_last_repetition() -> None:
    long = "the quick brown fox jumps over the lazy dog and then it runs all the way home before the rain"
    rows = [{"post_id": f"p{day}", "text": f"post {day}", "posted_at": NOON + timedelta(day)} for day in range(1, 6)]
    rows += [
        {"post_id": "motto", "text": "said again", "posted_at": NOON - timedelta(9)},
        {"post_id": "motto again", "text": "said again", "posted_at": NOON + timedelta(8)},
        {"post_id": "fox", "text": long, "posted_at": NOON - timedelta(8)},
        {"post_id": "fox shouted", "text": long.upper(), "posted_at": NOON - timedelta(7)},
        {"post_id": "fox shouted again", "text": long.upper(), "posted_at": NOON + timedelta(7)},
        {"post_id": "deleted", "text": "said again", "posted_at": NOON + timedelta(9), "deleted_at": NOON},
        {"post_id": "old", "text": "said once", "posted_at": NOON - timedelta(9)},
    ]
    decided = decide(posts(*rows), accounts(a=None), max_posts_per_account=4)
    assert kept(decided) == {"motto", "fox", "p5", "p4"}
    repeats = dict(decided.filter(pl.col("duplicate_of").is_not_null()).select("post_id", "duplicate_of").iter_rows())
    assert repeats == {"motto again": "motto", "fox shouted": "fox", "fox shouted again": "fox shouted"}


def test_a_few_more_likes_change_nothing() -> None:
    rows = [
        {"post_id": f"p{day}", "text": f"t {day}", "posted_at": NOON + timedelta(day), "likes": 70} for day in range(9)
    ]
    before = decide(posts(*rows), accounts(a=None), max_posts_per_account=5)
    rows[0]["likes"] = 75
    assert decide(posts(*rows), accounts(a=None), max_posts_per_account=5).equals(before)
    rows[0]["likes"] = 70_000
    assert "p0" in kept(decide(posts(*rows), accounts(a=None), max_posts_per_account=5)) - kept(before)


def test_between_equal_times_and_engagement_the_smaller_id_stays() -> None:
    rows = [{"post_id": name, "text": name} for name in ("c", "a", "b", "e", "d")]
    assert kept(decide(posts(*rows), accounts(a=None), max_posts_per_account=3)) == {"a", "b", "c"}


@pytest.mark.parametrize("unknown", ["likes", "comments", "shares"])
def test_unknown_engagement_counts_as_none(unknown: str) -> None:
    less = {"post_id": "a", "text": "1", "likes": 9, "comments": 9, "shares": 9, unknown: None}
    more = {"post_id": "b", "text": "2", "likes": 99, "comments": 99, "shares": 99}
    newest = [{"post_id": f"n{n}", "text": f"n {n}", "posted_at": NOON + timedelta(n + 1)} for n in range(4)]
    decided = decide(posts(less, more, *newest), accounts(a=None), max_posts_per_account=5)
    assert kept(decided) == {"b", "n0", "n1", "n2", "n3"}


def test_decisions_are_counted_by_bucket_and_reason() -> None:
    decided = decide(
        posts({"post_id": "1", "text": "x"}, {"post_id": "2", "text": "y"}, {"post_id": "3", "text": None}),
        accounts(a=None),
    )
    counted = corpus.count_decisions(decided).sort("dropped_because")
    assert counted.rows() == [(0, Dropped.EMPTY, 1), (0, corpus.KEPT, 2)]


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


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


def test_hashtags_of_the_column_are_part_of_the_text() -> None:
    rows = posts(
        {"post_id": "tagged", "text": "Dinner", "hashtags": ["vegan", "dinner"]},
        {"post_id": "tags alone", "text": None, "hashtags": ["SlowLiving"]},
        {"post_id": "none", "text": None, "hashtags": None},
        {"post_id": "blank", "text": " ", "hashtags": ["#", ""]},
    )
    assert corpus.post_texts(rows) == ["Dinner #vegan", "#SlowLiving", "", ""]
    decided = decide(rows, accounts(a=None))
    assert kept(decided) == {"tagged", "tags alone"}
    hashes = dict(decided.select("post_id", "text_hash").iter_rows())
    assert hashes["tagged"] == corpus.content_hash("Dinner #vegan")


def test_another_hashtag_is_another_input() -> None:
    of_tags = [
        corpus.input_hashes(posts({"post_id": "p", "text": "x", "hashtags": tags}), accounts(a=None))["imprint"][0]
        for tags in (["ab"], ["bc"], ["ab", "bc"], None)
    ]
    assert len(set(of_tags)) == 4
