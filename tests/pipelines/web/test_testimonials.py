"""The page's view of testimonials: brands, praise beside criticism, and the testimonials that say each sentence."""

import re

import pytest

from tests.pipelines.web.conftest import Open
from tests.worlds.small_site import HOSTILE


def test_brands_and_campaigns_lead_to_what_is_said_of_them(page: Open) -> None:
    text = page().get("/testimonials").text
    assert '<a href="/testimonials?brand=Acme"><bdi>Acme</bdi></a>' in text
    assert '<a href="/testimonials?brand=">Without a brand</a>' in text
    assert "Acme" in page().get("/testimonials?q=CM").text
    assert "No brand with testimonials has" in page().get("/testimonials?q=zebra").text
    of_brand = page().get("/testimonials?brand=Acme").text
    [link] = re.findall(r'href="(/testimonials\?brand=Acme&amp;campaign=[^"]+)"', of_brand)
    of_campaign = page().get(link.replace("&amp;", "&")).text
    assert "Spring went well." in of_campaign
    assert "The parcel" not in of_campaign


def test_praise_stands_beside_criticism_with_themes_and_sources(page: Open) -> None:
    text = page().get("/testimonials?brand=Acme").text
    [praise] = re.findall(r'<section aria-labelledby="praise">.*?</section>', text, re.DOTALL)
    [criticism] = re.findall(r'<section aria-labelledby="criticism">.*?</section>', text, re.DOTALL)
    assert "The parcel came within a day." in praise
    assert re.findall(r"acme/\d", praise) == ["acme/4", "acme/3", "acme/2"]
    assert '<div class="id"><bdi>acme/4</bdi>, 5 of 5, 2026-03-01; ' in praise  # on a line of its own
    assert "and 1 more" in praise
    assert "Nobody said where my parcel was." in criticism
    assert "What a deleted testimonial said." not in text
    [themes] = re.findall(r'<section aria-labelledby="themes">.*?</section>', text, re.DOTALL)
    assert re.findall(r"<bdi>(\w+)</bdi>|>(\d)<", themes) == [("parcel", ""), ("", "4"), ("", "1")]
    assert "5 of 6" in text  # a percent of so few would say too much
    creator = page().get("/testimonials?brand=Acme&campaign=spring").text
    assert 'href="/creator?id=anna"' in creator
    assert "No testimonial with a rating of 1 or 2" in creator


def test_a_models_claims_say_so_and_stand_beside_quotes(page: Open) -> None:
    text = page().get("/testimonials", params={"brand": HOSTILE}).text
    [praise] = re.findall(r'<section aria-labelledby="praise">.*?</section>', text, re.DOTALL)
    [criticism] = re.findall(r'<section aria-labelledby="criticism">.*?</section>', text, re.DOTALL)
    assert "that these testimonials support." in praise
    assert "Sentences of testimonials, word for word." in criticism


@pytest.mark.parametrize(
    ("address", "status", "sentence"),
    [
        ("/testimonials?brand=Nobody", 404, "No brand &#39;Nobody&#39; has testimonials."),
        ("/testimonials?brand=Acme&campaign=x", 404, "No campaign &#39;x&#39; of the brand &#39;Acme&#39;"),
        ("/testimonials?q=" + "x" * 501, 400, "The name has 501 characters; it may have 500."),
    ],
)
def test_an_unknown_or_long_name_is_a_sentence(page: Open, address: str, status: int, sentence: str) -> None:
    answer = page().get(address)
    assert (answer.status_code, sentence in answer.text) == (status, True)


def test_the_api_says_the_same(page: Open) -> None:
    client = page()
    assert client.get("/api/brands", params={"q": "acme"}).json()[0]["testimonials"] == 6
    found = client.get("/api/testimonials", params={"brand": "acme"}).json()
    assert [sentence["text"] for sentence in found["criticism"]] == ["Nobody said where my parcel was."]
    assert found["themes"] == [{"theme": "parcel", "praise": 4, "criticism": 1}]
    answer = client.get("/api/testimonials", params={"brand": "Nobody"})
    assert (answer.status_code, answer.json()["error"]) == (404, "No brand 'Nobody' has testimonials.")
