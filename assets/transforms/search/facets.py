"""Count the accounts that a search found by their attributes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from assets.transforms.search.ranking import Candidates

FACETS = {"network": "network", "country": "country", "language": "language", "vertical": "verticals"}
"""Facet → field of the payload."""


def count_facets(found: Candidates, named: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Return facet → value → number of accounts, most first. An account counts once for each of its values.

    ``named`` are the attributes of accounts that were found by name, under the names of the payload's fields.
    """
    counts: dict[str, Counter[str]] = {facet: Counter() for facet in FACETS}
    for attributes in accounts_of(found, named).values():
        for facet, name in FACETS.items():
            counts[facet].update(attributes[name])
    return {
        facet: dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))) for facet, counted in counts.items()
    }


def accounts_of(found: Candidates, named: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, set[str]]]:
    """Return account id → field → values, of the accounts of candidates and of those that were found by name."""
    accounts: dict[str, dict[str, set[str]]] = {}
    for attributes in [*(candidate.payload for candidate in (*found.dense, *found.bm25)), *named]:
        if isinstance(account_id := attributes.get("account_id"), str):
            values = accounts.setdefault(account_id, {name: set() for name in FACETS.values()})
            for name in values:
                held = attributes.get(name)
                values[name].update(
                    value for value in (held if isinstance(held, list) else [held]) if isinstance(value, str)
                )
    return accounts
