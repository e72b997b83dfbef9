"""What an account repeats below its posts does not make them near-duplicates."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from assets.transforms.text.boilerplate import LEAST_POSTS, without_boilerplate
from assets.transforms.text.corpus import decide

LINKS = """Subscribe to my channel and ring the bell, so that you miss no video of mine.
Follow me on every network: I am there under the same name as here.
Business inquiries only: write to my manager, whose address is in the profile."""
TITLES = ["How I bake bread", "Ten rules of chess", "My cat learns to swim", "A week in Lisbon", "Unboxing a violin"]


def near_duplicates(texts: list[str]) -> list[str]:
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    posts = pl.DataFrame(
        [
            {"account_bucket": 0, "account_id": "a", "post_id": str(number), "text": text, "likes": 0, "comments": 0,
             "shares": 0, "posted_at": noon + timedelta(number), "deleted_at": None}
            for number, text in enumerate(texts)
        ],
        schema_overrides={"deleted_at": pl.Datetime("us", "UTC")},
    )  # fmt: skip
    accounts = pl.DataFrame({"account_id": ["a"], "deleted_at": [None]}, schema_overrides={"deleted_at": pl.Datetime})
    decided = decide(posts, accounts)
    return decided.filter(pl.col("dropped_because") == "near_duplicate")["post_id"].sort().to_list()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_videos_with_the_same_links_below_are_different(count: int) -> None:
    assert near_duplicates([f"{title}\n{LINKS}" for title in TITLES[:count]]) == []
    assert near_duplicates([f"{title}. {' '.join(LINKS.splitlines())}" for title in TITLES[:count]]) == []


def test_boilerplate_above_and_episodes_with_a_number_are_told_apart() -> None:
    assert near_duplicates([f"Welcome back!\n{title}\n{LINKS}" for title in TITLES]) == []
    assert near_duplicates([f"Minecraft survival, episode {number}\n{LINKS}" for number in range(4)]) == []
    assert near_duplicates([f"{title}をやってみた。{'チャンネル登録をお願いします。' * 3}" for title in "猫犬鳥"]) == []


def test_a_text_that_is_posted_again_with_small_changes_is_a_near_duplicate() -> None:
    text = f"{TITLES[0]}\n{LINKS}"
    assert near_duplicates([text, text.upper(), f"{text} 😀", text.replace("bell", "bells")]) == ["1", "2", "3"]
    motto = "every morning I walk the dog along the river and think about what to cook for dinner"
    assert near_duplicates([motto, f"{motto}!!", motto.replace("dinner", "supper")]) == ["1", "2"]


def test_a_sentence_of_three_texts_is_not_their_own() -> None:
    texts = [["Title", "Same line. own 1"], ["Title", "Same line.", "own 2"], ["Title: SAME line.", "title"]]
    assert [text.own for text in without_boilerplate(texts)] == [
        "Same line. own 1",
        "Same line. own 2",
        "Title: SAME line.",
    ]
    assert [text.own for text in without_boilerplate(texts[1:])] == [
        "Title Same line. own 2",
        "Title: SAME line. title",
    ]
    assert without_boilerplate([["Same"]] * LEAST_POSTS) == [("Same", "", "Same")] * LEAST_POSTS
    assert without_boilerplate([[]]) == [("", "", "")]
    assert without_boilerplate([[" ".join("abcdefghijklmnop")]])[0].title == "a b c d e f g h i j k l"
