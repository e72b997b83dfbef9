"""Count the accounts that a search found by their attributes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from assets.transforms.search.ranking import Candidates

FACETS = {"network": "network", "country": "country", "language": "language", "vertical": "verticals"}
"""Facet → field of the payload."""


def count_facets(accounts: Mapping[str, Mapping[str, set[str]]]) -> dict[str, dict[str, int]]:
    """Return facet → value → number of ``accounts_of`` a search, most first. An account counts for each value."""
    counts: dict[str, Counter[str]] = {facet: Counter() for facet in FACETS}
    for attributes in accounts.values():
        for facet, name in FACETS.items():
            counts[facet].update(attributes[name])
    return {
        facet: dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))) for facet, counted in counts.items()
    }


def accounts_of(found: Candidates, named: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, set[str]]]:
    """Return account id → field → values, of the accounts of candidates and of those that were found by name.

    ``named`` are the attributes of accounts that were found by name, under the names of the payload's fields.
    """
    accounts: dict[str, dict[str, set[str]]] = {}
    both = {candidate.id: candidate.payload for candidate in (*found.dense, *found.bm25)}
    for attributes in (*both.values(), *named):
        if isinstance(account_id := attributes.get("account_id"), str):
            values = accounts.get(account_id)
            if values is None:
                values = accounts[account_id] = {name: set() for name in FACETS.values()}
            for name, known in values.items():
                held = attributes.get(name)
                if isinstance(held, str):
                    known.add(held)
                elif isinstance(held, list):
                    known.update(value for value in held if isinstance(value, str))
    return accounts
