"""`cippus testimonials`: what testimonials say of a brand, in the terminal and as JSON."""

import json
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipelines.cli import testimonials as command
from pipelines.cli.main import app
from resources import wiring
from resources.errors import InputError
from resources.local_stack import EmbeddedStack
from tests.worlds.small_site import HOSTILE, shared_site


@pytest.fixture(autouse=True)
def lake(stack: EmbeddedStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "resources", lambda: SimpleNamespace(lake=shared_site(stack).lake))
    monkeypatch.setattr(command, "require_stack", lambda: None)
    monkeypatch.setattr(command, "out", Console(width=120, emoji=False))


def printed(*words: str) -> str:
    return CliRunner().invoke(app, ["testimonials", *words], catch_exceptions=False).output


def test_praise_and_criticism_of_a_brand_have_themes_and_cite_their_testimonials() -> None:
    lines = printed("acme").splitlines()  # written in another case
    assert lines[:3] == [
        "Acme",
        "6 testimonials, 6 with a rating: mean 4.3 of 5, 83 % praise (4, 5), 17 % criticise (1, 2).",
        "Themes: parcel (4 praise, 1 criticise)",
    ]
    praise, criticism = lines.index("Praise"), lines.index("Criticism")
    assert lines[praise + 1 : praise + 3] == [
        "  “The parcel came within a day.” parcel",
        "    acme/4 (5 of 5), acme/3 (5 of 5), acme/2 (5 of 5) and 1 more",
    ]
    assert lines[criticism + 1 :][:2] == ["  “Nobody said where my parcel was.” parcel", "    acme/5 (1 of 5)"]
    assert any("spring" in line and "100 %" in line for line in lines)


def test_a_campaign_has_its_own_and_one_side_may_be_empty() -> None:
    said = printed("Acme", "--campaign", "spring")
    assert said.startswith("Acme, spring\n1 testimonial, 1 with a rating: mean 5.0 of 5")
    assert said.endswith("Criticism\n  none\n")
    found = json.loads(printed("Acme", "--campaign", "spring", "--json"))
    assert [sentence["testimonials"][0]["testimonial_id"] for sentence in found["praise"]] == ["acme/1"]
    assert (found["criticism"], found["brand"]["campaign"], found["themes"]) == ([], "spring", [])


def test_no_text_of_a_testimonial_is_markup_or_a_control_sequence() -> None:
    said = printed(HOSTILE)
    assert "\\u202e" in said
    assert "\u202e" not in said
    assert f"“{HOSTILE[:20]}" in said
    assert f"  - {HOSTILE[:20]}" in said  # a model's claim beside the quoted criticism
    assert "Sentences with - are claims of" in said
    assert "Sentences with -" not in printed("Acme")


def test_brands_are_listed_and_those_without_one_too() -> None:
    assert [row["brand"] for row in json.loads(printed("--json"))["brands"]] == ["Acme", HOSTILE, None]
    assert "without a brand" in printed()
    assert "1 testimonial, none with a rating." in printed("")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["Nobody"], "No brand 'Nobody' has testimonials; `cippus testimonials` lists the brands."),
        (["Acme", "--campaign", "fall"], "No campaign 'fall' of the brand 'Acme' has testimonials;"),
        (["--campaign", "spring"], "The campaign is 'spring', but no brand is given; name the brand first."),
    ],
)
def test_bad_input_is_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        printed(*words)


def test_a_sentence_whose_testimonial_is_gone_is_not_shown() -> None:
    assert "What a deleted testimonial said." not in printed("Acme")
