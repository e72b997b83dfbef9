"""Families of verticals with known truth, decided many times: what is shipped wrongly, and what is not shipped."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from assets.transforms.verticals.roster import SHIP, Bar
from tests.worlds.labelled_sets import Truth, covered, draw

BELOW, JUST_BELOW, TEN, CLEAR = "below", "just below", "ten points above", "clear"
FAMILY = (*(BELOW,) * 4, *(TEN,) * 3, *(CLEAR,) * 4)
"""What is labelled of 33 verticals, as many as in the larger real set. The others have no labels."""
HARDEST = tuple(JUST_BELOW if kind == BELOW else kind for kind in FAMILY)
"""The same, but every vertical below its bar is as near to it as can be."""
MEMBERS = (30, 100, 300)


@dataclass(frozen=True)
class Trial:
    """What one set showed. ``wrong``: whether a vertical below its bar was shipped."""

    wrong: bool
    shipped: Counter[str]
    decided: Counter[str]
    covered: int
    intervals: int


def trial(seed: int, bars: Sequence[Bar], positives: int = 100, family: Sequence[str] = FAMILY) -> Trial:
    """Draw truths and a labelled set, and decide.

    A vertical below its bar is so in one of the two, by .01 to .3; one just below by .001.
    """
    chance = np.random.default_rng([seed, 7])
    order = chance.permutation(len(bars))
    labelled = [bars[place] for place in order[: len(family)]]
    truths = [_truth(kind, bar, positives, chance) for kind, bar in zip(family, labelled, strict=True)]
    found = draw(truths, seed)
    decisions = found.decisions(labelled)
    ships = [decision.status == SHIP for decision in decisions]
    inside = [
        covered(share, truth)
        for measured, known in zip(found.measured(), truths, strict=True)
        for share, truth in ((measured.precision, known.precision), (measured.recall, known.recall))
    ]
    return Trial(
        wrong=any(is_shipped for is_shipped, kind in zip(ships, family, strict=True) if kind in (BELOW, JUST_BELOW)),
        shipped=Counter(kind for is_shipped, kind in zip(ships, family, strict=True) if is_shipped),
        decided=Counter(family),
        covered=sum(inside),
        intervals=len(inside),
    )


def _truth(kind: str, bar: Bar, positives: int, chance: np.random.Generator) -> Truth:
    if kind in (BELOW, JUST_BELOW):
        lack, is_precision = chance.uniform(0.01, 0.3) if kind == BELOW else 0.001, chance.random() < 0.5
        shift = (-lack, 0.2) if is_precision else (0.2, -lack)
        return _shifted(bar, shift, int(chance.choice(MEMBERS)))
    if kind == TEN:
        return _shifted(bar, (0.1, 0.1), positives)
    return _shifted(bar, (0.2, 0.25), int(chance.choice(MEMBERS)))


def _shifted(bar: Bar, shift: tuple[float, float], members: int) -> Truth:
    return Truth(min(bar.precision + shift[0], 0.98), min(bar.recall + shift[1], 0.98), members)
