"""The language of queries and filters, end to end, over a small collection of creators."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from assets.search import query
from assets.search.query import Answer, Followers
from assets.transforms.search.ranking import Retriever
from assets.transforms.search.trust import TRUST, Trust
from pipelines.cli import search as command
from resources.vectors.values import SearchFilter
from tests.docs.texts import ROOT
from tests.worlds.small_collection import CREATORS, small_search

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]
POSTING = {id_ for id_, *_, posts in CREATORS if posts}
NOT = "not "
"""Before an id: the answer lacks it."""
JANUARY, FEBRUARY, MARCH = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3))


def ask(text: str, limit: int = 50, **options: Any) -> Answer:
    """Ask with the fields of SearchFilter and the arguments of ``Searcher.answer``."""
    of_filter = {name: options.pop(name) for name in list(options) if name in SearchFilter.__dataclass_fields__}
    wanted: dict[str, Any] = {
        name: frozenset(value) if isinstance(value, list) else value for name, value in of_filter.items()
    }
    return small_search().answer(text, SearchFilter(**wanted), limit, **options)


def ids(answer: Answer) -> list[str]:
    return [account.account_id for account in answer.accounts]


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


def test_more_like_an_account_whose_posts_the_model_cannot_read_goes_by_its_words() -> None:
    search = small_search("anna")
    answer = search.answer("", like="anna", limit=50)
    assert ids(answer)[0] == "petra"
    assert not answer.is_read
    assert all(account.dense_part == 0 for account in answer.accounts)
    assert ids(ask("", like="anna"))[0] == "petra"
    assert ask("", like="anna").is_read


def test_a_query_and_an_account_that_the_model_cannot_read_both_count() -> None:
    both = small_search("anna").answer("rocket", like="anna", limit=50, retriever=Retriever.BM25)
    assert {"nasa", "nasafan", "petra"} <= set(ids(both))
    assert both.is_read, "the query can be read"
    assert set(ids(small_search("anna").answer("rocket", limit=50, retriever=Retriever.BM25))) == {"nasa", "nasafan"}


def test_a_post_that_the_model_cannot_read_is_found_by_its_words() -> None:
    by_words = small_search("anna").answer("tofu soup", limit=50)
    assert ids(by_words)[0] == "anna"
    assert by_words.accounts[0].evidence[0].dense_score is None
    by_meaning = small_search("anna").answer("tofu soup", limit=50, retriever=Retriever.DENSE)
    assert not {"anna", "hearts"} & set(ids(by_meaning))
    assert ids(small_search("anna").answer("@hearts"))[0] == "hearts"


def test_nothing_is_like_an_account_without_words() -> None:
    with pytest.raises(ValueError, match="The posts of account 'hearts' have no words, so nothing is like it"):
        small_search("anna").answer("", like="hearts")


@pytest.mark.parametrize(
    ("text", "like", "note"),
    [("", "anna", "The embedding model cannot read the posts of this account: accounts are found by their words alone"),
     ("Soup with soy milk and tofu", None, "The embedding model cannot read this query: accounts are found"),
     ("rocket", None, "")],
)  # fmt: skip
def test_the_command_says_that_words_alone_found_it(
    text: str, like: str | None, note: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(query, "open_search", lambda: small_search("anna"))
    monkeypatch.setattr(command, "require_stack", lambda: None)
    command.search(text, like, as_json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out)["read_by_model"] is not bool(note)
    assert note in " ".join(printed.err.split())


def test_the_table_has_the_score_that_means_something_and_facets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(query, "open_search", small_search)
    monkeypatch.setattr(command, "require_stack", lambda: None)
    command.search("@nasa", facets=True)
    printed = capsys.readouterr().out
    assert "fits" in printed
    assert "100%" in printed
    assert "network: tiktok 1, youtube 1" in printed
    assert "country: GB 1, US 1" in printed
    command.search("rocket launch", None, None, ["YouTube"], ["english"], ["USA"])
    assert f"{round(100 * (ask('rocket launch').accounts[0].relevance or 0))}%" in capsys.readouterr().out


def test_facets_count_accounts() -> None:
    facets = ask('"telescope"').facets
    assert facets["network"] == {"tiktok": 1, "youtube": 1}
    assert facets["country"] == {"GB": 1, "US": 1}
    assert facets["vertical"] == {"science": 2}
    assert list(ask("video").facets["vertical"].items())[:2] == [("food", 5), ("travel", 3)]
    assert ask("@ghostwriter").facets["country"] == {"US": 1}
    assert ask("@zzzz").facets == {"network": {}, "country": {}, "language": {}, "vertical": {}}


def test_a_result_says_who_it_is_and_why() -> None:
    account = ask("rocket launch", 1).accounts[0]
    assert account.about is not None
    assert (account.about.network, account.about.country, account.about.language) == ("youtube", "US", "en")
    assert (account.about.followers, account.about.verticals) == (10_000_000, ("science",))
    assert (account.handle, account.about.display_name, account.about.bio) == ("nasa", "NASA", "Exploring space")
    assert account.score == account.dense_part + account.bm25_part + account.name_part
    post = account.evidence[0]
    assert (post.post_id, post.media_url) == ("nasa/0", "https://media.example/nasa/0")
    assert (post.posted_at, post.language) == ("2026-01-01T00:00:00+00:00", "en")


@pytest.mark.parametrize(("text", "better", "worse"), [("rocket launch", 0, 1), ("minecraft castle tutorial", 0, 3)])
def test_relevance_is_higher_for_what_fits(text: str, better: int, worse: int) -> None:
    accounts = ask(text).accounts
    assert all(0 <= (account.relevance or 0) <= 1 for account in accounts)
    assert (accounts[better].relevance or 0) > (accounts[worse].relevance or 1)
    posts = [post.relevance or 0 for post in accounts[better].evidence]
    assert accounts[better].relevance == max(posts)


def test_words_of_a_bio_are_no_certainty() -> None:
    [account] = ask("@ceramics").accounts
    assert 0 < (account.relevance or 0) < 0.84


def test_relevance_does_not_depend_on_the_retriever() -> None:
    [by_words] = ask("castle", retriever=Retriever.BM25).accounts
    assert by_words.evidence[0].dense_score is None
    assert by_words.relevance == ask("castle").accounts[0].relevance


def test_an_answer_says_when_nothing_fits_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRUST, "fake", Trust(least_fit=0.6))
    assert ask("telescope distant galaxies").fits_well
    nothing = ask("walrus harmonica")
    assert nothing.accounts
    assert not nothing.fits_well
    assert ask("@ghostwriter").fits_well


def test_an_account_that_only_its_name_found_has_no_evidence() -> None:
    [account] = ask("@ghostwriter").accounts
    assert (account.evidence, account.relevance, account.handle) == ([], 1.0, "ghostwriter")
    assert account.name is not None
    assert account.name.is_exact


def test_the_example_of_the_guide_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    guide = (ROOT / "docs" / "guides" / "product-owner.md").read_text()
    [example] = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    monkeypatch.setattr(query, "open_search", small_search)
    exec(compile(example.replace('"UK"', '"Germany"').replace("10_000", "1_000"), "guide", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.startswith("vegan.chef ")
