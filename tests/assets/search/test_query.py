"""Searching the lineage's own index: who may be found, why, and how good it is on gold labels."""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest
from dagster import (
    AssetCheckResult,
    DagsterInstance,
    Definitions,
    define_asset_job,
    in_process_executor,
)
from deltalake import write_deltalake

from assets.corpus import CHUNKS
from assets.labels.gold import GOLD
from assets.search import retrieval_quality
from assets.search.query import Followers, Searcher, find
from assets.search.retrieval_quality import QUALITY, summary
from assets.transforms.search.ranking import Retriever, rank_accounts
from pipelines.checks.declaration import Check
from pipelines.checks.search import every_question_measured, hybrid_is_not_worse
from resources.catalogues import load_verticals
from resources.delta.table import LakeResource
from resources.local_stack import EmbeddedStack
from resources.vectors.values import SearchFilter
from tests.worlds.lineage import World
from tests.worlds.lineage_rows import (
    ACCOUNTS,
    LABELLED,
    SHARED_TEXT,
    TOPICS,
)
from tests.worlds.loaded import loaded_world, world_name

ANYONE = SearchFilter()


@pytest.fixture(scope="module")
def world(stack: EmbeddedStack, tmp_path_factory: pytest.TempPathFactory) -> World:
    return loaded_world(stack).clone(world_name("search"), tmp_path_factory.mktemp("search"))


@pytest.fixture(scope="module")
def searcher(world: World) -> Searcher:
    return Searcher(world.lake, world.embedding[0], world.qdrant)


def names(searcher: Searcher, followers: Followers | None, where: SearchFilter = ANYONE) -> set[str]:
    return {account.account_id for account in searcher.accounts(TOPICS[0], where, 50, followers=followers)}


@pytest.mark.parametrize(
    ("followers", "numbers"),
    [
        (None, range(12)),
        (Followers(), range(12)),
        (Followers(at_least=300), range(3, 12)),
        (Followers(at_most=250), range(3)),
        (Followers(300, 500), range(3, 6)),
        (Followers(0, 0), range(1)),
        (Followers(at_least=1_101), range(0)),
    ],
)
def test_followers_are_joined_when_asked(searcher: Searcher, followers: Followers | None, numbers: range) -> None:
    """The n-th account has n hundred followers; both ends count."""
    assert names(searcher, followers) == {ACCOUNTS[number] for number in numbers}


