"""The values that a filter offers: those that posts have, with the number of their creators."""

from collections.abc import Mapping
from dataclasses import dataclass

from assets.transforms.search.codes import country_code, language_code, name_of

_CODES = {"country": country_code, "language": language_code}


@dataclass(frozen=True)
class Choice:
    """A value of a filter, and what it is called."""

    value: str
    title: str
    is_chosen: bool


def choices(known: Mapping[str, Mapping[str, int]], chosen: Mapping[str, str]) -> dict[str, list[Choice]]:
    """Return filter → its choices, most creators first.

    ``known`` is filter → value → number of creators, ``chosen`` filter → value, code or name, as an address has it. A
    chosen value that no post has comes first.
    """
    return {name: _of(name, counts, chosen.get(name, "")) for name, counts in known.items()}


def _of(name: str, counts: Mapping[str, int], wanted: str) -> list[Choice]:
    value = wanted if wanted in counts else _CODES.get(name, str.lower)(wanted) or ""
    unknown = [Choice(wanted, _named(name, value, 0) if value else wanted, is_chosen=True)]
    return [
        *(unknown if wanted and value not in counts else []),
        *(Choice(each, _named(name, each, count), each == value) for each, count in counts.items()),
    ]


def _named(name: str, value: str, count: int) -> str:
    return f"{name_of(name, value)} ({count:,})"
