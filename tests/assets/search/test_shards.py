"""One ranking, whatever engine and however many shards; and a longer answer begins with the shorter one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

import pytest

from assets.search.query import Question, find
from assets.transforms.search.ranking import SCORE_DECIMALS, Candidates, RankedAccount, rank_accounts
from resources.vectors.index import SearchIndex
from resources.vectors.values import SearchFilter
from tests.worlds.search import Corpus, edge_shards, in_memory, published

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact"),
]
CORPUS, QUESTIONS = Corpus(size=1_200, dimension=48), 12
LIMIT = 20
Engines = Mapping[str, Sequence[SearchIndex]]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    folder = tmp_path_factory.mktemp("shards")
    with ExitStack() as stack:
        opened = {f"{count} shards": stack.enter_context(edge_shards(CORPUS, folder, count)) for count in (1, 2, 4, 8)}
        copies = {
            f"{name}, published": published(shards, folder / name, CORPUS.dimension) for name, shards in opened.items()
        }
        yield {**opened, **copies, "memory": in_memory(CORPUS)}


def why(accounts: list[RankedAccount]) -> list[object]:
    """All of an answer but the engine's own scores, which differ in their last digits."""
    return [
        (account.account_id, account.score, [(e.post_id, e.score, e.dense_rank, e.bm25_rank) for e in account.evidence])
        for account in accounts
    ]


def ties(found: Candidates) -> int:
    """How many candidates have the score of another one."""
    scores = ([round(candidate.score, SCORE_DECIMALS) for candidate in held] for held in (found.dense, found.bm25))
    return sum(len(held) - len(set(held)) for held in scores)


def test_every_engine_and_number_of_shards_ranks_alike_and_a_longer_answer_begins_with_the_shorter(
    engines: Engines,
) -> None:
    tied = 0
    for question in CORPUS.questions(QUESTIONS):
        found = {name: find(shards, question, SearchFilter()) for name, shards in engines.items()}
        tied += ties(found["1 shards"]) > 0
        longest = rank_accounts(found["1 shards"], LIMIT + 1)
        assert len(longest) == LIMIT + 1
        for name, candidates in found.items():
            assert why(rank_accounts(candidates, LIMIT)) == why(longest)[:LIMIT], name
        for limit in range(LIMIT + 1):
            assert rank_accounts(found["1 shards"], limit) == longest[:limit]
    assert tied > QUESTIONS / 2


def test_engines_order_by_their_own_scores_differently(engines: Engines) -> None:
    """The corpus is hard enough: taken as the engines score it, the order is not one."""

    def own_order(name: str, question: Question) -> list[str]:
        found = find(engines[name], question, SearchFilter()).dense
        return [candidate.id for candidate in sorted(found, key=lambda candidate: (-candidate.score, candidate.id))]

    assert any(own_order("1 shards", asked) != own_order("memory", asked) for asked in CORPUS.questions(QUESTIONS))


@pytest.mark.parametrize("count", [0, 1, 40])
def test_only_named_accounts_are_found(engines: Engines, count: int) -> None:
    named = frozenset(f"a{number}" for number in range(count))
    for question in CORPUS.questions(3):
        found = {
            name: rank_accounts(find(shards, question, SearchFilter(account_ids=named)), 300)
            for name, shards in engines.items()
        }
        for name, accounts in found.items():
            assert why(accounts) == why(found["1 shards"]), name
            assert {account.account_id for account in accounts} == named & {
                point.payload["account_id"] for point in CORPUS.points
            }
