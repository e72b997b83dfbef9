"""What a result says and how well it fits: evidence, facets, relevance, and what the model cannot read."""

import json

import pytest

from assets.search import query
from assets.transforms.search.ranking import Retriever
from assets.transforms.search.trust import TRUST, Trust
from pipelines.cli import search as command
from tests.worlds.small_collection import ask, ids, small_search

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]


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
