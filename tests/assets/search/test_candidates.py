"""Lists are fetched as deep as their filters need, and further pages follow the first."""

from collections.abc import Sequence

import pytest

from assets.search import candidates
from assets.search.candidates import DEEPEST, fetched, most_windows
from assets.transforms.search.ranking import CANDIDATES, FETCHED, Candidates, rank_accounts
from resources.vectors.values import Candidate


def hits(count: int) -> list[Candidate]:
    """Each of another account, best first."""
    return [
        Candidate(f"{n:06}", 1 - n * 1e-5, {"account_id": f"a{n:06}", "post_id": f"p{n}", "text": str(n)})
        for n in range(count)
    ]


def every(step: int, found: Sequence[Candidate]) -> list[Candidate]:
    return [candidate for candidate in found if int(candidate.id) % step == 0]


@pytest.mark.parametrize(
    ("stored", "step", "kept", "deepest"),
    [(100_000, 1, 450, 450), (100_000, 3, 600, 1_800), (100_000, 1_000, 10, DEEPEST), (500, 100, 5, 1_800),
     (450, 1, 450, 450), (0, 1, 0, 450)],
)  # fmt: skip
def test_a_list_is_fetched_until_enough_is_kept(stored: int, step: int, kept: int, deepest: int) -> None:
    asked = []

    def search(depth: int) -> list[Candidate]:
        asked.append(depth)
        return hits(min(depth, stored))

    assert len(candidates._fetch(search, lambda found: every(step, found), FETCHED)) == kept
    assert asked[-1] == deepest


def test_further_windows_give_further_accounts_and_the_same_first_ones() -> None:
    found = Candidates(hits(1_000), [])
    first, longest = rank_accounts(found, 2_000), rank_accounts(found, 2_000, windows=3)
    assert (len(first), len(longest)) == (CANDIDATES, 1_000)
    assert longest[:CANDIDATES] == first
    assert [account.account_id for account in longest] == sorted(account.account_id for account in longest)
    assert [account.evidence[0].dense_rank for account in longest[399:402]] == [400, 401, 402]
    for limit in (0, 1, 399, 400, 401, 999):
        assert rank_accounts(found, limit, windows=3) == longest[:limit]


def test_the_longest_answer_is_bounded() -> None:
    assert fetched(1) == FETCHED
    assert fetched(most_windows()) <= DEEPEST < fetched(most_windows()) + CANDIDATES
    assert fetched(10**6) == DEEPEST
