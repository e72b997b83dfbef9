"""Search on the page: filters offer what posts have, a refused value keeps the form, results can be shortlisted."""

import re

import pytest

from pipelines.web.choices import Choice, choices
from tests.pipelines.web.conftest import Open

KNOWN = {"network": {"youtube": 1_200}, "country": {"DE": 3, "GB": 2}, "language": {"en": 5}}


@pytest.mark.parametrize(
    ("written", "chosen"),
    [
        ({}, []),
        ({"country": "DE"}, [Choice("DE", "Germany (3)", is_chosen=True)]),
        ({"country": "uk", "language": "English"}, ["United Kingdom (2)", "English (5)"]),
        ({"network": "YouTube"}, ["youtube (1,200)"]),
        ({"country": "France"}, [Choice("France", "France (0)", is_chosen=True)]),
        ({"country": "Narnia"}, [Choice("Narnia", "Narnia", is_chosen=True)]),
    ],
)
def test_a_filter_offers_what_posts_have_and_keeps_what_was_written(
    written: dict[str, str], chosen: list[Choice | str]
) -> None:
    offered = choices(KNOWN, written)
    found = [each for of_filter in offered.values() for each in of_filter if each.is_chosen]
    assert [
        each if isinstance(want, Choice) else each.title for each, want in zip(found, chosen, strict=True)
    ] == chosen
    assert {"Germany (3)", "United Kingdom (2)"} <= {each.title for each in offered["country"]}


@pytest.mark.parametrize("path", ["/", "/ask"])
def test_a_refused_value_keeps_the_form_and_names_the_nearest(page: Open, path: str) -> None:
    answer = page().get(f"{path}?q=sustainable+fashion&country=Germny&language=English&min_followers=5&vertical=x")
    assert answer.status_code == 400
    again = page().get(f"{path}?q=sustainable+fashion&country=Germny&language=English&min_followers=5")
    assert "Unknown country &#39;Germny&#39;; the nearest known: DE (Germany)" in again.text
    assert '<option value="x" selected>' in answer.text
    for kept in ('value="sustainable fashion"', '<option value="Germny" selected>Germny<', 'value="5"'):
        assert kept in again.text
    assert '<option value="en" selected>English (16)</option>' in again.text
    assert '<option value="youtube">youtube (16)</option>' in again.text


def test_more_like_an_account_shows_its_handle(page: Open) -> None:
    text = page().get("/?like=anna").text
    assert 'name="like" value="@Anna"' in text
    assert "<title>More like @Anna – search" in text
    assert 'name="like" value="nobody"' in page().get("/?like=nobody").text


def test_each_tick_has_a_label_with_words_that_are_seen(page: Open) -> None:
    text = page().get("/?q=sustainable+fashion").text
    ticks = re.findall(r'<label class="tick" for="(tick-\d+)"><input id="(tick-\d+)" type="checkbox"[^>]*> (\w+)', text)
    assert ticks
    assert all(label == box and words == "Shortlist" for label, box, words in ticks)
    assert text.count('id="shortlist"') == 1


def test_a_creator_can_be_shortlisted_and_shows_hashtags_that_a_search_matches(page: Open) -> None:
    client = page()
    text = client.get("/creator?id=anna").text
    assert 'href="/?like=anna"' in text
    assert 'name="account_id" value="anna"' in text
    assert "Hashtags: <bdi>#" in text
    answer = client.post("/shortlists", data={"action": "add", "name": "Spring", "account_id": "anna"})
    shown = client.get(answer.headers["location"]).text
    assert "<small>@<bdi>Anna</bdi></small>" in shown
