"""Summaries of accounts: their own sentences, each with its post."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.transforms.summaries.accounts import SUMMARY_CHARACTERS, excerpt, extract, summarise
from assets.transforms.summaries.posts import CHOSEN_SCHEMA
from assets.transforms.text.cleaning import clean_lines

POSTS = {
    "p1": "Sourdough for beginners\nI bake sourdough bread every Sunday. Subscribe for more!",
    "p2": "My sourdough bread needs three days. https://example.com",
    "p3": "I bake sourdough bread every Sunday, and you can too.\n#bread #baking #sourdough",
    "p4": "A trip to Lisbon with my sister.",
}


def words(text: str) -> list[str]:
    return text.casefold().replace(".", " ").replace(",", " ").split()


def chosen(posts: dict[str, str], account: str = "a") -> pl.DataFrame:
    rows = [(0, account, post, "en", 1.0, len(posts), text.replace("\n", " ")) for post, text in posts.items()]
    return pl.DataFrame(rows, schema=CHOSEN_SCHEMA, orient="row")


def texts(posts: dict[str, str]) -> pl.DataFrame:
    return pl.DataFrame({"post_id": list(posts), "text": list(posts.values())})


def test_every_line_is_a_sentence_of_the_post_that_it_cites() -> None:
    found = summarise(chosen(POSTS), texts(POSTS), words).row(0, named=True)
    lines = found["summary"].split("\n")
    assert len(lines) == len(found["post_ids"])
    assert lines[0].startswith("I bake sourdough bread every Sunday")
    for line, post in zip(lines, found["post_ids"], strict=True):
        assert any(line in own for own in clean_lines(POSTS[post]))
    assert not {"subscribe", "http", "#"} & {
        word for word in ("subscribe", "http", "#") if word in found["summary"].lower()
    }
    assert (found["language"], found["posts"]) == ("en", 4)


def test_what_says_the_same_is_said_once() -> None:
    found = summarise(chosen(POSTS), texts(POSTS), words)["summary"][0]
    assert found.count("I bake sourdough bread every Sunday") == 1
    assert "Lisbon" in found


def test_what_an_account_writes_below_every_post_is_left_out() -> None:
    posts = {f"p{n}": f"{topic} is what this is about.\nYours truly, from my tiny kitchen." for n, topic in
             enumerate(["Bread", "Cheese", "Honey", "Wine"])}  # fmt: skip
    assert "kitchen" not in summarise(chosen(posts), texts(posts), words)["summary"][0]


def test_an_account_that_always_says_the_same_is_summarised_by_it() -> None:
    posts = {f"p{n}": "A new episode of our serial is on air." for n in range(4)}
    assert summarise(chosen(posts), texts(posts), words)["summary"].to_list() == [
        "A new episode of our serial is on air."
    ]


def test_a_number_alone_makes_no_other_sentence() -> None:
    posts = {f"p{n}": f"Morning prayer of November {n}" for n in range(10, 15)}
    assert len(summarise(chosen(posts), texts(posts), words)["post_ids"][0]) == 1


def test_without_a_sentence_it_is_the_beginning_of_the_most_central_post() -> None:
    posts = {"p1": "#a #b #c", "p2": "🍕🍕🍕"}
    found = summarise(chosen(posts), texts(posts), words).row(0, named=True)
    assert (found["summary"], found["post_ids"]) == ("#a #b #c", ["p1"])


@given(st.lists(st.text(max_size=80), min_size=1, max_size=6))
def test_any_posts_have_a_summary_within_its_budget(contents: list[str]) -> None:
    posts = {f"p{n}": text for n, text in enumerate(contents)}
    found = summarise(chosen(posts), texts(posts), words).row(0, named=True)
    assert len(found["summary"].split("\n")) == len(found["post_ids"])
    assert len(found["summary"]) <= SUMMARY_CHARACTERS + len(found["post_ids"])


def test_reviews_are_summarised_alike() -> None:
    reviews = ["The shoes run small. I love the colour.", "These shoes run small, so order a size up.", "Great price."]
    found = extract(reviews, "en", [1.0] * 3, words)
    assert "shoes run small" in found[0].text
    assert all(quoted.text in reviews[quoted.post] for quoted in found)


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 10, "short"),
        ("exactly ten", 11, "exactly ten"),
        ("one two three", 9, "one two…"),
        ("one two three", 10, "one two…"),
        ("a fghijklmnop", 10, "a fghijkl…"),  # the only space would leave less than half
        ("x" * 20, 5, "xxxx…"),
    ],
)
def test_excerpt(text: str, limit: int, expected: str) -> None:
    assert excerpt(text, limit) == expected


def test_opinions_are_of_the_thing_and_not_of_who_speaks() -> None:
    reviews = [
        "I bought these shoes for my wedding and the shoes run small. The shoes run small but look lovely.",
        "My wife says the shoes run small. The colour of the shoes is lovely.",
        "I think the shoes run small for my feet.",
    ]
    of_one = extract(reviews, "en", [1.0] * 3, words)
    of_many = extract(reviews, "en", [1.0] * 3, words, opinions=True)
    assert of_one[0].text == "I think the shoes run small for my feet."
    assert of_many[0].text == "The shoes run small but look lovely."
