"""Count the accounts that a search found by their attributes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from assets.transforms.search.ranking import Candidates

FACETS = {"network": "network", "country": "country", "language": "language", "vertical": "verticals"}
"""Facet → field of the payload."""


@dataclass(frozen=True)
class Found:
    """The accounts that a search found: their number, and how many have each value, facet by facet, most first.

    An account counts for each of its values.
    """

    accounts: int
    facets: Mapping[str, Mapping[str, int]]


def count_accounts(found: Candidates, named: Iterable[Mapping[str, Any]]) -> Found:
    """Count the accounts of candidates, and those that were found by name.

    ``named`` are the attributes of accounts that were found by name, under the names of the payload's fields.
    """
    accounts: set[str] = set()
    values: dict[str, set[tuple[str, str]]] = {facet: set() for facet in FACETS}
    both = {candidate.id: candidate.payload for candidate in (*found.dense, *found.bm25)}
    for attributes in (*both.values(), *named):
        account_id = attributes.get("account_id")
        if isinstance(account_id, str):
            accounts.add(account_id)
            for facet, name in FACETS.items():
                held = attributes.get(name)
                if isinstance(held, str):
                    values[facet].add((account_id, held))
                elif isinstance(held, list):
                    values[facet].update((account_id, value) for value in held if isinstance(value, str))
    return Found(len(accounts), {facet: _counted(value for _, value in pairs) for facet, pairs in values.items()})


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items(), key=lambda pair: (-pair[1], pair[0])))
