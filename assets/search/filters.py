"""The filters of a search, from the values that people write to those of points."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import polars as pl

from assets.corpus import CHUNKS
from assets.search.memory import Memory
from assets.transforms.search.attributes import tiers_between
from assets.transforms.search.codes import (
    country_code,
    language_code,
    languages_of,
    nearest,
    nearest_countries,
    nearest_languages,
)
from resources.catalogues import load_verticals
from resources.vectors.values import SearchFilter, Wanted


@dataclass(frozen=True)
class Followers:
    """A range of follower counts, both ends included; None means no limit.

    Counts change all day: in points they would cause a rewrite every day. Points have tiers instead, and the exact
    numbers are joined from the lake for the accounts that were found. An account without a count matches no range.
    """

    at_least: int | None = None
    at_most: int | None = None

    def __post_init__(self) -> None:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"No account has at least {self.at_least:,} and at most {self.at_most:,} followers.")

    @property
    def tiers(self) -> frozenset[int] | None:
        """The tiers of all numbers in the range; None for any number, also an unknown one."""
        return None if self == Followers() else tiers_between(self.at_least, self.at_most)

    def is_in_range(self) -> pl.Expr:
        """Return whether a column ``followers`` is in the range."""
        least = -(2**63) if self.at_least is None else self.at_least
        most = 2**63 - 1 if self.at_most is None else min(self.at_most, 2**63 - 1)
        return pl.col("followers").is_between(least, most)


ANY_NUMBER = Followers()
_VALUES = ("network", "country", "language")


def as_in_points(where: SearchFilter, memory: Memory, followers: Followers = ANY_NUMBER) -> SearchFilter:
    """Return a filter with every value as points have it, and a language with all that belong to it.

    Raises ValueError for a value that names nothing, with the nearest that do, and for a range of days without a day.
    """
    after, before = where.posted_after, where.posted_before
    if after is not None and before is not None and after >= before:
        raise ValueError(f"No post is from {after:%Y-%m-%d} or later and from before {before:%Y-%m-%d}.")

    def networks() -> list[str]:
        return [*known_values(memory)["network"]]

    def known_network(value: str) -> Iterable[str]:
        return [value.strip().lower()] if value.strip().lower() in networks() else []

    def known_vertical(value: str) -> Iterable[str]:
        return [value] if value in _verticals() else []

    def known_country(value: str) -> Iterable[str]:
        return [code] if (code := country_code(value)) else []

    def known_language(value: str) -> Iterable[str]:
        return languages_of(code) if (code := language_code(value)) else []

    return replace(
        where,
        vertical=_known("vertical", where.vertical, known_vertical, lambda _: _verticals(), "expected one of"),
        network=_known("network", where.network, known_network, lambda value: nearest(value, networks())),
        country=_known("country", where.country, known_country, nearest_countries),
        language=_known("language", where.language, known_language, nearest_languages),
        followers_tiers=followers.tiers,
    )


def known_values(memory: Memory) -> dict[str, dict[str, int]]:
    """Return network, country and language → value in points → number of accounts with such posts, most first."""

    def count() -> dict[str, dict[str, int]]:
        held = memory.lake.scan(CHUNKS).select("account_id", *_VALUES).unique().collect(engine="streaming")
        return {name: _accounts_with(held, name) for name in _VALUES}

    return memory.of(CHUNKS, "values", count)


def _accounts_with(held: pl.DataFrame, name: str) -> dict[str, int]:
    counted = held.select("account_id", name).drop_nulls().unique().group_by(name).len("accounts")
    return dict(counted.sort("accounts", name, descending=[True, False]).iter_rows())


def _verticals() -> list[str]:
    return [found.name for found in load_verticals()]


def _known(
    name: str,
    wanted: Wanted,
    known: Callable[[str], Iterable[str]],
    near: Callable[[str], list[str]],
    hint: str = "the nearest known:",
) -> Wanted:
    """Return the values of points that the wanted values stand for."""
    if wanted is None:
        return None
    values: set[str] = set()
    for value in [wanted] if isinstance(wanted, str) else sorted(wanted):
        found = list(known(value))
        if not found:
            others = near(value)
            raise ValueError(f"Unknown {name} {value!r}; {hint} {', '.join(others)}." if others else
                             f"Unknown {name} {value!r}; no post has one.")  # fmt: skip
        values.update(found)
    return values.pop() if len(values) == 1 else frozenset(values)
