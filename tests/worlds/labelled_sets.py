"""Labelled sets whose truth is known: verticals of given precision and recall, with posts that come in accounts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assets.transforms.verticals.intervals import Counts, Share, shares
from assets.transforms.verticals.roster import Bar, Decision, Measured, decide

ALIKE = 0.1
"""How alike the posts of one account are: the correlation of their errors."""
_TOPICAL = 0.2
_MEMBERS = _TOPICAL * 0.8 + (1 - _TOPICAL) * 0.05
"""Share of the posts that belong to a vertical."""


@dataclass(frozen=True)
class Truth:
    """The true precision and recall of a vertical's tag, and how many members are labelled."""

    precision: float
    recall: float
    members: int


@dataclass(frozen=True)
class LabelledSet:
    """One drawn set: (accounts, verticals) of right calls, of calls and of members."""

    truths: Sequence[Truth]
    true: Counts
    called: Counts
    members: Counts

    def measured(self) -> list[Measured]:
        precision, recall = shares(self.true, self.called), shares(self.true, self.members)
        return [Measured(*both) for both in zip(precision, recall, strict=True)]

    def decisions(self, bars: Sequence[Bar]) -> list[Decision]:
        names = [f"v{place:02}" for place in range(len(bars))]
        return decide(dict(zip(names, self.measured(), strict=True)), dict(zip(names, bars, strict=True)))


def draw(truths: Sequence[Truth], seed: int, posts_per_account: float = 3.0, alike: float = ALIKE) -> LabelledSet:
    """Draw accounts for each vertical until so many members are labelled.

    A fifth of the accounts write mostly about the vertical. Each has its own recall and its own rate of false calls,
    from distributions around the truth.
    """
    chance, columns = np.random.default_rng(seed), []
    for truth in truths:
        size = round(truth.members / posts_per_account / _MEMBERS * 3) + 40
        posts = 1 + chance.poisson(posts_per_account - 1, size)
        about = np.where(chance.random(size) < _TOPICAL, chance.beta(8, 2, size), chance.beta(0.2, 3.8, size))
        members = chance.binomial(posts, about)
        members = members[: int(np.searchsorted(members.cumsum(), truth.members)) + 1]
        others = posts[: len(members)] - members
        false = truth.recall * _MEMBERS * (1 - truth.precision) / truth.precision / (1 - _MEMBERS)
        true = chance.binomial(members, _beta(chance, truth.recall, alike, len(members)))
        called = true + chance.binomial(others, _beta(chance, false, alike, len(others)))
        columns.append(np.stack([true, called, members]).astype(np.float64))
    longest = max(column.shape[1] for column in columns)
    padded = [np.pad(column, ((0, 0), (0, longest - column.shape[1]))) for column in columns]
    return LabelledSet(truths, *np.stack(padded, axis=2))


def _beta(chance: np.random.Generator, mean: float, alike: float, size: int) -> Counts:
    if alike <= 0 or mean in (0, 1):
        return np.full(size, mean)
    strength = 1 / alike - 1
    return chance.beta(mean * strength, (1 - mean) * strength, size)


def covered(share: Share, truth: float) -> bool:
    low, high = share.interval
    return low <= truth <= high