def test_a_warm_searcher_has_read_its_tables(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    warm = Searcher(world.lake, world.embedding[0], world.qdrant, fresh_seconds=600)
    warm.warm()
    monkeypatch.setattr(LakeResource, "snapshot", lambda *_: pytest.fail("A table was asked for."))
    assert warm.answer(TOPICS[0], media=False).accounts


def test_followers_and_named_accounts_both_hold(searcher: Searcher) -> None:
    named = SearchFilter(account_ids=frozenset(ACCOUNTS[2:5]))
    assert names(searcher, None, named) == set(ACCOUNTS[2:5])
    assert names(searcher, Followers(at_least=400), named) == {ACCOUNTS[4]}
    assert names(searcher, None, SearchFilter(account_ids=frozenset())) == set()


def test_filters_are_spelled_as_people_do(searcher: Searcher) -> None:
    found = searcher.accounts(TOPICS[0], ANYONE, 1)[0].account_id
    of_account = pl.col("account_id") == found
    stored = searcher.lake.scan(CHUNKS).filter(of_account).select("network", "country", "language").collect()
    network, country, language = stored.row(0)
    asked = SearchFilter(network=f" {network.upper()}", country=country.lower(), language=f"{language.upper()}-US")
    as_stored = SearchFilter(network=network, country=country, language=language)
    assert found in names(searcher, None, as_stored)
    assert names(searcher, None, asked) == names(searcher, None, as_stored)
    with pytest.raises(ValueError, match="Unknown country ' '"):
        names(searcher, None, SearchFilter(country=" "))


def test_a_range_that_holds_nobody_is_an_error() -> None:
    with pytest.raises(ValueError, match="No account has at least 2,000 and at most 1,999 followers"):
        Followers(2_000, 1_999)


@pytest.mark.parametrize("query", ["", "  ", "https://example.org"])
def test_a_query_without_words_is_an_error(searcher: Searcher, query: str) -> None:
    with pytest.raises(ValueError, match="The query is empty"):
        searcher.accounts(query, ANYONE, 5)


def test_an_answer_says_which_list_found_it(searcher: Searcher) -> None:
    """Two accounts posted these words: both lists have them first, and nothing else comes near."""
    first, second, third = searcher.accounts(SHARED_TEXT, ANYONE, 3)
    assert {first.account_id, second.account_id} == {ACCOUNTS[0], ACCOUNTS[-1]}
    for account in (first, second):
        best = account.evidence[0]
        assert best.text == SHARED_TEXT
        assert best.dense_score == pytest.approx(1.0, abs=1e-5)
        assert best.bm25_score is not None
        assert {best.dense_rank, best.bm25_rank} <= {1, 2}
        assert best.score == best.dense_part + best.bm25_part > third.score
    assert account.score == account.dense_part + account.bm25_part


def test_a_query_that_the_model_cannot_read_is_answered_by_its_words(searcher: Searcher, world: World) -> None:
    query = f"{SHARED_TEXT}!"
    assert searcher.can_read(query)
    world.embedding[1].unreadable.add(query)
    assert not searcher.can_read(query)
    found = searcher.accounts(query, ANYONE, 2)
    assert {account.account_id for account in found} == {ACCOUNTS[0], ACCOUNTS[-1]}
    assert all(account.dense_part == 0 and account.bm25_part > 0 for account in found)
    assert searcher.accounts(query, ANYONE, 2, retriever=Retriever.DENSE) == []


def test_one_list_alone_can_be_asked(searcher: Searcher) -> None:
    (by_words, *_) = searcher.accounts(TOPICS[1], ANYONE, 5, retriever=Retriever.BM25)
    assert (by_words.dense_part, by_words.evidence[0].dense_rank) == (0, None)
    assert TOPICS[1] in by_words.evidence[0].text
    (by_meaning, *_) = searcher.accounts(TOPICS[1], ANYONE, 5, retriever=Retriever.DENSE)
    assert (by_meaning.bm25_part, by_meaning.evidence[0].bm25_rank) == (0, None)


def measure(world: World) -> Mapping[str, Any]:
    """Materialize the quality table; its metadata."""
    job = define_asset_job("quality")
    mine = Definitions(
        assets=retrieval_quality.ASSETS, jobs=[job], resources=world.unused_resources(), executor=in_process_executor
    )
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with DagsterInstance.ephemeral() as instance, pytest.warns(DeprecationWarning, match="dagster_run is deprecated"):
        result = mine.resolve_job_def("quality").execute_in_process(instance=instance, run_config=quiet)
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_quality_is_measured_on_gold_once(world: World, searcher: Searcher) -> None:
    write(world, QUALITY.empty())  # what the lineage measured
    metadata = measure(world)
    rows = world.table(QUALITY)
    (labelled,) = (vertical for vertical in load_verticals() if vertical.name == LABELLED)
    assert metadata["questions"] == metadata["rows"] == metadata["inserted"] == len(labelled.descriptions) + 1
    assert metadata["milliseconds_p50"] <= metadata["milliseconds_p95"] <= metadata["milliseconds_p99"]
    assert all(query in metadata["questions_asked"] for query in labelled.descriptions)
    assert metadata["hybrid_ndcg_at_10"] == pytest.approx(rows["hybrid_ndcg_at_10"].mean(), abs=1e-4)
    [of_readers] = rows.filter(vertical="").select("query", "judged", "relevant").rows()
    assert of_readers == (TOPICS[1], 4, 2)
    rows = rows.filter(vertical=LABELLED)
    assert sorted(rows["query"]) == sorted(labelled.descriptions)
    assert rows.select("judged", "relevant").unique().rows() == [(12, 6)]

    gold = world.table(GOLD).filter(pl.col("item_kind") == "account", pl.col("vertical") == LABELLED)
    members = set(gold.filter("is_member")["item_id"])
    for row in rows.iter_rows(named=True):
        with world.qdrant.open() as index:
            found = find([index], searcher.question(row["query"]), SearchFilter(account_ids=frozenset(ACCOUNTS)))
        for retriever in Retriever:
            ranked = {account.account_id for account in rank_accounts(found.of(retriever), 100)}
            assert row[f"{retriever}_recall_at_100"] == pytest.approx(len(ranked & members) / len(members), abs=1e-5)

    again = measure(world)
    assert (again["buckets_skipped"], again["inserted"], again["updated"]) == (1, 0, 0)
    assert "milliseconds_p50" not in again
    assert again["hybrid_ndcg_at_10"] == metadata["hybrid_ndcg_at_10"]


def test_its_checks_find_what_they_promise(world: World) -> None:
    measure(world)
    lake, rows = world.lake, world.table(QUALITY)
    assert is_passed(every_question_measured, lake)
    bad = {
        "missing": rows.head(rows.height - 1),
        "foreign": rows.with_columns(query=pl.lit("another ") + pl.col("query")),
        "other labels": rows.with_columns(relevant=pl.col("relevant") + 1),
        "impossible": rows.with_columns(hybrid_ndcg_at_10=pl.lit(1.5)),
        "not a number": rows.with_columns(bm25_recall_at_100=pl.lit(None, pl.Float64)),
    }
    for fault, damaged in bad.items():
        write(world, damaged)
        assert not is_passed(every_question_measured, lake), fault
    for hybrid, passed in ((0.5, True), (0.48, False)):
        figures = {"dense_ndcg_at_10": 0.4, "bm25_ndcg_at_10": 0.5, "hybrid_ndcg_at_10": hybrid}
        write(world, rows.with_columns(**{name: pl.lit(value) for name, value in figures.items()}))
        assert is_passed(hybrid_is_not_worse, lake) is passed
    spread = pl.int_range(pl.len()) % 2  # every second question favours dense search by far, the others hybrid search
    dense, hybrid_figure = pl.lit(0.1) + 0.8 * spread, pl.lit(0.82) - 0.8 * spread
    noise = {"dense_ndcg_at_10": dense, "bm25_ndcg_at_10": pl.lit(0.0), "hybrid_ndcg_at_10": hybrid_figure - 0.1}
    write(world, rows.with_columns(**noise))
    assert is_passed(hybrid_is_not_worse, lake), "so few questions that differ so much show nothing"
    of_one = rows.with_columns(vertical=pl.lit("one"), dense_ndcg_at_10=pl.lit(0.9), hybrid_ndcg_at_10=pl.lit(0.1))
    write(world, of_one)
    assert is_passed(hybrid_is_not_worse, lake), "descriptions of one vertical are judged by the same labels"
    write(world, rows.clear())
    assert hybrid_is_not_worse.promise(lake) is None


def is_passed(check: Check, lake: LakeResource) -> bool:
    found = check.call(check.promise, {"lake": lake})
    return found.passed if isinstance(found, AssetCheckResult) else found == 0


def write(world: World, rows: pl.DataFrame) -> None:
    write_deltalake(
        world.s3.uri(QUALITY.name), rows.to_arrow(), mode="overwrite", storage_options=world.s3.storage_options
    )


def test_without_questions_there_is_nothing_to_tell() -> None:
    assert summary(QUALITY.empty(), []) == {}


@pytest.mark.parametrize(
    "text", ["[a](javascript:x)", "<img src=x>", "`a` **b** | c", "\x1b]0;t\x07\u202ea", "&lt;b&gt;"]
)
def test_no_text_of_a_markdown_table_is_markup_or_control(text: str) -> None:
    rows = pl.DataFrame({"vertical": [text], "query": ["plain, words"], "hybrid_ndcg_at_10": [0.5]})
    line = retrieval_quality._markdown(rows).splitlines()[2]
    [cell, query, _] = line.strip("| ").split(" | ")
    assert query == "plain, words"
    assert not re.search("[\\[\\]<>`*\x1b\x07\u202e]", cell)
