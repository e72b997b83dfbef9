"""The language of queries and filters, end to end, over a small collection of creators."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from assets.search import query
from assets.search.query import Followers
from assets.transforms.search.ranking import Retriever
from tests.docs.texts import ROOT
from tests.worlds.small_collection import CREATORS, ask, ids, small_search

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]
POSTING = {id_ for id_, *_, posts in CREATORS if posts}
NOT = "not "
"""Before an id: the answer lacks it."""
JANUARY, FEBRUARY, MARCH = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        # names: exact handles, in any spelling; then display names; then near-misses
        ("nasa", "nasa"), ("@nasa", "nasa"), ("NASA", "nasa"), ("@NASA", "nasa"), ("@ nasa", "nasa"),
        ("nasa_fan", "nasafan"), ("@nasa_fan", "nasafan"), ("@nasafan", "nasafan"), ("vegan.chef", "anna"),
        ("@vegan.chef", "anna"), ("@veganchef", "anna"), ("@vegan chef", "anna"), ("@petracooks", "petra"),
        ("@Petra Köchin", "petra"), ("Petra Köchin", "petra"), ("petra kochin", "petra"),
        ("@De jolies choses", "jeanne"),
        ("de jolies choses", "jeanne"), ("De Jolies Choses", "jeanne"), ("blockman", "gamer"), ("Block Man", "gamer"),
        ("@pixel_queen", "gamer2"), ("@東京カフェ", "yuki"), ("東京カフェ", "yuki"), ("@ling_hk", "ling"),
        ("wei.tw", "wei"), ("@somchai", "somchai"), ("สมชาย", "somchai"), ("Доктор Дью", "ivan"),
        ("@доктор дью", "ivan"),
        ("@kari.fjell", "kari"), ("run_emma", "runner"), ("Emma Runs", "runner"), ("@ghostwriter", "ghost"),
        ("ghostwriter", "ghost"), ("@♥♥♥", "emoji"), ("♥♥♥", "emoji"), ("@nassa", "nasa"), ("@petra cooks", "petra"),
        ("@pixelqueen", "gamer2"), ("@pixel quen", "gamer2"),
        ("@petrakooks", "petra"), ("@ghost", "ghost"), ("@jolies choses", "jeanne"),
        ("@ceramics", "ghost"), ("@marathon every month", "runner"), ('"De jolies choses"', "jeanne"),
        # words
        ("rocket launch", "nasa"), ("lego telescope", "nasafan"), ("vegan recipes winter", "anna"), ("beef", "petra"),
        ("minecraft castle", "gamer"), ("retro games", "gamer2"), ("brocante", "jeanne"), ("茶餐廳", "ling"),
        ("台灣夜市", "wei"), ("ผัดไทย", "somchai"), ("здоровье", "ivan"), ("fjord", "kari"), ("marathon plan", "runner"),
        # misspelt words
        ("minecarft", "gamer"), ("minecraf", "gamer"), ("minnecraft castle", "gamer"), ("telescpe lego", "nasafan"),
        ("marathn training", "runner"), ("redstne", "gamer"), ("brocnte", "jeanne"), ("speedrn", "gamer2"),
        # compounds
        ("veganrecipes", "anna"), ("#marathontraining", "runner"), ("minecraftcastle", "gamer"),
        ("rocketlaunch", "nasa"),
        ("здоровьe", "ivan"), ("survivl tips", "gamer"),
    ],
)  # fmt: skip
def test_first(text: str, first: str) -> None:
    assert ids(ask(text))[0] == first


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        # phrases
        ('"vegan recipes"', {}, "anna"), ('"rocket launch"', {}, "nasa"), ('"launch rocket"', {}, ""),
        ('"telescope"', {}, "nasa nasafan"), ('"café noir"', {}, "jeanne"), ('"cafe noir"', {}, "jeanne"),
        ("“soy milk”", {}, "anna"), ("„soy milk“", {}, "anna"), ("«soy milk»", {}, "anna"),
        ('"soy and milk"', {}, "petra"), ('"東京カフェ"', {}, "yuki"),
        ("「カフェ巡り」", {}, "yuki"), ('"ผัดไทย"', {}, "somchai"), ('"и спорт"', {}, "ivan"),
        ('"fjell" "fjord"', {}, "kari"), ('"fjell" "ski"', {}, ""), ('"Fjell OG Fjord"', {}, "kari"),
        ('recipes "beef and fish"', {}, "petra"), ('"minecraft" -redstone', {}, "gamer"),
        ('"minecraft" -minecraft', {}, ""),
        ('"wi-fi router"', {}, "emoji"), ('"wi fi router"', {}, "emoji"), ('"rock"', {}, ""), ('"rocke"', {}, ""),
        # exclusions
        ("recipes -beef", {"retriever": "bm25"}, "anna petra"), ("recipe -beef -steak", {"retriever": "bm25"}, "anna"),
        ("rocket -flies", {"retriever": "bm25"}, "nasa"), ("rocket -fly", {"retriever": "bm25"}, "nasa"),
        ("rocket -moon", {"retriever": "bm25"}, "nasafan"), ("telescope -Lego", {"retriever": "bm25"}, "nasa"),
        ('soy -"soy milk"', {"retriever": "bm25"}, "petra"), ("milk -„soy milk“", {"retriever": "bm25"}, "petra"),
        ("love -🍕", {"retriever": "bm25"}, ""), ("love -🍣", {"retriever": "bm25"}, "emoji"),
        ("fjell -ski", {"retriever": "bm25"}, "kari"), ("telescope -review -distant", {"retriever": "bm25"}, ""),
        ("рецепт здоровье -спорт", {"retriever": "bm25"}, ""), ("fish -recipes", {"retriever": "bm25"}, ""),
        # verticals, networks
        ("video", {"vertical": "food"}, "anna petra yuki ling somchai"), ("video", {"vertical": ["gaming", "travel"]},
        "gamer gamer2 yuki wei kari"), ("@ghost", {"vertical": "food"}, ""),
        ("@petracooks", {"vertical": "food"}, "petra"),
        ("x", {"vertical": "food_drink"}, "ValueError"), ("x", {"network": "utube"}, "ValueError"),
        ("video", {"network": "youtube"}, "nasa jeanne gamer ling wei ivan"),
        ("video", {"network": " TikTok"}, "nasafan gamer2 somchai emoji"),
        ("video", {"network": ["x", "tiktok"]}, "nasafan gamer2 somchai emoji kari runner"),
        # languages
        ("video", {"language": "zh"}, "ling wei"), ("video", {"language": "Chinese"}, "ling wei"),
        ("video", {"language": "zh-TW"}, "ling wei"), ("video", {"language": "zh-Hant"}, "ling wei"),
        ("video", {"language": "yue"}, "ling"), ("video", {"language": "Cantonese"}, "ling"),
        ("video", {"language": "no"}, "kari"), ("video", {"language": "Norwegian"}, "kari"),
        ("video", {"language": "nb"}, "kari"),
        ("video", {"language": "deutsch"}, "anna petra"), ("video", {"language": "ger"}, "anna petra"),
        ("video", {"language": ["ja", "thai"]}, "yuki somchai"), ("video", {"language": "sw"}, ""),
        ("video", {"language": "klingonish"}, "ValueError"), ("video", {"language": " "}, "ValueError"),
        # countries
        ("video", {"country": "UK"}, "nasafan runner"), ("video", {"country": "gb"}, "nasafan runner"),
        ("video", {"country": "United Kingdom"}, "nasafan runner"),
        ("video", {"country": "united states"}, "nasa gamer"),
        ("video", {"country": "USA"}, "nasa gamer"), ("video", {"country": "Deutschland"}, "anna petra"),
        ("video", {"country": "日本"}, "yuki"), ("video", {"country": ["UK", "Germany"]}, "nasafan runner anna petra"),
        ("video", {"country": "BR"}, ""), ("video", {"country": "Wakanda"}, "ValueError"),
        # days
        ("video", {"posted_after": FEBRUARY, "country": "US"}, "nasa gamer"), ("video", {"posted_after": MARCH}, ""),
        ("video", {"posted_before": JANUARY}, ""), ('"castle"', {"posted_after": FEBRUARY}, ""),
        ('"castle"', {"posted_before": FEBRUARY}, "gamer"), ("@nasa", {"posted_after": MARCH}, ""),
        ("video", {"posted_after": MARCH, "posted_before": JANUARY}, "ValueError"),
        ("video", {"posted_after": MARCH, "posted_before": MARCH}, "ValueError"),
        # followers: the numbers at the ends of tiers
        ("video", {"followers": Followers(1_023, 1_024)}, "petra runner"),
        ("video", {"followers": Followers(1_024, 1_024)}, "petra"),
        ("video", {"followers": Followers(1_025, 4_095)}, "yuki"),
        ("video", {"followers": Followers(at_least=300_001)}, "nasa"),
        ("video", {"followers": Followers(at_most=7)}, "gamer2 emoji"),
        ("video", {"followers": Followers(0, 0)}, "emoji"),
        ("video", {"followers": Followers(at_least=10**8)}, ""),
        ("@nasa", {"followers": Followers(at_least=1_000)}, "nasa"),
        # names and filters
        ("@nasa", {"country": "UK"}, "nasafan"), ("@nasa", {"network": "youtube"}, "nasa"),
        ("@nasa", {"language": "fr"}, ""),
        ("@ghostwriter", {"posted_after": JANUARY}, ""), ("@ghostwriter", {"country": "US"}, "ghost"),
        ("@zzzz", {}, ""), ("@", {}, "ValueError"),
        # nothing to search for
        ("", {}, "ValueError"), ("  ", {}, "ValueError"), ("-x", {}, "ValueError"), ('-"a b"', {}, "ValueError"),
        ('""', {}, "ValueError"),
    ],
)  # fmt: skip
def test_exactly(text: str, options: Mapping[str, Any], found: str) -> None:
    given = {**options, **({"retriever": Retriever(options["retriever"])} if "retriever" in options else {})}
    if found == "ValueError":
        with pytest.raises(ValueError, match=r"expected|nearest known|No post"):
            ask(text, **given)
    else:
        assert set(ids(ask(text, **given))) == set(found.split())


def test_an_answer_says_what_was_searched_instead() -> None:
    assert ask("minecarft castel").mended == {"minecarft": "minecraft", "castel": "castle"}
    assert ask("minecraft castle").mended == {}
    assert ask('"minecarft" castle').mended == {}, "a phrase is meant as it is written"
    assert ask("xqzvw castle").mended == {}


def test_pages_follow_each_other() -> None:
    whole = ids(ask("video"))
    assert set(whole) == POSTING
    pages = [ask("video", 4, offset=offset) for offset in range(0, 20, 4)]
    assert [id_ for page in pages for id_ in ids(page)] == whole
    assert [page.is_complete for page in pages] == [False, False, False, True, True]
    with pytest.raises(ValueError, match="offset -1, expected 0 or more"):
        ask("video", 4, offset=-1)


def test_pages_of_names_follow_each_other() -> None:
    whole = ids(ask("@nasa"))
    assert whole == ["nasa", "nasafan"]
    assert [ids(ask("@nasa", 1, offset=offset)) for offset in range(3)] == [["nasa"], ["nasafan"], []]
    assert [ask("@nasa", 1, offset=offset).is_complete for offset in range(3)] == [False, True, True]


@pytest.mark.parametrize(
    ("like", "first"),
    [("nasa", "nasafan"), ("@nasa", "nasafan"), ("vegan.chef", "petra"), ("Petra Köchin", "anna"),
     ("petra", "anna")],
)  # fmt: skip
def test_more_like_an_account(like: str, first: str) -> None:
    answer = ask("", like=like)
    assert ids(answer)[0] == first
    assert len(answer.accounts) == len(POSTING) - 1, "itself is left out"


def test_more_like_an_account_with_a_query_and_filters() -> None:
    assert set(ids(ask("rocket", like="nasa", country="UK"))) == {"nasafan", "runner"}
    assert ids(ask("rocket", like="anna", retriever=Retriever.BM25)) == ["nasafan", "nasa"]
    assert ids(ask('"telescope"', like="nasa")) == ["nasafan"]


@pytest.mark.parametrize(
    ("like", "message"),
    [("nasaa", r"No account is called 'nasaa'; the nearest known: .*nasa \(nasa\)"), ("zzzzzz", "give an account id"),
     ("ghost", "'ghost' has no post in the index"), (" ", "No account is called ' '")],
)  # fmt: skip
def test_an_account_that_nothing_can_be_like(like: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ask("", like=like)


def test_the_example_of_the_guide_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    guide = (ROOT / "docs" / "guides" / "product-owner.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    monkeypatch.setattr(query, "open_search", small_search)
    exec(compile(example.replace('"UK"', '"Germany"').replace("10_000", "1_000"), "guide", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.startswith("vegan.chef ")
