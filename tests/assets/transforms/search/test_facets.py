"""Accounts that a search found are counted by their attributes."""

from dataclasses import dataclass, field
from typing import Any

from assets.transforms.search.facets import count_accounts
from assets.transforms.search.ranking import Candidates


@dataclass(frozen=True)
class Hit:
    id: str
    payload: dict[str, Any] = field(default_factory=dict)
    score: float = 1.0


def test_an_account_counts_once_for_each_of_its_values() -> None:
    first = Hit("1", {"account_id": "a", "country": "DE", "language": "de", "verticals": ["food", "travel"]})
    other_language = Hit("2", {"account_id": "a", "country": "DE", "language": "en", "verticals": ["food"]})
    other_account = Hit("3", {"account_id": "b", "country": "DE", "language": "en", "verticals": None})
    foreign = Hit("4", {"country": "FR", "language": 7})
    found = count_accounts(
        Candidates([first, other_language, foreign], [first, other_account]),
        [{"account_id": "c", "network": "youtube", "country": "AT", "verticals": ["food", 3]}],
    )
    assert found.accounts == 3
    assert found.facets == {
        "network": {"youtube": 1},
        "country": {"DE": 2, "AT": 1},
        "language": {"en": 2, "de": 1},
        "vertical": {"food": 2, "travel": 1},
    }
    assert list(found.facets["country"]) == ["DE", "AT"]
